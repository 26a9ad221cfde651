"""The run folder where none is named."""

from pathlib import Path

import pytest

from frostline.base import files
from frostline.run.naming import next_run_folder


def begun(folder: Path, *names: str) -> Path:
    folder.mkdir(parents=True)
    for name in names:
        (folder / name).write_text("")
    return folder


def test_it_has_the_name_of_the_images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "my.photos").mkdir()
    assert next_run_folder(tmp_path / "my.photos") == Path("runs/my.photos")
    assert next_run_folder(tmp_path / "labels.csv") == Path("runs/labels")
    assert next_run_folder(object()) == Path("runs/run")
    monkeypatch.chdir(tmp_path / "my.photos")
    assert next_run_folder(Path()) == Path("runs/my.photos")


def test_a_finished_run_leads_to_the_next_number(tmp_path: Path) -> None:
    begun(tmp_path / "photos", "recipe.toml", "metrics.json")
    assert next_run_folder(Path("photos"), tmp_path) == tmp_path / "photos-2"
    begun(tmp_path / "photos-2", "recipe.toml", "metrics.json")
    assert next_run_folder(Path("photos"), tmp_path) == tmp_path / "photos-3"


def test_an_interrupted_run_is_gone_on_with(tmp_path: Path) -> None:
    begun(tmp_path / "photos", "recipe.toml", "metrics.json")
    last = begun(tmp_path / "photos-2", "recipe.toml")
    assert next_run_folder(Path("photos"), tmp_path) == last


def test_a_run_that_another_process_is_at_is_left_alone(tmp_path: Path) -> None:
    last = begun(tmp_path / "photos", "recipe.toml")
    with files.locked(last / ".lock", "photos"):
        assert next_run_folder(Path("photos"), tmp_path) == tmp_path / "photos-2"


def test_what_is_no_run_is_never_written_to(tmp_path: Path) -> None:
    begun(tmp_path / "photos", "letters.txt")
    (tmp_path / "photos-2").write_text("a file")
    (tmp_path / "photos-3").symlink_to(tmp_path / "gone")
    assert next_run_folder(Path("photos"), tmp_path) == tmp_path / "photos-4"


def test_an_empty_leftover_is_taken(tmp_path: Path) -> None:
    begun(tmp_path / "photos", ".lock")
    assert next_run_folder(Path("photos"), tmp_path) == tmp_path / "photos"
