"""The sheet of what the network was fed."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from conftest import FinishedRun
from frostline.images.augment import CENTER, Policy, View, load, preset
from frostline.images.preprocessing import Preprocessing
from frostline.images.rows import Row
from frostline.report import views_sheet
from frostline.run.folder import RunFolder

HOW = Preprocessing(height_px=128, width_px=128)
CELL, GAP, LEFT, TOP = 128, 6, 168, 34


@pytest.fixture
def rows(tmp_path: Path) -> list[Row]:
    made = []
    for number, label in enumerate(("ants", "ants", "bees", "cats")):
        pixels = np.random.default_rng(number).integers(0, 255, (120, 160, 3)).astype(np.uint8)
        path = tmp_path / f"{number}.png"
        Image.fromarray(pixels).save(path)
        made.append(Row(str(path), label, "train", f"{number:040x}"))
    return made


def cell(sheet: Image.Image, row: int, column: int, side_px: int = CELL) -> np.ndarray:
    left, top = LEFT + column * (CELL + GAP), TOP + row * (CELL + GAP)
    return np.asarray(sheet.crop((left, top, left + side_px, top + side_px)))


def test_each_row_shows_the_center_view_and_the_very_views_of_training(rows: list[Row]) -> None:
    policy = preset("standard")
    sheet = views_sheet.views_sheet(rows, HOW, policy, views=3)
    assert sheet is not None
    views = [CENTER, *(View(number, policy) for number in range(3))]
    # Two ants, as three classes leave room for more than one picture each.
    for line, row in enumerate(rows):
        wanted = load(row.path, HOW, views, row.digest)
        for column, pixels in enumerate(wanted):
            assert np.array_equal(cell(sheet, line, column), pixels.permute(1, 2, 0).numpy())
    assert sheet.size == (LEFT + 4 * (CELL + GAP), TOP + 4 * (CELL + GAP) + TOP)


def test_without_variation_there_are_center_views_alone(rows: list[Row]) -> None:
    sheet = views_sheet.views_sheet(rows, HOW, Policy(), views=3)
    assert sheet is not None
    assert sheet.height == GAP + 3 * (CELL + GAP) + TOP


def test_pictures_that_are_gone_are_passed_over(rows: list[Row]) -> None:
    Path(rows[0].path).unlink()
    Path(rows[2].path).write_text("no picture")
    sheet = views_sheet.views_sheet(rows, HOW, preset("light"), views=1)
    assert sheet is not None
    wanted = load(rows[1].path, HOW, [CENTER], rows[1].digest)[0]
    assert np.array_equal(cell(sheet, 0, 0), wanted.permute(1, 2, 0).numpy())
    assert views_sheet.views_sheet(rows[:1], HOW, preset("light")) is None
    assert views_sheet.views_sheet([], HOW, Policy()) is None


def test_of_many_classes_the_first_are_shown_and_the_rest_counted(rows: list[Row]) -> None:
    sheet = views_sheet.views_sheet(rows, HOW, preset("light"), views=1, classes=2)
    assert sheet is not None
    assert sheet.height == TOP + 3 * (CELL + GAP) + TOP


def test_what_varies_is_told_in_words() -> None:
    assert views_sheet.told(preset("standard")) == (
        "Varied: mirrored, turned by up to 10°, cropped to 50 % of the area at least, magnified or "
        "shrunk by up to 10 %, in other colours, by up to 20 %."
    )
    assert views_sheet.told(Policy(shift=0.1, shear=0.2), 1) == (
        "Varied: shifted by up to 10 %, sheared by up to 20 %. 1 more class not shown."
    )
    assert views_sheet.told(Policy(), 2).endswith("as judged. 2 more classes not shown.")


def test_names_that_no_font_has_are_drawn_all_the_same(rows: list[Row]) -> None:
    odd = [Row(row.path, "黄蜂\udce9" * 20, "train", row.digest) for row in rows]
    assert views_sheet.views_sheet(odd, HOW, preset("light"), views=1) is not None


def test_a_run_has_its_sheet(finished_run: FinishedRun) -> None:
    run = RunFolder(finished_run.path)
    with Image.open(run.views) as sheet:
        assert sheet.format == "JPEG"
        # Three classes, and nothing varied by the probe alone.
        assert sheet.height == GAP + 3 * (CELL + GAP) + TOP
