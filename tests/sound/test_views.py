"""Views of sounds: the same each time, moved and masked as told, never mirrored."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from frostline.base.errors import RecipeError
from frostline.images.policies import CENTER, View
from frostline.images.preprocessing import Preprocessing
from frostline.sound import policies, settings, views
from frostline.sound.policies import SoundPolicy
from sound_files import tone, write

HOW = Preprocessing(64, 64, spectrogram=settings.for_pictures(1.0, 64))


@pytest.fixture
def sound(tmp_path: Path) -> str:
    """Silence, a tone from 1 s to 1.2 s, and silence: 3 s at 22,050 Hz."""
    samples = np.zeros(3 * 22_050, np.float32)
    samples[22_050 : 22_050 + 4410] = tone(1000.0, 0.2, 22_050)
    return str(write(tmp_path / "a.wav", samples, 22_050))


def column(picture: torch.Tensor) -> float:
    """Where the sound is, as a share of the width."""
    weights = picture[0].clamp_min(0.5).sum(0) - 0.5 * picture.shape[1]
    return float((weights * torch.arange(len(weights))).sum() / weights.sum() / len(weights))


def test_the_center_view_is_three_times_the_same_channel(sound: str) -> None:
    (found,) = views.load(f"{sound}#t=0.600,1.600", HOW, [CENTER], "digest")
    assert found.shape == (3, 64, 64)
    assert found.dtype == torch.float32
    assert torch.equal(found[0], found[2])
    assert column(found) == pytest.approx(0.5, abs=0.05)
    # 1 kHz lies in the lower half; the lowest band is the last row.
    assert found[0].sum(1).argmax() > 32


def test_a_window_without_a_place_is_the_middle_of_its_file(sound: str) -> None:
    middle = views.load(sound, HOW, [CENTER], "digest")[0]
    told = views.load(f"{sound}#t=1.000,2.000", HOW, [CENTER], "digest")[0]
    assert torch.equal(middle, told)


def test_views_are_the_same_however_they_are_asked_for(sound: str) -> None:
    every = [CENTER, *(View(number, policies.preset("strong")) for number in range(3))]
    together = views.load(sound, HOW, every, "digest")
    for view, found in zip(every, together, strict=True):
        assert torch.equal(views.load(sound, HOW, [view], "digest")[0], found)
    assert not torch.equal(together[1], together[2])
    assert not torch.equal(views.load(sound, HOW, [every[1]], "other")[0], together[1])


def test_a_shift_moves_the_sound_and_never_turns_it_round(sound: str) -> None:
    path = f"{sound}#t=0.600,1.600"
    moved = [View(number, SoundPolicy(shift=0.3)) for number in range(8)]
    places = [column(found) for found in views.load(path, HOW, moved, "digest")]
    for view, place in zip(moved, places, strict=True):
        drawn = policies.draw(SoundPolicy(shift=0.3), view, "digest")
        assert place == pytest.approx(0.5 - drawn.shift, abs=0.05)
    assert max(places) - min(places) > 0.2


def test_masks_hide_bands_and_time_behind_the_mean(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).normal(0, 0.1, 22_050).astype(np.float32)
    path = str(write(tmp_path / "noise.wav", noise, 22_050))
    view = View(1, SoundPolicy(masks=0.3))
    center, masked = views.load(path, HOW, [CENTER, view], "digest")
    changed = (masked != center)[0]
    hidden_rows, hidden_columns = changed.all(1).sum(), changed.all(0).sum()
    assert hidden_rows > 0 or hidden_columns > 0
    hidden = masked[0][changed]
    # All of one value, but for resizing.
    assert (hidden == hidden.mode().values).float().mean() > 0.8


def test_gain_changes_what_hears_loudness_and_no_picture(sound: str) -> None:
    view = View(0, SoundPolicy(gain=12.0))
    center, louder = views.load(sound, HOW, [CENTER, view], "digest")
    assert torch.equal(center, louder) or (center - louder).abs().max() < 0.2
    heard = settings.heard_by(settings.YAMNET)
    center, louder = views.load(sound, heard, [CENTER, view], "digest")
    drawn = policies.draw(SoundPolicy(gain=12.0), view, "digest")
    assert (louder - center).max() == pytest.approx(np.log(drawn.gain), abs=0.2) or drawn.gain < 1


def test_noise_is_as_loud_as_told(tmp_path: Path) -> None:
    path = str(write(tmp_path / "a.wav", tone(1000.0, 1.0, 22_050), 22_050))
    view = View(2, SoundPolicy(noise=0.5))
    center, noisy = views.load(path, HOW, [CENTER, view], "digest")
    assert noisy.mean() > center.mean() + 0.02


def test_time_runs_down_where_the_network_has_it_so(sound: str) -> None:
    heard = settings.heard_by(settings.YAMNET)
    (found,) = views.load(f"{sound}#t=0.000,0.975", heard, [CENTER], "digest")
    assert found.shape == (1, 96, 64)
    (later,) = views.load(f"{sound}#t=0.900,1.875", heard, [CENTER], "digest")
    rows = later[0].max(1).values
    assert rows[:30].max() > rows[50:].max()


def test_a_policy_out_of_range_is_refused_and_named() -> None:
    with pytest.raises(RecipeError, match=r"\(1\) shift .* \(2\) masks must be from 0 to 0.5"):
        SoundPolicy(shift=2.0, masks=0.9)
    with pytest.raises(RecipeError, match="Did you mean strong"):
        policies.preset("stron")


def test_digests_tell_policies_apart() -> None:
    named = {name: one.digest for name, one in policies.PRESETS.items()}
    assert len(set(named.values())) == len(named)
    assert SoundPolicy(gain=6).digest == SoundPolicy(gain=6.0).digest
    assert not SoundPolicy().varies
    assert policies.told(replace(SoundPolicy(), shift=0.2)) == "moved by up to 20% of the window"
