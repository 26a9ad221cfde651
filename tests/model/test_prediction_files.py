"""Predictions as files, read back by the libraries they are for."""

import csv
import json
import sys
from pathlib import Path

import pytest
from pyarrow import parquet

from frostline.base.errors import DiskError, RecipeError
from frostline.model import prediction_files
from frostline.model.predict import Prediction

SAID = (
    Prediction("a/1.png", (("ants", 0.9), ("bees", 0.1)), "", ("ants",), 0.9),
    Prediction("b,\udce9.png", (("bees", 0.6), ("ants", 0.4)), "", ("bees",), 0.6),
    Prediction("bad.png", (), "damaged"),
)


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", errors="surrogateescape", newline="") as file:
        return list(csv.DictReader(file))


def test_csv_has_a_row_for_each_class_named(tmp_path: Path) -> None:
    out = tmp_path / "x.csv"
    prediction_files.write(out, SAID)
    found = rows(out)
    assert list(found[0]) == ["path", "rank", "label", "probability", "problem"]
    assert [tuple(row.values()) for row in found] == [
        ("a/1.png", "1", "ants", "0.900000", ""),
        ("a/1.png", "2", "bees", "0.100000", ""),
        ("b,\udce9.png", "1", "bees", "0.600000", ""),
        ("b,\udce9.png", "2", "ants", "0.400000", ""),
        ("bad.png", "", "", "", "damaged"),
    ]
    prediction_files.write(out, SAID, unsure=0.7)
    assert [row["unsure"] for row in rows(out)] == ["0", "0", "1", "1", ""]


def test_json_has_an_object_for_each_picture(tmp_path: Path) -> None:
    out = tmp_path / "x.JSON"
    prediction_files.write(out, SAID, unsure=0.7)
    found = json.loads(out.read_text("utf-8"))
    assert [one["unsure"] for one in found] == [False, True, False]
    assert found[0]["top"][1] == {"label": "bees", "probability": 0.1}
    assert found[1]["path"] == "b,\udce9.png"
    assert found[2]["problem"] == "damaged"
    assert "unsure" not in json.loads(prediction_files.as_json(SAID))[0]


def test_parquet_has_the_rows_of_csv(tmp_path: Path) -> None:
    out = tmp_path / "x.parquet"
    prediction_files.write(out, SAID, unsure=0.7)
    table = parquet.read_table(out).to_pydict()
    assert table["path"] == ["a/1.png", "a/1.png", "b,\\xe9.png", "b,\\xe9.png", "bad.png"]
    assert table["rank"] == [1, 2, 1, 2, None]
    assert table["probability"] == [0.9, 0.1, 0.6, 0.4, None]
    assert table["unsure"] == [False, False, True, True, None]
    prediction_files.write(out, (), unsure=None)
    assert parquet.read_table(out).num_rows == 0


def test_unknown_endings_and_missing_libraries_are_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(RecipeError, match=r"x\.xlsx must end in \.csv, \.json, \.parquet"):
        prediction_files.check(tmp_path / "x.xlsx")
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(RecipeError, match=r"needs pyarrow: pip install 'frostline\[tables\]'"):
        prediction_files.check(tmp_path / "x.parquet")
    prediction_files.check(tmp_path / "x.csv")


@pytest.mark.parametrize("ending", prediction_files.ENDINGS)
def test_what_stood_there_stays_where_writing_fails(tmp_path: Path, ending: str) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(DiskError, match="cannot be written"):
        prediction_files.write(tmp_path / "file" / f"x{ending}", SAID)
