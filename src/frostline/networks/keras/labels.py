"""The labels that lie beside a model file, as Teachable Machine and others write them."""

import csv
import io
import json
import re
from collections.abc import Sequence
from pathlib import Path

from frostline.base.errors import BackboneError

LABELS, METADATA = "labels.txt", "metadata.json"
# A table with the columns `index` and `display_name`, as YAMNet's `yamnet_class_map.csv` is.
CLASS_MAP = "class_map.csv"
_MOST_BYTES = 4 << 20


def beside(model: Path) -> Path | None:
    """Finds the labels of a model file: `labels.txt`, or one that begins as the model's name does.

    A table of classes (`yamnet_class_map.csv` beside `yamnet.tflite`), or a `metadata.json` with
    labels, as Teachable Machine's web export has, will do as well.
    """
    plain = model.parent / LABELS
    if plain.is_file():
        return plain
    for ending in (LABELS, CLASS_MAP):
        named = sorted(model.parent.glob(f"*{ending}"), key=lambda path: -len(path.name))
        for path in named:
            start = path.name.removesuffix(ending).rstrip("_-.")
            if re.match(rf"{re.escape(start)}[_.-]", model.name) or not start:
                return path
    metadata = model.parent / METADATA
    return metadata if metadata.is_file() and _of_json(metadata) else None


def read(path: Path) -> tuple[str, ...]:
    """Reads labels, one a line; numbers in front (`0 cardboard`) are taken off.

    Of a table, what stands under `display_name`, in the order of `index`.

    Raises:
        BackboneError: Where the file is empty, no text, no such table, or far too large.
    """
    if path.name.endswith(CLASS_MAP):
        return _of_table(path)
    if path.name == METADATA:
        return tuple(_of_json(path))
    lines = [line.strip() for line in _text(path).splitlines()]
    named = [line for line in lines if line]
    if not named:
        raise BackboneError(f"{path}: must name a class on each line, and is empty.")
    numbered = all(re.match(rf"{index}\s", line) for index, line in enumerate(named))
    return tuple(line.split(maxsplit=1)[1] if numbered else line for line in named)


def _text(path: Path) -> str:
    if path.stat().st_size > _MOST_BYTES:
        raise BackboneError(f"{path}: {path.stat().st_size:,} bytes are no list of labels.")
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise BackboneError(f"{path}: must be text in UTF-8 ({error.reason}).") from error


def _of_table(path: Path) -> tuple[str, ...]:
    text = _text(path)
    try:
        rows = list(csv.DictReader(io.StringIO(text)))
        named = {int(row["index"]): row["display_name"].strip() for row in rows}
    except (AttributeError, KeyError, TypeError, ValueError, csv.Error) as error:
        raise BackboneError(
            f"{path}: must have the columns index and display_name, with a number and a name each."
        ) from error
    if not named or sorted(named) != list(range(len(rows))):
        raise BackboneError(f"{path}: index must count from 0, each number once.")
    return tuple(named[number] for number in range(len(named)))


def _of_json(path: Path) -> Sequence[str]:
    try:
        told = json.loads(_text(path))
    except (ValueError, RecursionError) as error:
        raise BackboneError(f"{path}: cannot be read as JSON ({error}).") from error
    named = told.get("labels") if isinstance(told, dict) else None
    return [str(one) for one in named] if isinstance(named, list) else []
