"""Windows of sounds: where they lie, how they are called, and what is said of whole files."""

from dataclasses import replace
from pathlib import Path

import pytest

from frostline.images import splits
from frostline.images.rows import Listing, Row
from frostline.sound import settings, windows
from frostline.sound.windows import Window

# 5 s a window.
HOW = settings.for_pictures(5.0, 224)


def row(name: str, length_s: float, **more: str) -> Row:
    return Row(f"{name}.wav", "a", digest=name, width=round(1000 * length_s), height=1000, **more)


@pytest.mark.parametrize(
    ("length_s", "expected"),
    [(2.0, (-1.5,)), (5.0, (0.0,)), (5.4, (0.2,)), (6.0, (0.0, 1.0)), (12.0, (0.0, 3.5, 7.0))],
)
def test_windows_cover_a_sound_evenly(length_s: float, expected: tuple[float, ...]) -> None:
    assert windows.starts(length_s, 5.0) == pytest.approx(expected)


def test_music_of_half_a_minute_is_heard_in_its_middle() -> None:
    assert windows.starts(30.0, 29.12) == pytest.approx((0.44,))


def test_a_window_is_a_media_fragment(tmp_path: Path) -> None:
    assert windows.window_of("a/b.mp3#t=1.500,6.500") == Window("a/b.mp3", 1.5, 6.5)
    assert windows.window_of("a/b.mp3") == Window("a/b.mp3")
    odd = tmp_path / "c.mp3#t=1,2"
    odd.touch()
    assert windows.window_of(str(odd)) == Window(str(odd))


def test_windows_of_a_file_stay_together_and_have_names_of_their_own() -> None:
    found = windows.cut(Listing(tuple(row(f"f{n}", 12.0) for n in range(20)), noun="sound"), HOW)
    assert len(found.rows) == 60
    assert len({one.digest for one in found.rows}) == 60
    dealt = splits.assign(found, 0.3, 0.0)
    for number in range(20):
        own = {one.split for one in dealt.rows if one.path.startswith(f"f{number}.wav#")}
        assert len(own) == 1
    assert {one.split for one in dealt.rows} == {"train", "val"}


def test_a_file_of_one_window_stays_as_it_is() -> None:
    listing = Listing((row("a", 3.0), replace(row("b", 9.0), problem="damaged")))
    assert windows.cut(listing, HOW) == listing


def test_groups_of_a_table_stay() -> None:
    found = windows.cut(Listing((row("a", 12.0, group="singer"),)), HOW)
    assert {one.group for one in found.rows} == {"singer"}


def test_files_come_back_with_splits_and_problems() -> None:
    listing = Listing((row("a", 12.0), row("b", 12.0), row("c", 2.0)), noun="sound")
    cut = windows.cut(listing, HOW)
    bad = {cut.rows[0].path: "damaged", **{one.path: "silent" for one in cut.rows[3:6]}}
    cut = cut.with_problems(bad)
    cut = replace(cut, rows=tuple(replace(one, split="train") for one in cut.rows))
    files = windows.joined(cut, listing)
    assert [(one.path, one.split, one.problem) for one in files.rows] == [
        ("a.wav", "train", ""),
        ("b.wav", "", "silent"),
        ("c.wav", "train", ""),
    ]
    assert files.notes == ("left out: 1 of 3 windows of a.wav: damaged.",)


def test_windows_know_their_files() -> None:
    listing = Listing((row("a", 12.0), row("b", 2.0)), noun="sound")
    cut = tuple(replace(one, split="val") for one in windows.cut(listing, HOW).rows)
    assert windows.file_numbers(cut) == [0, 0, 0, 1]
    assert windows.file_numbers(cut[::-1]) == [0, 1, 1, 1]
    assert windows.file_count(cut) == 2
    found = windows.files_of_rows(cut, listing)
    assert [(one.path, one.digest, one.split) for one in found] == [
        ("a.wav", "a", "val"),
        ("b.wav", "b", "val"),
    ]


def test_pictures_are_files_of_their_own() -> None:
    rows = (Row("a.jpg"), Row("b.jpg"))
    assert windows.file_numbers(rows) is None
    assert windows.files_of_rows(rows, Listing(rows)) == rows
