"""Tables as people have them: what is read, what is refused, and with which line."""

from pathlib import Path

import pytest

from frostline.images import listing as listings
from images.made import fails, labelled, picture, splits_of, table

TWO = ("0.png", "1.png")
TAGS = {"clear", "haze", "once", "primary", "road"}
FOUR = ("0.png", "1.png", "2.png", "3.png")


def rows(head: str, *ends: str) -> str:
    """A table of `0.png`, `1.png`, … with what follows each path."""
    lines = (f"{number}.png,{end}" for number, end in enumerate(ends))
    return "\n".join([head, *lines]) + "\n"


@pytest.mark.parametrize(
    "text",
    [
        'path,label\n0.png,"cat\n1.png,dog\n',
        'path,label\n0.png,"cat\n1.png,"dog"\n',
        'path,label\n0.png,"cat"s\n1.png,dog\n',
    ],
)
def test_an_open_quotation_mark_swallows_no_rows(tmp_path: Path, text: str) -> None:
    words = fails(table(tmp_path, text, *TWO))
    assert 'line 2: a quotation mark (") is left open, or stands where none may' in words


def test_a_quotation_mark_closed_lines_later_is_told(tmp_path: Path) -> None:
    source = table(tmp_path, 'path,label\n0.png,"cat\n1.png,dog"\n', *TWO)
    assert "line 2: label holds a line break or another control character. Is a quotation" in (
        fails(source)
    )


def test_lines_are_counted_where_rows_begin(tmp_path: Path) -> None:
    text = 'path,label,note\n0.png,cat,"two\nlines"\n\n1.png,,\n'
    assert fails(table(tmp_path, text, *TWO)).endswith(
        "table.csv: line 5: label is empty; each image needs both."
    )


def test_surplus_cells_are_refused(tmp_path: Path) -> None:
    words = fails(table(tmp_path, "path,label\n0.png,cat\n1.png,dog, small\n", *TWO))
    assert "line 3: has 3 cells, and the first line names 2 columns." in words
    # Empty ones are what spreadsheets leave.
    assert listings.scan(table(tmp_path, "path,label\n0.png,cat,,\n1.png,dog\n", *TWO)).labels


@pytest.mark.parametrize("twice", ["label", "path", "split"])
def test_a_column_that_stands_there_twice_is_refused(tmp_path: Path, twice: str) -> None:
    source = table(tmp_path, f"path,label,split,{twice}\n0.png,cat,train,x\n", *TWO)
    assert f"the column {twice} stands there 2 times. Keep one of them." in fails(source)


@pytest.mark.parametrize(
    ("column", "train", "val"),
    [
        ("is_valid", "False", "True"), ("is_valid", "0", "1"), ("is_val", "no", "yes"),
        ("set", "train", "val"), ("subset", "Training", "dev"), ("partition", "train", "valid"),
        ("splits", "train", "validation"), ("fold", "1", "0"), ("fold", "2", "1"),
        ("kfold", "3.0", "0.0"), ("fold", "train", "val"), ("phase", "train", "eval"),
    ],
)  # fmt: skip
def test_columns_that_say_the_split_are_obeyed_and_said(
    tmp_path: Path, column: str, train: str, val: str
) -> None:
    ends = (f"cat,{train}", f"dog,{train}", f"cat,{val}", f"dog,{val}")
    listing = listings.scan(table(tmp_path, rows(f"path,label,{column}", *ends), *FOUR))
    assert splits_of(listing) == {
        ("cat", "train"), ("dog", "train"), ("cat", "val"), ("dog", "val"),
    }  # fmt: skip
    assert listing.has_splits
    assert listing.notes[0].startswith(f"splits are those of the column {column}")


def test_of_folds_the_lowest_is_for_validation(tmp_path: Path) -> None:
    source = table(tmp_path, rows("path,label,fold", "a,2", "b,2", "a,1", "b,1"), *FOUR)
    (told,) = listings.scan(source).notes
    assert told == (
        "splits are those of the column fold: the pictures of fold 1 are for validation, all "
        "others for training."
    )


def test_a_column_called_set_that_says_no_split_is_passed_over(tmp_path: Path) -> None:
    source = table(tmp_path, rows("path,label,set,fold", "cat,A,x", "dog,B,y"), *TWO)
    listing = listings.scan(source)
    assert not listing.has_splits
    assert listing.notes == ("columns passed over: set, fold.",)


def test_a_column_of_splits_with_a_slip_is_refused_with_the_line(tmp_path: Path) -> None:
    source = table(tmp_path, rows("path,label,subset", "cat,train", "dog,tarin"), *TWO)
    assert "line 3: split must be train, val or test, and is 'tarin'. Did you mean" in (
        fails(source)
    )


def test_columns_passed_over_are_named(tmp_path: Path) -> None:
    source = table(tmp_path, rows("path,label,patient,age", "cat,1,2", "dog,3,4"), *TWO)
    assert listings.scan(source).notes == ("columns passed over: patient, age.",)


@pytest.mark.parametrize(
    "text",
    [
        "path;label\n0.png;cat\n1.png;dog\n",
        "path\tlabel\n0.png\tcat\n1.png\tdog\n",
        "sep=;\npath;label\n0.png;cat\n1.png;dog\n",
        '"sep=|"\r\npath|label\r\n0.png|cat\r\n1.png|dog\r\n',
        "File Name,Class\n0.png,cat\n1.png,dog\n",
        '"path";"label"\n"0.png";"cat"\n"1.png";"dog"\n',
    ],
)
@pytest.mark.parametrize("coding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"])
def test_separators_and_encodings(tmp_path: Path, text: str, coding: str) -> None:
    source = table(tmp_path, "", *TWO)
    source.write_bytes(text.encode(coding))
    assert labelled(listings.scan(source)) == {"0.png": "cat", "1.png": "dog"}


def test_a_tsv_is_a_table_too(tmp_path: Path) -> None:
    source = table(tmp_path, "path\tlabel\n0.png\tcat\n1.png\tdog\n", *TWO, name="table.tsv")
    assert listings.scan(source).labels == ["cat", "dog"]


@pytest.mark.parametrize(
    "path", [r"in\sub\0.png", r"C:\Users\me\photos\in\sub\0.png", "/users/me/in/sub/0.png", "0.png"]
)
def test_paths_of_other_machines_are_found(tmp_path: Path, path: str) -> None:
    source = table(tmp_path, f"path,label\n{path},cat\n1.png,dog\n", "in/sub/0.png", "1.png")
    listing = listings.scan(source)
    assert labelled(listing) == {"0.png": "cat", "1.png": "dog"}
    if path != r"in\sub\0.png":
        (told,) = listing.notes
        assert told.startswith("1 path was found by file name below the table's folder, such as ")
        assert told.endswith(f"{path}: in/sub/0.png.")


def test_where_two_files_might_be_meant_the_folders_decide_or_nothing(tmp_path: Path) -> None:
    names = ("in/a/0.png", "in/b/0.png", "1.png")
    source = table(tmp_path, "path,label\nD:\\x\\b\\0.png,cat\n1.png,dog\n", *names)
    assert listings.scan(source).rows[-1].path.endswith("in/b/0.png")
    source = table(tmp_path, "path,label\nD:\\0.png,cat\n1.png,dog\n", *names)
    assert "line 2: " in fails(source)
    assert "may be " in fails(source)


def test_ids_without_endings_are_found(tmp_path: Path) -> None:
    text = "image_id,label\n0a1,cat\n0a2.b,dog\n"
    source = table(tmp_path, text, "train/0a1.jpg", "train/0a2.b.png")
    listing = listings.scan(source)
    assert labelled(listing) == {"0a1.jpg": "cat", "0a2.b.png": "dog"}
    assert "paths are those of the column image_id." in listing.notes
    picture(tmp_path / "test" / "0a1.png", 77)
    assert "line 2: " in fails(source)


def test_one_hot_columns_are_classes(tmp_path: Path) -> None:
    listing = listings.scan(
        table(tmp_path, rows("path,Cat,dog,cow", "1,0,0", "0,1.0,0", "0,0,1", "1,0,0"), *FOUR)
    )
    assert [row.label for row in listing.rows] == ["cat", "dog", "cow", "cat"]
    assert not listing.several
    assert listing.notes == ("classes are the columns of 0 and 1: cat, dog, cow.",)


def test_columns_of_0_and_1_with_any_number_of_ones_are_several_labels(tmp_path: Path) -> None:
    source = table(tmp_path, rows("path,cat,dog", "1,1", "0,1", "0,0", "1,0"), *FOUR)
    listing = listings.scan(source)
    assert listing.several
    assert [row.label for row in listing.rows] == ["cat;dog", "dog", "", "cat"]
    assert "has several classes (cat, dog), and its targets are one each." in (
        fails(source, targets="multiclass")
    )


@pytest.mark.parametrize(
    ("head", "cells"),
    [
        ("tags", ("haze primary", "haze", "clear primary road", "clear road")),
        ("labels", ("haze|primary", "haze", "clear|primary|road", "clear|road")),
        ("label", ("haze|primary", "haze", "clear|primary|road", "clear|road")),
        ("tags", ('"haze,primary"', '"haze,clear"', '"clear,primary"', '"clear,once,road"')),
        ("tags", ('"haze,primary"', "haze", '"clear, primary,road"', '"clear,road"')),
    ],
)
def test_tags_are_taken_apart_where_they_plainly_are_some(
    tmp_path: Path, head: str, cells: tuple[str, ...]
) -> None:
    source = table(tmp_path, rows(f"path,{head}", *cells), *FOUR)
    listing = listings.scan(source)
    assert listing.several
    assert {"clear", "haze", "primary", "road"} <= set(listing.labels) <= TAGS
    assert any(note.startswith("labels in a cell are taken apart at ") for note in listing.notes)
    assert not listings.scan(source, targets="multiclass").several


@pytest.mark.parametrize(
    "cells",
    [
        ("golden retriever", "black cat", "golden cat", "cat"),
        ('"Paris, France"', '"London, England"', '"Bath, England"', "Rome"),
        ("a-b", "a", "b", "a/b"),
    ],
)
def test_names_of_several_words_stay_whole(tmp_path: Path, cells: tuple[str, ...]) -> None:
    listing = listings.scan(table(tmp_path, rows("path,label", *cells), *FOUR))
    assert not listing.several
    assert len(listing.labels) == 4


def test_tags_that_may_be_several_are_told_where_they_stay_whole(tmp_path: Path) -> None:
    source = table(tmp_path, rows("path,tags", "red car", "blue bus", "car", "bus"), *FOUR)
    listing = listings.scan(source)
    assert not listing.several
    assert listing.notes[-1] == (
        "each cell of tags is taken as one class; where it holds several labels, say what stands "
        "between them, such as --separator space."
    )
    assert listings.scan(source, separator="space").labels == ["blue", "bus", "car", "red"]


@pytest.mark.parametrize(("separator", "cell"), [("space", "a b"), ("/", "a/b"), ("|", "a|b")])
def test_a_separator_may_be_asked_for(tmp_path: Path, separator: str, cell: str) -> None:
    source = table(tmp_path, rows("path,label", cell, "c"), *TWO)
    listing = listings.scan(source, separator=separator)
    assert listing.several
    assert listing.labels == ["a", "b", "c"]


def test_a_semicolon_within_a_label_among_several_is_refused(tmp_path: Path) -> None:
    source = table(tmp_path, rows("path,label", "a;b|c", "c"), *TWO)
    assert "line 2: label 'a;b' has a ; in its name" in fails(source, separator="|")
    source = table(tmp_path, rows("path,a;b,c", "1,1", "0,1"), *TWO)
    assert "line 2: label 'a;b' has a ; in its name" in fails(source)


@pytest.mark.parametrize("word", ["nan", "NaN", "None", "NULL", "N/A", "<NA>"])
def test_words_for_missing_labels_are_no_classes(tmp_path: Path, word: str) -> None:
    source = table(tmp_path, rows("path,label", "cat", word, "dog"), *FOUR[:3])
    assert f"line 3: label is '{word}', which means that it is missing; leave the picture out" in (
        fails(source)
    )
    assert "leave the cell empty where a picture shows none" in fails(source, targets="multilabel")


def test_a_whole_number_written_two_ways_is_one_class(tmp_path: Path) -> None:
    source = table(tmp_path, rows("path,label", "1", "1.0", "2", "2.5"), *FOUR)
    listing = listings.scan(source)
    assert listing.labels == ["1", "2", "2.5"]
    assert listing.notes == ("labels written in 2 ways are one class, '1': '1', '1.0'.",)


@pytest.mark.parametrize(
    "other", ["cafe\u0301", "caf\u00e9\u200b", "caf\u00e9\u00a0", "\ufeffcaf\u00e9"]
)
def test_a_name_in_two_forms_is_one_class(tmp_path: Path, other: str) -> None:
    source = table(tmp_path, rows("path,label", "caf\u00e9", other, "tea"), *FOUR[:3])
    listing = listings.scan(source)
    assert listing.labels == ["caf\u00e9", "tea"]
    (told,) = listing.notes
    assert told.startswith("labels written in 2 ways are one class, 'caf\u00e9': ")
    assert told.isprintable()


def test_joiners_within_a_name_stay(tmp_path: Path) -> None:
    name = "\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645"
    listing = listings.scan(table(tmp_path, rows("path,label", name, "x"), *TWO))
    assert name in listing.labels


def test_a_label_of_invisible_signs_only_is_empty(tmp_path: Path) -> None:
    source = table(tmp_path, rows("path,label", "cat", "\u200b"), *TWO)
    assert fails(source).endswith("line 3: label is empty; each image needs both.")


def test_a_label_with_a_control_character_is_refused(tmp_path: Path) -> None:
    source = table(tmp_path, rows("path,label", "cat", "do\x1b[31mg"), *TWO)
    assert "line 3: label holds a line break or another control character." in fails(source)
