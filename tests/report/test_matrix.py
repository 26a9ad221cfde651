"""The confusion matrix as files for slides."""

import warnings
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from frostline.base.errors import DiskError
from frostline.report.matrix import write_confusion
from frostline.scores.metrics import summarise, summarise_multilabel

SVG = "{http://www.w3.org/2000/svg}"


def scores(counts: list[list[int]], labels: list[str]) -> dict[str, Any]:
    pairs = [(i, j) for i, row in enumerate(counts) for j, n in enumerate(row) for _ in range(n)]
    truth, predicted = zip(*pairs, strict=True)
    return summarise(np.eye(len(labels))[list(predicted)], truth, labels)


def words(svg: Path) -> list[str]:
    found = ElementTree.parse(svg).getroot().iter(f"{SVG}text")
    return ["".join(text.itertext()).strip() for text in found]


def test_counts_and_shares_are_drawn_and_zeros_are_not(tmp_path: Path) -> None:
    found = scores([[68, 2], [0, 80]], ["ants", "bees"])
    png, svg = write_confusion(found, tmp_path / "confusion-val")
    assert (png.name, svg.name) == ("confusion-val.png", "confusion-val.svg")
    told = words(svg)
    assert told.count("ants") == told.count("bees") == 2
    assert {"68", "97 %", "2", "3 %", "80", "100 %", "truth", "taken for"} <= set(told)
    assert "0" not in told
    with Image.open(png) as image:
        assert image.format == "PNG"
        # Right is blue, wrong is orange: within its cell, away from the number.
        pixels = np.asarray(image.convert("RGB")).astype(int)
    blue = ((pixels[..., 2] - pixels[..., 0]) > 60).mean()
    orange = ((pixels[..., 0] - pixels[..., 2]) > 10).mean()
    assert blue > orange > 0.05


@pytest.mark.parametrize("count", [1, 7, 41, 51])
def test_any_number_of_classes_fits(tmp_path: Path, count: int) -> None:
    names = [f"class {k}" for k in range(count)]
    found = scores(np.diag(range(1, count + 1)).tolist(), names)
    _, svg = write_confusion(found, tmp_path / "x")
    told = words(svg)
    assert all(told.count(name) == 2 for name in names)
    # Numbers do not fit into cells of many classes.
    assert (str(count) in told) == (count <= 40)


def test_several_labels_are_found_missed_or_said_wrongly(tmp_path: Path) -> None:
    has = np.array([[1, 0], [0, 1], [1, 0]], dtype=bool)
    found = summarise_multilabel([[0.9, 0.2], [0.6, 0.7], [0.4, 0.1]], has, ["miner", "rust"])
    _, svg = write_confusion(found, tmp_path / "x")
    assert {"miner", "rust", "found", "missed", "said wrongly", "how many"} <= set(words(svg))


def test_names_of_any_kind_are_drawn_as_they_are(tmp_path: Path) -> None:
    names = ["$x^2$ & <b>", "\udce9\x07", "a" * 60]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        _, svg = write_confusion(scores(np.eye(3, dtype=int).tolist(), names), tmp_path / "x")
    told = words(svg)
    assert "$x^2$ & <b>" in told
    assert "\\xe9\\x07" in told
    assert f"{'a' * 27}…" in told


def test_the_same_scores_give_the_same_files(tmp_path: Path) -> None:
    found = scores([[3, 1], [0, 4]], ["a", "b"])
    first, again = (write_confusion(found, tmp_path / name) for name in ("a", "b"))
    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in again]


def test_a_folder_that_cannot_be_is_said_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DiskError, match=r"x\.png: cannot be written"):
        write_confusion(scores([[1, 0], [0, 1]], ["a", "b"]), tmp_path / "file" / "x")
