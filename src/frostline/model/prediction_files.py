"""What was said of pictures, as CSV, JSON or Parquet."""

import csv
import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from frostline.base.errors import RecipeError
from frostline.base.files import write_atomic, write_text
from frostline.model.predict import Prediction

ENDINGS = (".csv", ".json", ".parquet")
_COLUMNS = ("path", "rank", "label", "probability", "problem")


def check(out: Path) -> None:
    """Makes sure that a file of this name can be written.

    Raises:
        RecipeError: Where the ending is unknown, or its library is not installed.
    """
    if out.suffix.lower() not in ENDINGS:
        raise RecipeError(f"--out: {out} must end in {', '.join(ENDINGS)}.")
    if out.suffix.lower() == ".parquet":
        try:
            __import__("pyarrow")
        except ImportError as error:
            raise RecipeError(
                "--out: .parquet needs pyarrow: pip install 'frostline[tables]'."
            ) from error


def write(out: Path, said: Sequence[Prediction], unsure: float | None = None) -> None:
    """Writes predictions in the form that the file's ending says.

    Args:
        out: The file.
        said: One prediction a picture.
        unsure: Below this sureness, a picture is marked as unsure; None marks none.

    Raises:
        RecipeError: Where the ending is unknown.
        DiskError: Where it cannot be written.
    """
    check(out)
    kind = out.suffix.lower()
    if kind == ".parquet":
        write_atomic(out, lambda path: _write_parquet(path, said, unsure))
    else:
        write_text(out, as_csv(said, unsure) if kind == ".csv" else as_json(said, unsure))


def as_csv(said: Sequence[Prediction], unsure: float | None = None) -> str:
    """Returns a row for each class named of each picture; with `unsure`, a column of that name."""
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    heads = [*_COLUMNS, *(() if unsure is None else ("unsure",))]
    table.writerow(heads)
    for row in _rows(said, unsure):
        if isinstance(row["probability"], float):
            row["probability"] = f"{row['probability']:.6f}"
        table.writerow(["" if row[head] is None else row[head] for head in heads])
    return text.getvalue()


def as_json(said: Sequence[Prediction], unsure: float | None = None) -> str:
    """Returns a list with an object for each picture; with `unsure`, a key of that name."""
    listed = []
    for one in said:
        found: dict[str, Any] = {
            "path": one.path,
            "label": one.label,
            "probability": one.probability,
            "labels": list(one.labels),
            "top": _named(one.top),
            "problem": one.problem,
        }
        if one.windows:
            found["windows"] = [
                {"start_s": part.start_s, "end_s": part.end_s, "top": _named(part.top)}
                for part in one.windows
            ]
        if unsure is not None:
            found["unsure"] = one.is_unsure(unsure)
        listed.append(found)
    # ASCII, so that names that are not text survive any terminal or pipe.
    return json.dumps(listed, indent=2, ensure_ascii=True, allow_nan=False) + "\n"


def _named(top: Sequence[tuple[str, float]]) -> list[dict[str, Any]]:
    return [{"label": label, "probability": chance} for label, chance in top]


def _rows(said: Sequence[Prediction], unsure: float | None) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    for one in said:
        mark = int(unsure is not None and one.is_unsure(unsure))
        for rank, (label, chance) in enumerate(one.top, start=1):
            values = (one.path, rank, label, chance, "", mark)
            rows.append(dict(zip((*_COLUMNS, "unsure"), values, strict=True)))
        if one.problem:
            values = (one.path, None, "", None, one.problem, None)  # type: ignore[assignment]
            rows.append(dict(zip((*_COLUMNS, "unsure"), values, strict=True)))
    return rows


def _write_parquet(path: Path, said: Sequence[Prediction], unsure: float | None) -> None:
    import pyarrow as pa
    from pyarrow import parquet

    rows = _rows(said, unsure)
    kinds = {
        "path": pa.string(),
        "rank": pa.int32(),
        "label": pa.string(),
        "probability": pa.float64(),
        "problem": pa.string(),
        **({} if unsure is None else {"unsure": pa.bool_()}),
    }
    columns = {name: [row[name] for row in rows] for name in kinds}
    # Parquet holds Unicode alone, and file names need not be.
    columns["path"] = [
        text.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
        for text in columns["path"]
    ]
    if "unsure" in columns:
        columns["unsure"] = [None if mark is None else bool(mark) for mark in columns["unsure"]]
    table = pa.table({name: pa.array(columns[name], kind) for name, kind in kinds.items()})
    parquet.write_table(table, path)
