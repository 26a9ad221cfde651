"""Which pictures are meant by what was typed."""

import io
from pathlib import Path

import pytest

from frostline.base.errors import ListingError
from frostline.cli.pictures import meant

NOTHING = io.BytesIO()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "deep").mkdir()
    for name in ("b.jpg", "a.jpg", "c.png", "deep/d.jpg", "x[1].jpg"):
        (tmp_path / name).touch()
    return tmp_path


def test_patterns_are_expanded_in_order(folder: Path) -> None:
    found = meant([f"{folder}/?.jpg"], NOTHING)
    assert [path.name for path in found] == ["a.jpg", "b.jpg"]
    deep = meant([f"{folder}/**/*.jpg"], NOTHING)
    assert {path.name for path in deep} == {"a.jpg", "b.jpg", "d.jpg", "x[1].jpg"}


def test_a_file_whose_name_looks_like_a_pattern_is_meant_itself(folder: Path) -> None:
    assert meant([f"{folder}/x[1].jpg"], NOTHING) == [folder / "x[1].jpg"]


def test_what_is_no_pattern_passes_unchanged() -> None:
    assert meant(["new", "gone.jpg"], NOTHING) == [Path("new"), Path("gone.jpg")]


def test_home_is_understood_inside_quotes(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(folder))
    assert [path.name for path in meant(["~/*.png", "~/a.jpg"], NOTHING)] == ["c.png", "a.jpg"]


@pytest.mark.parametrize(
    "data", [b"a.jpg\nb c.jpg\n\n", b"a.jpg\r\nb c.jpg", b"a.jpg\0b c.jpg\0"], ids=repr
)
def test_a_dash_reads_a_list(data: bytes) -> None:
    found = meant(["first.jpg", "-"], io.BytesIO(data))
    assert found == [Path("first.jpg"), Path("a.jpg"), Path("b c.jpg")]


def test_names_in_a_list_need_not_be_text() -> None:
    assert meant(["-"], io.BytesIO(b"caf\xe9.jpg\n")) == [Path("caf\udce9.jpg")]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["*.nothing"], r"no file matches this pattern"),
        (["-"], r"standard input names no picture"),
        (["https://example.org/a.jpg"], r"https://example\.org/a\.jpg: URLs are not read\. Down"),
    ],
)
def test_what_means_no_picture_is_said(words: list[str], told: str) -> None:
    with pytest.raises(ListingError, match=told):
        meant(words, io.BytesIO(b"\n"))
