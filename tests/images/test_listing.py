import io
import os
import struct
import subprocess
import sys
import zlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from frostline.base.console import Console
from frostline.base.errors import ListingError
from frostline.images import listing as listings
from frostline.images.listing import Listing, Row


def picture(path: Path, shade: int = 0, mode: str = "RGB", size: tuple[int, int] = (6, 4)) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.new("L", size, shade % 256)
    image.putpixel((0, 0), shade // 256)
    image.convert(mode).save(path)
    return path


def folders(root: Path, *names: str, count: int = 2) -> Path:
    for index, name in enumerate(names):
        for number in range(count):
            picture(root / name / f"{number}.png", 1 + index * 50 + number)
    return root


def fails(source: Path, **options: Any) -> str:
    with pytest.raises(ListingError) as error:
        listings.scan(source, **options)
    assert "\n" not in str(error.value)
    return str(error.value)


def places(listing: Listing) -> list[tuple[str, str, str]]:
    return [(Path(row.path).name, row.label, row.split) for row in listing.rows]


def test_a_folder_of_class_folders(tmp_path: Path) -> None:
    folders(tmp_path, "cats", "dogs")
    listing = listings.scan(tmp_path)
    assert places(listing) == [
        ("0.png", "cats", ""),
        ("1.png", "cats", ""),
        ("0.png", "dogs", ""),
        ("1.png", "dogs", ""),
    ]
    first = listing.rows[0]
    assert (first.width, first.height, first.mode, first.problem) == (6, 4, "RGB", "")
    assert len(first.digest) == 40
    assert listing.labels == ["cats", "dogs"]
    assert not listing.has_splits
    assert listings.report_lines(listing) == []


def test_classes_may_nest(tmp_path: Path) -> None:
    folders(tmp_path, "cats", "dogs/big", "dogs/small")
    assert [row.label for row in listings.scan(tmp_path).rows] == ["cats"] * 2 + ["dogs"] * 4


@pytest.mark.parametrize("val", ["val", "valid", "validation", "Val"])
def test_train_and_val_folders(tmp_path: Path, val: str) -> None:
    folders(tmp_path, "train/a", "train/b", f"{val}/a", f"{val}/b", "test/a", count=1)
    listing = listings.scan(tmp_path)
    assert listing.has_splits
    assert {(row.label, row.split) for row in listing.rows} == {
        ("a", "train"), ("b", "train"), ("a", "val"), ("b", "val"), ("a", "test"),
    }  # fmt: skip
    assert len(listing.of("val")) == 2


def test_train_alone_is_a_split_and_train_among_others_is_a_class(tmp_path: Path) -> None:
    alone = listings.scan(folders(tmp_path / "one", "train/a", "train/b"))
    assert alone.has_splits
    assert alone.labels == ["a", "b"]
    vehicles = listings.scan(folders(tmp_path / "two", "bus", "car", "train"))
    assert not vehicles.has_splits
    assert vehicles.labels == ["bus", "car", "train"]


def test_a_folder_beside_the_splits_is_named(tmp_path: Path) -> None:
    folders(tmp_path, "train/a", "train/b", "val/a", "val/b", "extra", count=3)
    listing = listings.scan(tmp_path)
    assert len(listing.rows) == 12
    assert listings.report_lines(listing) == [
        f"left out: {tmp_path}/extra: 3 pictures; it lies beside the split folders."
    ]


def test_a_relative_folder_gives_absolute_paths(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folders(tmp_path / "in", "a", "b")
    monkeypatch.chdir(tmp_path)
    rows = listings.scan(Path("in")).rows
    assert all(Path(row.path).is_absolute() for row in rows)


def test_orientation_swaps_the_sides(tmp_path: Path) -> None:
    folders(tmp_path, "a", "b")
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (6, 4)).save(tmp_path / "a" / "turned.jpg", exif=exif)
    row = next(row for row in listings.scan(tmp_path).rows if row.path.endswith("turned.jpg"))
    assert (row.width, row.height) == (4, 6)


def test_many_formats_whatever_the_case_of_their_names(tmp_path: Path) -> None:
    folders(tmp_path, "a", "b")
    for name in ("1.JPG", "2.jpeg", "3.JPE", "4.jfif", "5.webp", "6.TIFF", "7.tif", "8.gif"):
        picture(tmp_path / "a" / name, 9)
    for name in ("9.bmp", "10.ppm", "11.ico", "12.jp2"):
        picture(tmp_path / "b" / name, 9, size=(16, 16))
    listing = listings.scan(tmp_path)
    assert len(listing.usable) == 16


def test_hidden_and_other_files_are_passed_over_and_counted(tmp_path: Path) -> None:
    folders(tmp_path, "a", "b")
    (tmp_path / ".git").mkdir()
    for name in ("a/.hidden.png", "b/._x.jpg", ".DS_Store", ".git/HEAD"):
        (tmp_path / name).write_bytes(b"x")
    for name in ("a/Thumbs.db", "b/notes.txt", "labels.csv", "a/desktop.ini", "b/x.pdf", "b/y.eps"):
        (tmp_path / name).write_bytes(b"x")
    os.mkfifo(tmp_path / "a" / "pipe.png")
    listing = listings.scan(tmp_path)
    assert len(listing.rows) == 4
    assert (listing.skipped_hidden, listing.skipped_other) == (4, 7)
    assert listings.report_lines(listing) == [
        "passed over: 4 hidden and 7 that are no images by name."
    ]


def test_link_loops_end_and_links_are_followed(tmp_path: Path) -> None:
    root = folders(tmp_path / "in", "a", "b")
    picture(tmp_path / "elsewhere" / "far.png", 77)
    (root / "a" / "self").symlink_to(root / "a")
    (root / "a" / "up").symlink_to(root)
    (root / "top").symlink_to(root)
    (root / "b" / "linked").symlink_to(tmp_path / "elsewhere")
    (root / "b" / "file.png").symlink_to(tmp_path / "elsewhere" / "far.png")
    (root / "b" / "nowhere.png").symlink_to(tmp_path / "gone.png")
    (root / "b" / "itself.png").symlink_to(root / "b" / "itself.png")
    listing = listings.scan(root)
    assert [(Path(row.path).name, row.label) for row in listing.usable] == [
        ("0.png", "a"), ("1.png", "a"),
        ("0.png", "b"), ("1.png", "b"), ("file.png", "b"), ("far.png", "b"),
    ]  # fmt: skip
    assert [(Path(row.path).name, row.problem) for row in listing.problems] == [
        ("itself.png", "too many levels of symbolic links"),
        ("nowhere.png", "no such file or directory"),
    ]


def test_names_that_are_not_utf8_or_very_long(tmp_path: Path) -> None:
    folders(tmp_path, "a", "b")
    odd = os.fsencode(tmp_path / "a") + b"/caf\xe9 \xff.png"
    os.rename(tmp_path / "a" / "0.png", odd)  # noqa: PTH104
    picture(tmp_path / "b" / ("x" * 250 + ".png"), 3)
    picture(tmp_path / "b" / 'line\nfeed,"quote"\r.png', 4)
    listing = listings.scan(tmp_path)
    assert len(listing.usable) == 6
    assert os.fsencode(listing.rows[1].path) == odd
    listings.write_csv(listing, tmp_path / "listing.csv")
    assert listings.read_csv(tmp_path / "listing.csv").rows == listing.rows


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "the file is empty (0 bytes)"),
        (b"only words, and many of them", "not an image"),
    ],
)
def test_files_that_are_no_images_are_left_out(tmp_path: Path, content: bytes, reason: str) -> None:
    folders(tmp_path, "a", "b")
    (tmp_path / "a" / "bad.jpg").write_bytes(content)
    listing = listings.scan(tmp_path)
    assert len(listing.usable) == 4
    (bad,) = listing.problems
    assert bad.problem == reason
    assert listings.report_lines(listing) == [f"left out: 1 file: {bad.path}: {reason}."]


def test_a_png_of_900_megapixels_is_left_out(tmp_path: Path) -> None:
    folders(tmp_path, "a", "b")
    good = io.BytesIO()
    Image.new("L", (1, 1)).save(good, "PNG")
    data = bytearray(good.getvalue())
    data[16:24] = struct.pack(">II", 30_000, 30_000)
    data[29:33] = struct.pack(">I", zlib.crc32(data[12:29]))
    (tmp_path / "a" / "bomb.png").write_bytes(data)
    (bad,) = listings.scan(tmp_path).problems
    assert bad.problem == (
        "too large: 30000 x 30000 = 900,000,000 pixels, the limit is 89,478,485 "
        "(--max-megapixels moves it)"
    )


def test_a_file_without_permission_is_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folders(tmp_path, "a", "b")
    real = Path.read_bytes

    def read_bytes(path: Path) -> bytes:
        if path.name == "0.png" and path.parent.name == "a":
            raise PermissionError(13, "Permission denied", str(path))
        return real(path)

    monkeypatch.setattr(Path, "read_bytes", read_bytes)
    (bad,) = listings.scan(tmp_path).problems
    assert (bad.problem, bad.digest) == ("permission denied", "")


def test_a_folder_without_permission_is_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folders(tmp_path, "a", "b", "b/closed", "c")
    real = os.scandir

    def scandir(path: Path) -> object:
        if path.name in ("closed", "c", "root"):
            raise PermissionError(13, "Permission denied", str(path))
        return real(path)

    monkeypatch.setattr(os, "scandir", scandir)
    listing = listings.scan(tmp_path)
    assert [(Path(row.path).name, row.problem) for row in listing.problems] == [
        ("closed", "the folder cannot be opened: permission denied"),
        ("c", "the folder cannot be opened: permission denied"),
    ]
    (tmp_path / "root").mkdir()
    assert "root: cannot be opened: permission denied. Change its permissions" in fails(
        tmp_path / "root"
    )


def test_images_beside_class_folders_and_empty_classes_are_named(tmp_path: Path) -> None:
    folders(tmp_path, "a", "b")
    picture(tmp_path / "stray.png")
    (tmp_path / "empty").mkdir()
    listing = listings.scan(tmp_path)
    assert [(Path(row.path).name, row.problem) for row in listing.problems] == [
        ("empty", "a class folder without images"),
        ("stray.png", "lies outside every class folder"),
    ]
    assert listing.labels == ["a", "b"]


def test_the_wrong_path_gets_the_nearest_name(tmp_path: Path) -> None:
    folders(tmp_path, "flowers/a", "flowers/b")
    assert fails(tmp_path / "flower") == (
        f"{tmp_path}/flower: there is no such file or folder. Did you mean flowers? "
        "Name a folder of class folders, or a CSV file."
    )
    assert "there is no such file" in fails(tmp_path / ("x" * 300))


def test_neither_a_folder_nor_csv(tmp_path: Path) -> None:
    (tmp_path / "photos.zip").write_bytes(b"PK")
    assert "photos.zip: neither a folder nor a .csv file. Unpack it first. Name a folder" in fails(
        tmp_path / "photos.zip"
    )


def test_no_images(tmp_path: Path) -> None:
    assert fails(tmp_path) == (
        f"{tmp_path}: holds no images; 0 other and 0 hidden files were passed over. "
        "Name a folder of class folders, or a CSV file."
    )
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "words.txt").write_text("words")
    (tmp_path / "b").mkdir()
    assert "holds no images; 1 other" in fails(tmp_path)


def test_train_without_images(tmp_path: Path) -> None:
    folders(tmp_path, "val/a", "val/b")
    (tmp_path / "train").mkdir()
    assert fails(tmp_path) == (
        f"{tmp_path}/train: holds no images. Put a folder of images for each class into it."
    )


def test_images_without_class_folders(tmp_path: Path) -> None:
    picture(tmp_path / "one.png")
    expected = "holds 1 images but no class folders, so nothing says what they show."
    assert expected in fails(tmp_path)
    split = tmp_path / "in"
    picture(split / "train" / "one.png")
    picture(split / "val" / "one.png")
    assert f"{split}/train: {expected}" in fails(split)


def test_one_class_only(tmp_path: Path) -> None:
    folders(tmp_path, "cats")
    assert fails(tmp_path) == (
        f"{tmp_path}: a classifier needs at least 2 classes, and this has only 'cats'. "
        "Put each class into a folder of its own."
    )
    assert listings.scan(tmp_path, least_classes=1).labels == ["cats"]


def test_no_usable_image(tmp_path: Path) -> None:
    for label in "ab":
        (tmp_path / label).mkdir()
        (tmp_path / label / "bad.jpg").write_bytes(b"")
    assert fails(tmp_path) == (
        f"{tmp_path}: none of the 2 images can be used. "
        f"The first: {tmp_path}/a/bad.jpg: the file is empty (0 bytes)."
    )


def test_val_without_train_and_two_vals(tmp_path: Path) -> None:
    folders(tmp_path / "one", "val/a", "test/a")
    assert "has test and val but no train. Add a folder train" in fails(tmp_path / "one")
    folders(tmp_path / "two", "train/a", "val/a", "valid/a")
    assert "train, val, valid: two of these mean the same split" in fails(tmp_path / "two")


def test_a_class_in_val_that_train_does_not_have(tmp_path: Path) -> None:
    folders(tmp_path, "train/a", "train/b", "val/a", "val/c")
    assert fails(tmp_path) == (
        f"{tmp_path}: class 'c' is in val but not in train, so it cannot be learned. "
        "Classes go by name; train has 'a', 'b'."
    )


def test_a_class_that_val_does_not_have_is_said_loudly(tmp_path: Path) -> None:
    folders(tmp_path, "train/a", "train/b", "train/c", "val/a")
    listing = listings.scan(tmp_path)
    assert "2 classes ('b', 'c') are missing in val: nothing there tests them." in (
        listings.report_lines(listing)
    )


def test_twins_are_reported(tmp_path: Path) -> None:
    folders(tmp_path, "train/a", "train/b", "val/a", "val/b")
    same = (tmp_path / "train" / "a" / "0.png").read_bytes()
    (tmp_path / "train" / "b" / "same.png").write_bytes(same)
    (tmp_path / "val" / "a" / "same.png").write_bytes(same)
    lines = listings.report_lines(listings.scan(tmp_path))
    first = f"{tmp_path}/train/a/0.png"
    labels = "the same file under two labels"
    splits = "the same file in two splits, which makes validation too kind"
    assert lines == [
        f"{labels}: 1 image: {first} = {tmp_path}/train/b/same.png.",
        f"{splits}: 1 image: {first} = {tmp_path}/val/a/same.png.",
    ]


def test_a_class_with_one_image_is_reported(tmp_path: Path) -> None:
    folders(tmp_path, "a", "b")
    picture(tmp_path / "rare" / "only.png", 99)
    assert listings.report_lines(listings.scan(tmp_path)) == [
        "class 'rare' is shown by one image only: too few to learn and to test."
    ]


def test_conversions_are_counted(tmp_path: Path) -> None:
    folders(tmp_path, "a", "b")
    for number, mode in enumerate(("L", "1", "P", "LA", "RGBA", "CMYK", "F", "I")):
        picture(tmp_path / "a" / f"{mode}.tif", 40 + number, mode)
    deep = Image.fromarray(np.full((4, 4), 300, dtype=np.uint16))
    deep.save(tmp_path / "b" / "deep.png")
    listing = listings.scan(tmp_path)
    assert not listing.problems
    (line,) = listings.report_lines(listing)
    assert line == (
        "converted to 8-bit RGB: 2 grey, 1 palette, 2 with alpha (laid on white), 1 CMYK, "
        "2 deeper than 8 bits (see levels), 1 float (see levels)."
    )


def test_only_the_first_few_left_out_are_shown(tmp_path: Path) -> None:
    folders(tmp_path, "a", "b")
    for number in range(9):
        (tmp_path / "a" / f"bad{number}.jpg").write_bytes(b"")
    (line,) = listings.report_lines(listings.scan(tmp_path))
    assert line.startswith("left out: 9 files: ")
    assert line.count("(0 bytes)") == 5
    assert line.endswith("; and 4 more.")


def test_problems_found_later_are_folded_in(tmp_path: Path) -> None:
    listing = listings.scan(folders(tmp_path, "a", "b"))
    path = listing.rows[0].path
    later = listing.with_problems({path: "cut short"})
    assert [row.path for row in later.problems] == [path]
    assert later.rows[0] == replace(listing.rows[0], problem="cut short")
    assert later.with_problems({}) == later


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def test_csv_with_splits_and_groups(tmp_path: Path) -> None:
    for number in range(3):
        picture(tmp_path / "in" / f"{number}.png", number)
    source = write(
        tmp_path / "table.csv",
        "\ufeffPath,Label,note,split,group\n"
        "in/0.png,cat,x,train,g1\n\n"
        'in/1.png,"dog, small",,Train,\n'
        f"{tmp_path}/in/2.png,cat,,valid,g1\n",
    )
    listing = listings.scan(source)
    assert [(row.label, row.split, row.group) for row in listing.rows] == [
        ("cat", "train", "g1"),
        ("dog, small", "train", ""),
        ("cat", "val", "g1"),
    ]
    assert listing.has_splits
    assert listing.root == str(source)
    assert listing.notes == ("columns passed over: note.",)


def test_csv_without_its_columns(tmp_path: Path) -> None:
    source = write(tmp_path / "table.csv", "path,lable\nx.png,cat\n")
    assert fails(source) == (
        f"{source}: there is no column label; the first line must name the columns path and "
        "label, and may name split and group. It names path, lable. Did you mean lable?"
    )
    assert "It names none" in fails(write(source, ""))


def test_csv_collects_every_fault_with_its_line(tmp_path: Path) -> None:
    picture(tmp_path / "ok.png")
    (tmp_path / "folder").mkdir()
    source = write(
        tmp_path / "table.csv",
        "path,label,split\nok.png,cat,train\ngone.png,cat,train\nok.png,,train\n"
        "folder,dog,vall\nok.png,dog,val\n" + "x" * 300 + ",dog,val\n",
    )
    message = fails(source)
    assert message.startswith(f"{source}: 6 problems: ")
    for part in (
        f"line 3: {tmp_path}/gone.png does not exist; paths are relative to the CSV file.",
        "line 4: label is empty; each image needs both.",
        "line 5: split must be train, val or test, and is 'vall'. Did you mean val",
        f"line 5: {tmp_path}/folder is a folder; paths are relative to the CSV file.",
        f"line 6: path {tmp_path}/ok.png stands on line 2 already.",
        "line 7: ",
    ):
        assert part in message


def test_csv_shows_the_first_faults_of_many(tmp_path: Path) -> None:
    lines = "".join(f"gone{number}.png,cat\n" for number in range(100))
    message = fails(write(tmp_path / "table.csv", "path,label\n" + lines))
    assert message.endswith("And 80 more.")
    assert ": 100 problems: " in message


def test_classes_that_look_alike_are_told(tmp_path: Path) -> None:
    names = ("Cat", "cat", "a dog", "a  dog", "cow")
    for number in range(5):
        picture(tmp_path / f"{number}.png")
    lines = "".join(f"{number}.png,{name}\n" for number, name in enumerate(names))
    listing = listings.scan(write(tmp_path / "table.csv", "path,label\n" + lines))
    told = listings.report_lines(listing)
    end = "differ in case or spaces only, and are told apart"
    assert f"classes 'Cat', 'cat' {end}" in told
    assert f"classes 'a  dog', 'a dog' {end}" in told
    assert sum(end in line for line in told) == 2


def test_csv_splits_are_for_all_or_none(tmp_path: Path) -> None:
    for number in range(2):
        picture(tmp_path / f"{number}.png", number)
    source = write(tmp_path / "table.csv", "path,label,split\n0.png,a,train\n1.png,b,\n")
    assert "split is empty for 1 of 2 images; fill it for all or none." in fails(source)
    write(source, "path,label,split\n0.png,a,val\n1.png,b,test\n")
    assert "no image has the split train." in fails(source)
    write(source, "path,label,split\n0.png,a,\n1.png,b,\n")
    assert not listings.scan(source).has_splits


def test_a_file_that_is_not_csv(tmp_path: Path) -> None:
    source = tmp_path / "table.csv"
    source.write_bytes(b'path,label\n"' + b"x" * 200_000 + b'",a\n')
    assert "line 2: not CSV: field larger than field limit" in fails(source)


def test_a_csv_of_no_rows(tmp_path: Path) -> None:
    assert "holds no images" in fails(write(tmp_path / "table.csv", "path,label\n"))


def test_the_listing_of_a_run_round_trips(tmp_path: Path) -> None:
    folders(tmp_path, "train/a", "train/b", "val/a", "val/b")
    (tmp_path / "train" / "a" / "bad, very.png").write_bytes(b"")
    listing = listings.scan(tmp_path)
    rows = (replace(listing.rows[0], group="g\r1"), *listing.rows[1:])
    listings.write_csv(replace(listing, rows=rows), tmp_path / "listing.csv")
    again = listings.read_csv(tmp_path / "listing.csv")
    assert again.rows == rows
    assert again.has_splits
    first = (tmp_path / "listing.csv").read_text().splitlines()[0]
    assert first == "path,label,split,digest,width,height,mode,problem,group"


def table(folder: Path, *lines: str, head: str = "path,label") -> Path:
    """Writes a CSV and the pictures it names, all different."""
    for number, line in enumerate(lines):
        picture(folder / line.split(",")[0], number)
    return write(folder / "table.csv", "\n".join([head, *lines]) + "\n")


def test_several_labels_in_a_cell(tmp_path: Path) -> None:
    source = table(tmp_path, "0.png,dog; cat ;dog", "1.png,", "2.png,;", "3.png, bee", "4.png,cat;")
    listing = listings.scan(source)
    assert listing.several
    assert [row.label for row in listing.rows] == ["cat;dog", "", "", "bee", "cat"]
    tags = [listing.tags(row) for row in listing.rows]
    assert tags == [("cat", "dog"), (), (), ("bee",), ("cat",)]
    assert listing.labels == ["bee", "cat", "dog"]
    assert not listing.problems


def test_a_semicolon_is_a_part_of_the_name_where_there_is_one_label(tmp_path: Path) -> None:
    source = table(tmp_path, "0.png,cat; dog", "1.png,bee")
    for targets in ("multiclass", "binary"):
        listing = listings.scan(source, targets=targets)
        assert not listing.several
        assert listing.labels == ["bee", "cat; dog"]
        assert listing.tags(listing.rows[0]) == ("cat; dog",)
    assert listings.scan(source).labels == ["bee", "cat", "dog"]


def test_a_csv_without_a_semicolon_has_several_labels_only_where_that_is_said(
    tmp_path: Path,
) -> None:
    source = table(tmp_path, "0.png,cat", "1.png,", "2.png,dog")
    assert fails(source) == f"{source}: line 3: label is empty; each image needs both."
    listing = listings.scan(source, targets="multilabel")
    assert listing.several
    assert [listing.tags(row) for row in listing.rows] == [("cat",), (), ("dog",)]
    write(source, "path,label\n0.png,cat\n2.png,dog\n")
    assert not listings.scan(source).several


def test_folders_give_one_label_each_among_several(tmp_path: Path) -> None:
    folders(tmp_path, "cat", "dog")
    assert not listings.scan(tmp_path).several
    listing = listings.scan(tmp_path, targets="multilabel")
    assert listing.several
    assert {listing.tags(row) for row in listing.rows} == {("cat",), ("dog",)}
    folders(tmp_path, "cow;horse", count=1)
    assert listings.scan(tmp_path).labels == ["cat", "cow;horse", "dog"]
    assert fails(tmp_path, targets="multilabel") == (
        f"{tmp_path}: the class folder 'cow;horse' has a ; in its name, which stands between "
        "labels where an image may have several. Rename the folder."
    )


def test_binary_has_two_classes(tmp_path: Path) -> None:
    folders(tmp_path, "a", "b")
    assert listings.scan(tmp_path, targets="binary").labels == ["a", "b"]
    folders(tmp_path, "c")
    assert fails(tmp_path, targets="binary") == (
        f"{tmp_path}: binary targets need exactly 2 classes, and this has 3: 'a', 'b', 'c'. "
        "Take multiclass targets, or leave two classes."
    )
    folders(tmp_path / "one", "a")
    assert fails(tmp_path / "one", targets="binary") == (
        f"{tmp_path}/one: a classifier needs at least 2 classes, and this has only 'a'. "
        "Put each class into a folder of its own."
    )
    assert listings.scan(tmp_path / "one", least_classes=1, targets="binary").labels == ["a"]


def test_one_label_will_do_where_images_may_have_none(tmp_path: Path) -> None:
    source = table(tmp_path, "0.png,cat", "1.png,")
    assert listings.scan(source, targets="multilabel").labels == ["cat"]
    write(source, "path,label\n0.png,\n1.png,\n")
    assert fails(source, targets="multilabel") == (
        f"{source}: no usable image has a label, so there is nothing to learn. "
        "Fill the column label."
    )
    assert listings.scan(source, least_classes=0, targets="multilabel").labels == []


def test_several_labels_keep_the_other_faults_of_a_csv(tmp_path: Path) -> None:
    picture(tmp_path / "0.png")
    source = write(tmp_path / "table.csv", "path,label\n0.png,a;b\n,c\ngone.png,\n0.png,c\n")
    message = fails(source)
    assert message.startswith(f"{source}: 3 problems: ")
    for part in (
        "line 3: path is empty; each image needs one.",
        f"line 4: {tmp_path}/gone.png does not exist; paths are relative to the CSV file.",
        f"line 5: path {tmp_path}/0.png stands on line 2 already; put all its labels into one cell",
    ):
        assert part in message
    assert "holds no images" in fails(write(source, "path,label\n"), targets="multilabel")
    assert "there is no column label" in fails(write(source, "path,lable\n0.png,a;b\n"))


def test_labels_in_val_that_train_does_not_have_go_by_tag(tmp_path: Path) -> None:
    source = table(tmp_path, "0.png,a;b,train", "1.png,b;c,val", head="path,label,split")
    assert fails(source) == (
        f"{source}: class 'c' is in val but not in train, so it cannot be learned. "
        "Classes go by name; train has 'a', 'b'."
    )


def test_what_is_told_of_several_labels(tmp_path: Path) -> None:
    source = table(
        tmp_path, "0.png,a;b,train", "1.png,a;c;b,train", "2.png,,val", "3.png,b;a,val",
        head="path,label,split",
    )  # fmt: skip
    (tmp_path / "3.png").write_bytes((tmp_path / "1.png").read_bytes())
    pair = f"1 image: {tmp_path}/1.png = {tmp_path}/3.png."
    assert listings.report_lines(listings.scan(source)) == [
        f"the same file with different labels: {pair}",
        f"the same file in two splits, which makes validation too kind: {pair}",
        "class 'c' is missing in val: nothing there tests it.",
        "class 'c' is shown by one image only: too few to learn and to test.",
        "without a label: 1 image, taken to show no class.",
        "2 classes ('a', 'b') are on every training image: nothing shows what one without is like.",
    ]


def test_a_listing_of_several_labels_round_trips(tmp_path: Path) -> None:
    source = table(tmp_path, "0.png,b;a", "1.png,c", "2.png,")
    listing = listings.scan(source)
    listings.write_csv(listing, tmp_path / "listing.csv")
    again = listings.read_csv(tmp_path / "listing.csv")
    assert (again.rows, again.several) == (listing.rows, True)
    lines = (tmp_path / "listing.csv").read_text().splitlines()
    assert lines[0] == "path,label,split,digest,width,height,mode,problem,group,label_count"
    assert [line.rsplit(",", 1)[1] for line in lines[1:]] == ["2", "1", "0"]
    # It is what people write, too: another run may take it.
    assert listings.scan(tmp_path / "listing.csv").rows == listing.rows
    # A listing of one label each stays one, whatever its labels hold.
    listings.write_csv(listings.scan(source, targets="multilabel"), tmp_path / "few.csv")
    single = Listing((Row("0.png", "a;b"),))
    listings.write_csv(single, tmp_path / "listing.csv")
    assert listings.read_csv(tmp_path / "listing.csv").tags(single.rows[0]) == ("a;b",)


def test_a_listing_that_is_none(tmp_path: Path) -> None:
    with pytest.raises(ListingError, match="cannot be read: no such file"):
        listings.read_csv(tmp_path / "listing.csv")
    write(tmp_path / "listing.csv", "path,label\n")
    with pytest.raises(ListingError, match="it lacks split, digest, width"):
        listings.read_csv(tmp_path / "listing.csv")
    listings.write_csv(Listing((Row("x"),)), tmp_path / "listing.csv")
    write(tmp_path / "listing.csv", (tmp_path / "listing.csv").read_text().replace("0,0", "a,0"))
    with pytest.raises(ListingError, match="line 2: width and height must be whole numbers"):
        listings.read_csv(tmp_path / "listing.csv")


def test_loose_files_keep_their_order_and_folders_are_searched(tmp_path: Path) -> None:
    folders(tmp_path / "in", "a/deep", "b")
    oddly_named = picture(tmp_path / "shot.png").rename(tmp_path / "shot.dat")
    bad = tmp_path / "bad.jpg"
    bad.write_bytes(b"words")
    (tmp_path / "in" / "loop").symlink_to(tmp_path / "in")
    listing = listings.scan_files([oddly_named, tmp_path / "in", bad])
    assert [Path(row.path).name for row in listing.rows] == [
        "shot.dat", "0.png", "1.png", "0.png", "1.png", "bad.jpg",
    ]  # fmt: skip
    assert [row.path for row in listing.problems] == [str(bad)]
    assert all(row.label == "" for row in listing.rows)


def test_loose_files_that_do_not_exist_are_all_named(tmp_path: Path) -> None:
    picture(tmp_path / "photo.png")
    with pytest.raises(ListingError) as error:
        listings.scan_files([tmp_path / "phto.png", tmp_path / "zzz"])
    assert str(error.value) == (
        f"images: 2 problems: (1) {tmp_path}/phto.png: there is no such file or folder. "
        f"Did you mean photo.png? (2) {tmp_path}/zzz: there is no such file or folder."
    )
    (tmp_path / "empty").mkdir()
    with pytest.raises(ListingError, match=r"empty: holds no images\. Name image files"):
        listings.scan_files([tmp_path / "empty"])
    with pytest.raises(ListingError, match=r"nothing was named: holds no images"):
        listings.scan_files([])


def test_progress_is_shown_and_nothing_is_written(tmp_path: Path) -> None:
    root = folders(tmp_path, "a", "b")
    before = {path: path.stat().st_mtime_ns for path in root.rglob("*")}
    stream = io.StringIO()
    listings.scan(root, Console(stream, verbose=True), threads=1)
    assert "reading pictures' headers: 4/4 images" in stream.getvalue()
    assert {path: path.stat().st_mtime_ns for path in root.rglob("*")} == before


def test_listing_needs_no_torch() -> None:
    code = (
        "import sys; from frostline.images import listing, splits; "
        "sys.exit('torch' in sys.modules or 'timm' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_gif_among_the_ants_is_listed_as_an_image(assets: Path) -> None:
    listing = listings.scan(assets / "data" / "ants_bees")
    (gif,) = [row for row in listing.usable if row.path.endswith(".gif")]
    assert (gif.label, gif.split, gif.mode) == ("ants", "train", "P")
    assert len(listing.of("train")) == 245
    assert len(listing.of("val")) == 153
    assert not listing.problems
    assert listings.report_lines(listing) == ["converted to 8-bit RGB: 1 palette."]
