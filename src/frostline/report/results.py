"""The history of a run as a table for spreadsheets: `results.csv`."""

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from frostline.base.files import write_text
from frostline.report.stages import StageResult

_FIRST = ("stage", "kind", "epoch", "step", "lr", "train_loss", "train_accuracy")
_THEN = ("val_loss", "val_accuracy", "cv_loss", "cv_accuracy", "C", "seconds")


def write_results(
    history: Sequence[Mapping[str, Any]], stages: Sequence[StageResult], path: Path
) -> None:
    """Writes a row for the probe and for each epoch.

    The column `kept` has a 1 where the state after that row went into the next stage or the model.

    Args:
        history: The lines of `history.jsonl`.
        stages: What each stage came to.
        path: The file to write.

    Raises:
        DiskError: Where it cannot be written.
    """
    present = {key for line in history for key in line}
    keys = [key for key in (*_FIRST, *_THEN) if key in present]
    keys += sorted(present - set(keys))
    best = {(one.number, one.best_epoch) for one in stages if one.kept}
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow([*keys, "kept"])
    for line in history:
        kept = (line.get("stage"), line.get("epoch", 0)) in best
        table.writerow([*(line.get(key, "") for key in keys), int(kept)])
    write_text(path, text.getvalue())
