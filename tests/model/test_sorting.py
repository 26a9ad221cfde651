"""Pictures sorted into folders: copied or linked, never moved, never written over."""

from pathlib import Path

import pytest

from frostline.base.errors import DiskError
from frostline.model.predict import Prediction
from frostline.model.sorting import folder_names, sort_into

LABELS = ("ants", "bees")


def said(path: Path, *labels: str, sureness: float = 0.9) -> Prediction:
    return Prediction(str(path), tuple((label, sureness) for label in labels), "", labels, sureness)


def files(folder: Path) -> dict[str, bytes]:
    found = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in found}


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    for name, content in (("a/1.jpg", b"one"), ("b/1.jpg", b"another"), ("a/2.jpg", b"two")):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(content)
    return tmp_path


def test_pictures_of_the_same_name_lie_side_by_side(photos: Path) -> None:
    out = photos / "out"
    listed = [said(photos / name, "ants") for name in ("a/1.jpg", "b/1.jpg")]
    assert sort_into(out, listed, LABELS) == 2
    wanted = {"ants/1.jpg": b"one", "ants/1-2.jpg": b"another"}
    assert files(out) == wanted
    assert sort_into(out, listed, LABELS) == 2, "again puts nothing there twice"
    assert files(out) == wanted
    assert (photos / "a" / "1.jpg").read_bytes() == b"one", "nothing was moved"


def test_unsure_ones_and_those_without_a_label_have_folders_of_their_own(photos: Path) -> None:
    out = photos / "out"
    listed = [
        said(photos / "a/1.jpg", "ants", sureness=0.6),
        said(photos / "a/2.jpg"),
        said(photos / "b/1.jpg", "ants", "bees"),
        Prediction(str(photos / "gone.jpg"), (), "damaged"),
    ]
    assert sort_into(out, listed, LABELS, unsure=0.7) == 3
    assert set(files(out)) == {"_unsure/1.jpg", "_none/2.jpg", "ants/1.jpg", "bees/1.jpg"}


def test_links_lead_to_the_pictures(photos: Path) -> None:
    out = photos / "out"
    for _ in range(2):
        sort_into(out, [said(photos / "a/1.jpg", "ants")], LABELS, link=True)
    (link,) = (out / "ants").iterdir()
    assert link.is_symlink()
    assert link.resolve() == (photos / "a" / "1.jpg").resolve()


def test_what_is_there_is_never_written_over(photos: Path) -> None:
    mine = photos / "out" / "ants" / "1.jpg"
    mine.parent.mkdir(parents=True)
    mine.write_bytes(b"mine")
    sort_into(photos / "out", [said(photos / "a/1.jpg", "ants")], LABELS)
    assert files(photos / "out") == {"ants/1.jpg": b"mine", "ants/1-2.jpg": b"one"}


def test_names_of_classes_become_names_that_every_system_allows() -> None:
    names = folder_names(["a/b", "a_b", "A_B", "..", "", "x. ", "été", "con:1"])
    assert names == {
        "a/b": "a_b",
        "a_b": "a_b-2",
        "A_B": "A_B-3",
        "..": "_",
        "": "_-2",
        "x. ": "x",
        "été": "été",
        "con:1": "con_1",
    }


def test_a_folder_that_cannot_be_is_said_in_one_line(photos: Path) -> None:
    with pytest.raises(DiskError, match="cannot be written"):
        sort_into(photos / "a" / "1.jpg", [said(photos / "a/2.jpg", "ants")], LABELS)
    assert files(photos) == {"a/1.jpg": b"one", "b/1.jpg": b"another", "a/2.jpg": b"two"}
