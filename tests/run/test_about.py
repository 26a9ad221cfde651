"""What a run says of its making."""

import json
from datetime import UTC, datetime
from pathlib import Path

import frostline
from frostline.run import about
from frostline.run.folder import RunFolder

MOMENT = datetime(2026, 3, 7, 9, 5, 30, tzinfo=UTC)


def test_what_is_written_is_read_again(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    made = about.now(["frostline", "train", "caf\udce9"], MOMENT)
    about.write(run, made)
    assert about.read(run) == made
    assert made.finished == "2026-03-07T09:05:30+00:00"
    assert made.frostline == frostline.__version__
    assert "torch" in made.packages


def test_what_is_absent_or_damaged_is_nothing(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    assert about.read(run) is None
    for text in ("{", "[]", '{"finished": "x"}', json.dumps({"command": [], "other": 1})):
        run.about.write_text(text)
        assert about.read(run) is None
