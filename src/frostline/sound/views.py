"""Views of a window of sound: from the file to the picture that a network takes.

A view is a pure function of a file's content, a window, a policy and a number, as with pictures.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from frostline.images.policies import View
from frostline.images.preprocessing import Preprocessing
from frostline.images.spectrogram import Spectrogram
from frostline.sound import decode
from frostline.sound.mel import Samples, log_mel
from frostline.sound.policies import DrawnSound, SoundPolicy, draw
from frostline.sound.windows import Window, window_of

# Part of every cache key of sounds. Change it whenever a value of any view would change.
VERSION = "1"


def load(
    path: str, preprocessing: Preprocessing, views: Sequence[View], content: str
) -> list[Tensor]:
    """Makes views of a window. Safe to call from many threads.

    Args:
        path: A file, or a window of one (`song.mp3#t=29.120,58.240`).
        preprocessing: Of the network, with a spectrogram.
        views: Which views.
        content: The digest of the window, from which chance is drawn.

    Returns:
        float32 [channels, height_px, width_px] for each of `views`, in their order.

    Raises:
        Unreadable: Where the window cannot be read.
    """
    how = preprocessing.spectrogram
    assert how is not None
    window = window_of(path)
    start_s = _middle(window, how) if window.start_s is None else window.start_s
    read: dict[float, Samples] = {}
    made = []
    for view in views:
        policy = view.policy if isinstance(view.policy, SoundPolicy) else SoundPolicy()
        if policy.shift not in read:
            # What is read depends on the policy alone, never on the other views asked for.
            read[policy.shift] = _samples(window.path, start_s, policy.shift, how, view)
        made.append(_view(read[policy.shift], policy, view, content, preprocessing))
    return made


def _middle(window: Window, how: Spectrogram) -> float:
    return (decode.length_s(window.path) - how.window_s) / 2


def _samples(path: str, start_s: float, shift: float, how: Spectrogram, view: View) -> Samples:
    spare = round(shift * how.samples)
    begin_s = start_s - spare / how.rate_hz
    # Whether a window can be used is settled by its `center` view; others must follow.
    is_lenient = view.policy is not None
    return decode.read(path, begin_s, how.samples + 2 * spare, how.rate_hz, is_lenient)


def _view(
    samples: Samples, policy: SoundPolicy, view: View, content: str, preprocessing: Preprocessing
) -> Tensor:
    how = preprocessing.spectrogram
    assert how is not None
    if view.policy is None:
        return picture(log_mel(samples, how), preprocessing)
    drawn = draw(policy, view, content)
    spare = (len(samples) - how.samples) // 2
    at = spare + round(drawn.shift * how.samples)
    part = samples[at : at + how.samples] * np.float32(drawn.gain)
    if drawn.noise:
        part = part + _noise(part, drawn)
    return picture(_masked(log_mel(part, how), drawn), preprocessing)


def _noise(samples: Samples, drawn: DrawnSound) -> Samples:
    # Raw bits of Philox are the same in every version of NumPy; its distributions need not be.
    bits = np.random.Philox(key=drawn.seed).random_raw(len(samples))
    uniform = (bits >> np.uint64(11)) * 2.0**-53 - 0.5  # Of variance 1 / 12.
    effective = float(np.sqrt(np.square(samples, dtype=np.float64).mean()))
    noise: Samples = (drawn.noise * effective * np.sqrt(12.0) * uniform).astype(np.float32)
    return noise


def _masked(bands: Samples, drawn: DrawnSound) -> Samples:
    masked, mean = bands.copy(), bands.mean()
    for axis, masks in enumerate((drawn.bands, drawn.times)):
        size = bands.shape[axis]
        for share, place in masks:
            length = round(share * size)
            begin = round(place * (size - length))
            hidden = slice(begin, begin + length)
            masked[(hidden, slice(None)) if axis == 0 else (slice(None), hidden)] = mean
    return masked


def picture(bands: Samples, preprocessing: Preprocessing) -> Tensor:
    """Returns a spectrogram as a network takes it: float32 [channels, height_px, width_px].

    Args:
        bands: [bands, frames], the lowest band first.
        preprocessing: Of the network.
    """
    how = preprocessing.spectrogram
    assert how is not None
    tensor = torch.from_numpy(np.ascontiguousarray(bands))
    if how.is_time_down:
        tensor = tensor.T
    elif how.scaling == "shades":
        tensor = tensor.flip(0)  # High notes on top, as everyone draws them.
    size = (preprocessing.height_px, preprocessing.width_px)
    if tuple(tensor.shape) != size:
        tensor = functional.interpolate(
            tensor[None, None], size, mode="bilinear", align_corners=False
        )[0, 0]
    return tensor.expand(preprocessing.channels, *size).contiguous()
