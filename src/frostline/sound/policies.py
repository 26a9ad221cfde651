"""What may be done to a sound to make a view of it, and what chance gives each view.

A sound is never mirrored in time and a spectrogram never turned or coloured: what comes out would
be no sound that anybody hears.
"""

import hashlib
from dataclasses import dataclass

import numpy as np

from frostline.base.errors import RecipeError, raise_all
from frostline.base.files import digest_json
from frostline.images.policies import View, of_name

# Part of every policy's digest. Change it whenever a value of a view would change.
VERSION = "1"
# Hidden bands and hidden stretches of time in each view.
MASKS = 2


@dataclass(frozen=True)
class SoundPolicy:
    """What may be done to a sound, and how far. The defaults do nothing.

    Masks are those of SpecAugment (Park et al., Interspeech 2019): some bands, and some stretches
    of time, are replaced by the spectrogram's mean.

    Attributes:
        shift: How far a window is moved in time, as a share of its length, drawn from
            [-shift, shift]; what comes into it is what the file has there, or silence. At most 1.
        gain: Decibels by which it is made louder or quieter, drawn from [-gain, gain]; at most 40.
        noise: White noise, as a share of the sound's own effective value, drawn from [0, noise];
            at most 1.
        masks: The largest share of the bands, and of the time, that one mask hides; at most 0.5.

    Raises:
        RecipeError: Where a value is out of range; all of them at once.
    """

    shift: float = 0.0
    gain: float = 0.0
    noise: float = 0.0
    masks: float = 0.0

    def __post_init__(self) -> None:
        """Checks every field."""
        bounds = {"shift": 1.0, "gain": 40.0, "noise": 1.0, "masks": 0.5}
        problems = [
            f"{name} must be from 0 to {most:g}, got {getattr(self, name)!r}."
            for name, most in bounds.items()
            if not 0 <= getattr(self, name) <= most
        ]
        raise_all(RecipeError, "view policy", problems)

    @property
    def digest(self) -> str:
        """The digest of all fields, and of the version of the code that makes views by them."""
        values = {name: float(value) for name, value in vars(self).items()}
        return digest_json({"sound": VERSION, **values})

    @property
    def varies(self) -> bool:
        """Whether anything is done to a sound at all."""
        return self != SoundPolicy()


PRESETS = {
    "none": SoundPolicy(),
    "light": SoundPolicy(shift=0.1, masks=0.05),
    "standard": SoundPolicy(shift=0.2, gain=6.0, noise=0.05, masks=0.1),
    "strong": SoundPolicy(shift=0.3, gain=10.0, noise=0.2, masks=0.2),
}


def preset(name: str) -> SoundPolicy:
    """Returns the policy of this name; see `frostline.images.policies.of_name`."""
    return of_name(name, PRESETS)


def changes(policy: SoundPolicy) -> list[str]:
    """Returns what is done to training sounds, in plain words."""
    words = {
        "moved in time": policy.shift,
        "louder or quieter": policy.gain,
        "under noise": policy.noise,
        "with bands and times hidden": policy.masks,
    }
    return [what for what, is_done in words.items() if is_done]


def told(policy: SoundPolicy) -> str:
    """Says in words how sounds are varied; nothing where they are not."""
    parts = [
        f"moved by up to {policy.shift:.0%} of the window" if policy.shift else "",
        f"louder or quieter by up to {policy.gain:g} dB" if policy.gain else "",
        f"with up to {policy.noise:.0%} of noise" if policy.noise else "",
        f"with up to {policy.masks:.0%} of bands and of time hidden, {MASKS} times each"
        if policy.masks
        else "",
    ]
    return ", ".join(part for part in parts if part)


@dataclass(frozen=True)
class DrawnSound:
    """What chance gave one view; the fields are those of `SoundPolicy`, drawn.

    Attributes:
        shift: In windows.
        gain: A factor.
        noise: A share of the effective value.
        bands: Of each mask, its share of the bands and where it lies: 0 is lowest, 1 is highest.
        times: Likewise of the time.
        seed: Of the noise.
    """

    shift: float
    gain: float
    noise: float
    bands: tuple[tuple[float, float], ...]
    times: tuple[tuple[float, float], ...]
    seed: int


def draw(policy: SoundPolicy, view: View, content: str) -> DrawnSound:
    """Returns what chance gives a view of a window whose content has this digest."""
    # A hash is the same on every machine and in every version of every library.
    source = hashlib.shake_256(f"{content}:{view.name}".encode())
    bits = np.frombuffer(source.digest(8 * (4 + 4 * MASKS)), "<u8")
    chance: list[float] = ((bits >> 11) * 2.0**-53).tolist()  # Uniform in [0, 1).
    places = [(policy.masks * chance[at], chance[at + 1]) for at in range(4, len(chance), 2)]
    return DrawnSound(
        shift=policy.shift * (2 * chance[0] - 1),
        gain=10 ** (policy.gain * (2 * chance[1] - 1) / 20),
        noise=policy.noise * chance[2],
        bands=tuple(places[:MASKS]),
        times=tuple(places[MASKS:]),
        seed=int(bits[3]),
    )
