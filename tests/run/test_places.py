from pathlib import Path

import pytest

from frostline.base import files
from frostline.base.errors import RunError
from frostline.run import places
from frostline.run.folder import RunFolder


@pytest.mark.parametrize(
    ("photos", "place"),
    [("photos/", "photos"), ("pictures.v2.csv", "pictures.v2"), ("a/../b.d", "b.d"), (".", "here")],
)
def test_a_run_is_called_after_its_pictures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, photos: str, place: str
) -> None:
    for name in ("here/photos", "here/b.d", "here/a"):
        (tmp_path / name).mkdir(parents=True, exist_ok=True)
    (tmp_path / "here/pictures.v2.csv").touch()
    monkeypatch.chdir(tmp_path / "here")
    assert places.usual(Path(photos)) == Path("runs") / place


def test_what_has_no_name_makes_a_run_of_that_name() -> None:
    for nameless in (Path("/"), Path(b"\xff".decode("utf-8", "surrogateescape")), object()):
        assert places.usual(nameless) == Path("runs/run")


def test_the_next_free_folder(tmp_path: Path) -> None:
    for name in ("a", "a-2", "b-7", "c-1"):
        (tmp_path / name).mkdir()
    assert places.next_free(tmp_path / "a").name == "a-3"
    assert places.next_free(tmp_path / "a-2").name == "a-3"
    assert places.next_free(tmp_path / "b-7").name == "b"
    assert places.next_free(tmp_path / "c-1").name == "c-1-2"


def fail_in(run: RunFolder, name: str) -> None:
    """Makes a file in a run, and goes no further."""
    with places.locked(run):
        (run.path / name).touch()
        raise ZeroDivisionError


def test_folders_made_for_a_run_that_was_not_begun_go_again(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    run = RunFolder(tmp_path / "there" / "runs" / "one")
    with pytest.raises(ZeroDivisionError):
        fail_in(run, ".lock")
    assert [path.name for path in tmp_path.rglob("*")] == ["there"]


@pytest.mark.parametrize("name", ["recipe.toml", "mine.txt"])
def test_what_holds_something_stays(tmp_path: Path, name: str) -> None:
    run = RunFolder(tmp_path / "runs" / "one")
    with pytest.raises(ZeroDivisionError):
        fail_in(run, name)
    assert (run.path / name).is_file()


def test_a_run_in_use_is_refused_and_stays(tmp_path: Path) -> None:
    run = RunFolder(tmp_path / "one")
    run.path.mkdir()
    with (
        files.locked(run.lock, "x"),
        pytest.raises(RunError, match="in use by another process"),
        places.locked(run),
    ):
        raise AssertionError
    assert run.lock.is_file()
