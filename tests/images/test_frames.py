"""DataFrames as tables of pictures: of pandas where it is installed, and what looks like one."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from frostline.images import listing as listings
from images.made import fails, labelled, picture


class Frame:
    """What pandas and Polars have in common: named columns of equal length."""

    def __init__(self, columns: Mapping[str, Sequence[Any]]) -> None:
        self._columns = columns
        self.columns = list(columns)
        self.shape = (len(next(iter(columns.values()))), len(columns))

    def __getitem__(self, name: str) -> Sequence[Any]:
        return self._columns[name]


@pytest.fixture(params=["plain", "pandas"])
def frame(request: pytest.FixtureRequest) -> Any:
    if request.param == "plain":
        return Frame
    return pytest.importorskip("pandas").DataFrame


@pytest.fixture
def photos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    monkeypatch.chdir(tmp_path)
    return [str(picture(Path(f"in/{number}.png"), number)) for number in range(4)]


def test_a_frame_is_a_table(frame: Any, photos: list[str]) -> None:
    table = frame({"Path": photos, "label": ["cat", "dog", "cat", "dog"], "age": [1, 2, 3, 4]})
    listing = listings.scan(table)
    assert labelled(listing) == {"0.png": "cat", "1.png": "dog", "2.png": "cat", "3.png": "dog"}
    assert (listing.root, listing.notes) == ("the DataFrame", ("columns passed over: age.",))
    assert all(Path(row.path).is_absolute() for row in listing.rows)


def test_paths_may_be_paths_and_labels_numbers(frame: Any, photos: list[str]) -> None:
    table = frame({"path": [Path(one) for one in photos], "label": [1.0, 2.0, 1.0, 2.0]})
    assert listings.scan(table).labels == ["1", "2"]


def test_flags_and_splits_of_a_frame(frame: Any, photos: list[str]) -> None:
    flags = [False, False, True, True]
    table = frame({"path": photos, "label": ["a", "b", "a", "b"], "is_valid": flags})
    assert [row.split for row in listings.scan(table).rows] == ["train", "train", "val", "val"]


def test_lists_of_labels_are_several(frame: Any, photos: list[str]) -> None:
    table = frame({"path": photos, "label": [["a", "b"], ["b"], [], ("a",)]})
    listing = listings.scan(table)
    assert listing.several
    assert [row.label for row in listing.rows] == ["a;b", "b", "", "a"]


def test_a_semicolon_in_a_list_of_labels_is_refused(photos: list[str]) -> None:
    table = Frame({"path": photos, "label": [["a;b", "b"], ["b"], [], ["a"]]})
    assert "'a;b' in a list has a ; in it" in fails(table)


@pytest.mark.parametrize("missing", [None, float("nan")])
def test_a_missing_label_is_told_with_its_row(
    frame: Any, photos: list[str], missing: object
) -> None:
    words = fails(frame({"path": photos, "label": ["a", "b", missing, "a"]}))
    assert words == "the DataFrame: row 2: label is empty; each image needs both."


def test_a_file_that_is_not_there_is_told(frame: Any, photos: list[str]) -> None:
    words = fails(frame({"path": [*photos[:3], "gone.png"], "label": list("abab")}))
    assert "row 3: " in words
    assert words.endswith("gone.png does not exist; paths are relative to the current folder.")


def test_a_column_twice_is_refused(photos: list[str]) -> None:
    pandas = pytest.importorskip("pandas")
    table = pandas.DataFrame([[photos[0], "a", "b"]], columns=["path", "label", "label"])
    assert "the column label stands there twice" in fails(table)


def test_what_is_no_source_is_told() -> None:
    assert fails(42).startswith("photos: int is no source of pictures.")
