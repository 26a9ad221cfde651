"""What each stage came to, and what was chosen on which pictures."""

from typing import Any

from frostline.report.stages import choices, prices, results

PROBE = {"stage": 0, "kind": "probe", "val_loss": 0.096, "val_accuracy": 0.95}


def epoch(stage: int, number: int, loss: float, accuracy: float) -> dict[str, Any]:
    scored = {"val_loss": loss, "val_accuracy": accuracy}
    return {"stage": stage, "kind": "train", "epoch": number, **scored}


def proof(stage: int, kept: bool, best: int, before: float, after: float) -> dict[str, Any]:
    facts = {"stage": stage, "line": f"line{stage}", "kept": kept, "best_epoch": best}
    return {**facts, "val_accuracy_before": before, "val_accuracy": after}


HISTORY = [
    PROBE,
    epoch(1, 1, 0.2, 0.90),
    epoch(1, 2, 0.1, 0.94),
    epoch(2, 1, 0.174, 0.96),
    epoch(2, 2, 0.150, 0.95),
]
PROOFS = [proof(1, False, 0, 0.95, 0.95), proof(2, True, 1, 0.95, 0.96)]


def test_each_stage_is_compared_with_what_was_kept_before_it() -> None:
    probe, first, second = results(HISTORY, PROOFS)
    assert (probe.name, probe.kept, probe.after, probe.scored_on) == ("probe", True, 0.95, "val")
    assert (first.name, first.kept, first.best_epoch) == ("stage 1", False, 0)
    # Its best epoch, which was no better.
    assert (first.after, first.loss_after, first.loss_before) == (0.94, 0.1, 0.096)
    assert (second.kept, second.best_epoch, second.epochs) == (True, 1, 2)
    assert (second.after, second.loss_after, second.loss_before) == (0.96, 0.174, 0.096)


def test_a_stage_kept_at_the_price_of_worse_probabilities_is_named() -> None:
    (line,) = prices(results(HISTORY, PROOFS), n=100)
    assert line == (
        "Stage 2 was kept for 1 more of 100 pictures right, but its probabilities got worse "
        "(log-loss 0.096 before, 0.174 after): believe the class rather than the percentage."
    )
    better = [*HISTORY[:3], epoch(2, 1, 0.09, 0.96)]
    assert prices(results(better, PROOFS), n=100) == []
    # A probe that cross-validation scored was scored on other pictures.
    crossed = [{"stage": 0, "kind": "probe", "cv_loss": 0.01, "cv_accuracy": 1.0}, *HISTORY[1:]]
    assert prices(results(crossed, PROOFS), n=100) == []


def test_what_was_chosen_on_which_pictures_is_said() -> None:
    found = results(HISTORY, PROOFS)
    on_val, free = choices(found, {"val": 100, "test": 0})
    assert on_val == (
        "Chosen on the 100 val pictures: the penalty of the first fit, the epoch taken of each "
        "stage, whether a stage is kept. Their score is therefore a little too kind."
    )
    assert free == "A score free of that needs a test set: --test 0.2, or a folder test/."
    assert choices(found, {"val": 100, "test": 20})[-1] == (
        "Nothing was chosen on the test pictures: their score is free of that."
    )
    alone = results([{"stage": 0, "kind": "probe", "cv_loss": 0.1, "cv_accuracy": 0.9}], [])
    (line,) = choices(alone, {"val": 0})
    assert line.startswith("Chosen by cross-validation among the training pictures: the penalty")
    assert choices([], {"val": 3}) == []


def test_a_run_without_validation_has_stages_all_the_same() -> None:
    bare = {"stage": 1, "kind": "train", "epoch": 1, "train_loss": 0.5}
    (one,) = results([bare], [{"stage": 1, "line": "top", "kept": True, "best_epoch": 1}])
    assert (one.after, one.loss_after, one.scored_on, one.kept) == (None, None, "", True)
    assert prices([one], 0) == []
