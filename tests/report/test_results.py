"""The history as a table."""

import csv
from pathlib import Path

from frostline.report.results import write_results
from frostline.report.stages import results


def test_each_epoch_is_a_row_and_what_was_kept_is_marked(tmp_path: Path) -> None:
    history = [
        {"stage": 0, "kind": "probe", "C": 1.0, "val_loss": 0.4, "val_accuracy": 0.8},
        {"stage": 1, "kind": "train", "epoch": 1, "step": 2, "train_loss": 0.5, "val_loss": 0.5},
        {"stage": 2, "kind": "train", "epoch": 1, "step": 2, "train_loss": 0.3, "val_loss": 0.3},
        {"stage": 2, "kind": "train", "epoch": 2, "step": 4, "train_loss": 0.2, "own": "x"},
    ]
    proofs = [
        {"stage": 1, "line": "top", "kept": False, "best_epoch": 0},
        {"stage": 2, "line": "blocks.5", "kept": True, "best_epoch": 1},
    ]
    write_results(history, results(history, proofs), tmp_path / "results.csv")
    with (tmp_path / "results.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == [
        *("stage", "kind", "epoch", "step", "train_loss", "val_loss", "val_accuracy"),
        *("C", "own", "kept"),
    ]
    assert [row["kept"] for row in rows] == ["1", "0", "1", "0"]
    assert [row["val_loss"] for row in rows] == ["0.4", "0.5", "0.3", ""]
    assert rows[3]["own"] == "x"


def test_nothing_trained_is_an_empty_table(tmp_path: Path) -> None:
    write_results([], [], tmp_path / "results.csv")
    assert (tmp_path / "results.csv").read_text() == "kept\n"
