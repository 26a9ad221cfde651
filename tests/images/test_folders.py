"""Folders as people have them: split folders of any name, litter, one level too deep."""

from pathlib import Path

import pytest

from frostline.images import listing as listings
from frostline.images.split_names import split_of
from images.made import fails, folders, picture, splits_of

BOTH = {("a", "train"), ("b", "train"), ("a", "test"), ("b", "test")}


@pytest.mark.parametrize(
    ("name", "split"),
    [
        ("Training", "train"), ("TRAIN", "train"), ("train_images", "train"),
        ("seg_train", "train"), ("train2017", "train"), ("TrainSet", "train"),
        ("traindata", "train"), ("train-224", "train"), ("Training Set", "train"),
        ("dev", "val"), ("eval", "val"), ("Validation", "val"), ("val2017", "val"),
        ("valid_set", "val"), ("Testing", "test"), ("test_images", "test"),
        ("seg_test", "test"), ("holdout", "test"), ("hold-out", "test"), ("heldout", "test"),
        ("bird_train", ""), ("trains", ""), ("fold1", ""), ("testudo", ""), ("images", ""),
        ("train_test", ""), ("", ""), ("2017", ""), ("développement", ""),
    ],
)  # fmt: skip
def test_names_of_splits(name: str, split: str) -> None:
    assert split_of(name) == split


@pytest.mark.parametrize(
    ("train", "test"),
    [
        ("Training", "Testing"),
        ("train_images", "test_images"),
        ("seg_train/seg_train", "seg_test/seg_test"),
        ("train/images", "test/images"),
        ("TRAIN", "HoldOut"),
    ],
)
def test_split_folders_under_other_names_are_no_classes(
    tmp_path: Path, train: str, test: str
) -> None:
    folders(tmp_path, f"{train}/a", f"{train}/b", f"{test}/a", f"{test}/b")
    listing = listings.scan(tmp_path)
    assert splits_of(listing) == BOTH
    assert listing.has_splits


def test_what_was_taken_for_a_split_is_said(tmp_path: Path) -> None:
    folders(tmp_path, "Training/a", "Training/b", "dev/a", "dev/b", "holdout/a", "holdout/b")
    (told,) = listings.scan(tmp_path).notes
    assert (
        told == "splits are those of the folders: Training is train, dev is val, holdout is test."
    )
    folders(tmp_path / "plain", "train/a", "train/b", "val/a")
    assert listings.scan(tmp_path / "plain").notes == ()


@pytest.mark.parametrize("names", [("fold1", "fold2", "fold3"), ("bird_train", "bird_test")])
def test_parts_of_one_set_are_no_classes(tmp_path: Path, names: tuple[str, ...]) -> None:
    folders(tmp_path, *(f"{name}/{label}" for name in names for label in "ab"))
    words = fails(tmp_path)
    assert "hold folders of the same names (a, b) and no pictures of their own" in words
    assert "say --layout classes" in words
    assert listings.scan(tmp_path, layout="classes").labels == sorted(names)


def test_splits_below_classes_are_told(tmp_path: Path) -> None:
    folders(tmp_path, "ants/train", "ants/val", "bees/train", "bees/val")
    assert "each of ants, bees holds train, val: splits below classes." in fails(tmp_path)


@pytest.mark.parametrize(
    "names",
    [
        ("cats/images", "dogs/images"),  # A folder each that says nothing.
        ("cats/2019", "cats/2020", "dogs/2021"),
        ("cats", "cats/old", "cats/new", "dogs/old", "dogs/new"),  # With pictures of its own.
    ],
)
def test_classes_may_hold_folders(tmp_path: Path, names: tuple[str, ...]) -> None:
    assert listings.scan(folders(tmp_path, *names)).labels == ["cats", "dogs"]


def test_a_test_folder_without_classes_is_left_out_with_a_word(tmp_path: Path) -> None:
    folders(tmp_path, "train/a", "train/b", "test", count=3)
    listing = listings.scan(tmp_path)
    assert splits_of(listing) == {("a", "train"), ("b", "train")}
    (told,) = listing.notes
    assert told == (
        f"left out: {tmp_path}/test: 3 pictures without class folders, so nothing says what they "
        f"show. Once trained: frostline predict RUN {tmp_path}/test."
    )


def test_pictures_to_be_predicted_beside_splits_are_left_out_with_a_word(tmp_path: Path) -> None:
    folders(tmp_path, "seg_train/seg_train/a", "seg_train/seg_train/b", "seg_pred/seg_pred")
    listing = listings.scan(tmp_path)
    assert listing.labels == ["a", "b"]
    assert f"{tmp_path}/seg_pred: 2 pictures; it lies beside the split folders." in listing.notes[1]


def test_litter_is_no_class(tmp_path: Path) -> None:
    folders(tmp_path, "a", "b", "@eaDir", "a/@eaDir", "__MACOSX/a", "b/.ipynb_checkpoints")
    picture(tmp_path / "$RECYCLE.BIN" / "x.png")
    listing = listings.scan(tmp_path)
    assert listing.labels == ["a", "b"]
    assert len(listing.rows) == 4
    assert "passed over: 5 hidden." in listings.report_lines(listing)


def test_a_hidden_folder_that_holds_pictures_is_named(tmp_path: Path) -> None:
    folders(tmp_path, "a", "b", ".rejected/c")
    listing = listings.scan(tmp_path)
    assert listing.labels == ["a", "b"]
    assert listing.notes == (f"left out: the hidden folder {tmp_path}/.rejected: 2 pictures.",)
    assert listing.skipped_hidden == 0


@pytest.mark.parametrize("below", [("ants", "bees"), ("train/ants", "val/ants")])
def test_one_level_too_deep_gets_the_folder_that_was_meant(
    tmp_path: Path, below: tuple[str, ...]
) -> None:
    folders(tmp_path, *(f"nested/photos/{name}" for name in below))
    inner = ", ".join(sorted({name.partition("/")[0] for name in below}))
    end = f"this has only 'photos'. Did you mean {tmp_path}/nested/photos ({inner})?"
    assert fails(tmp_path / "nested").endswith(end)
    assert fails(tmp_path).endswith(f"Did you mean {tmp_path}/nested/photos ({inner})?")


def test_pictures_beside_a_table_get_the_table(tmp_path: Path) -> None:
    folders(tmp_path, "images")
    (tmp_path / "labels.csv").write_text("path,label\n")
    assert fails(tmp_path / "images").endswith("Or name a table that says it: is it labels.csv?")


def test_a_class_in_two_unicode_forms_is_one(tmp_path: Path) -> None:
    folders(tmp_path, "train/caf\u00e9", "train/tea", "val/cafe\u0301", "val/tea")
    listing = listings.scan(tmp_path)
    assert listing.labels == ["caf\u00e9", "tea"]
    assert {row.path.count("\u0301") for row in listing.of("val")} == {0, 1}
    (told,) = listing.notes
    assert told == (
        "labels written in 2 ways are one class, 'caf\u00e9': 'cafe\\u0301', 'caf\\xe9'."
    )


def test_a_class_folder_may_be_called_none(tmp_path: Path) -> None:
    assert listings.scan(folders(tmp_path, "None", "nan")).labels == ["None", "nan"]


def test_blanks_around_a_folder_count_only_where_nothing_else_tells_two_apart(
    tmp_path: Path,
) -> None:
    folders(tmp_path, "train/a ", "train/b", "val/a", "val/b")
    assert listings.scan(tmp_path).labels == ["a", "b"]
    assert listings.scan(folders(tmp_path / "other", " a", "b")).labels == [" a", "b"]
