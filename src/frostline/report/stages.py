"""What each stage of a run came to, and what was chosen on which pictures."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

# From this growth of the loss on, probabilities are said to have got worse.
_WORSE = 1.05


@dataclass(frozen=True)
class StageResult:
    """One stage of a run; the probe is number 0.

    Attributes:
        number: From 1; 0 for the probe.
        line: The frost line; empty for the probe, which trains the head's last layer alone.
        epochs: How many it had; 0 for the probe.
        best_epoch: Whose state was kept; 0 where the stage left nothing behind.
        kept: Whether the run's model has anything of it.
        before: Accuracy on validation before it; None where nothing tells.
        after: Likewise of what was kept; of a stage that was left out, of its best epoch.
        loss_before: Log-loss on validation, likewise.
        loss_after: Likewise.
        scored_on: `val`, or `cv` where the probe was scored by cross-validation; empty where
            nothing was scored.
    """

    number: int
    line: str
    epochs: int
    best_epoch: int
    kept: bool
    before: float | None
    after: float | None
    loss_before: float | None
    loss_after: float | None
    scored_on: str

    @property
    def name(self) -> str:
        """What the report calls it."""
        return f"stage {self.number}" if self.number else "probe"


def results(
    history: Sequence[Mapping[str, Any]], proofs: Sequence[Mapping[str, Any]]
) -> list[StageResult]:
    """Returns the probe, where there was one, and each stage, in order.

    Args:
        history: The lines of `history.jsonl`.
        proofs: `stages` of `metrics.json`: one object a stage.
    """
    found = [_probe(line) for line in history if line.get("kind") == "probe"]
    for proof in proofs:
        number = int(proof.get("stage", len(found)))
        epochs = [
            line for line in history if line.get("stage") == number and line.get("kind") != "probe"
        ]
        last = next((one for one in reversed(found) if one.kept), None)
        found.append(_stage(number, proof, epochs, last))
    return found


def _probe(line: Mapping[str, Any]) -> StageResult:
    where = next((name for name in ("val", "cv") if f"{name}_accuracy" in line), "")
    accuracy, loss = _finite(line.get(f"{where}_accuracy")), _finite(line.get(f"{where}_loss"))
    return StageResult(0, "", 0, 0, True, None, accuracy, None, loss, where)


def _stage(
    number: int,
    proof: Mapping[str, Any],
    epochs: Sequence[Mapping[str, Any]],
    last: StageResult | None,
) -> StageResult:
    kept, best = bool(proof.get("kept", True)), int(proof.get("best_epoch") or 0)
    after, loss = _finite(proof.get("val_accuracy")), None
    if kept:
        loss = next(
            (_finite(line.get("val_loss")) for line in epochs if line.get("epoch") == best), None
        )
    else:
        scored = [line for line in epochs if _finite(line.get("val_accuracy")) is not None]
        if scored:
            top = max(scored, key=lambda line: float(line["val_accuracy"]))
            after, loss = float(top["val_accuracy"]), _finite(top.get("val_loss"))
    same = last if last and last.scored_on == "val" else None
    before = _finite(proof.get("val_accuracy_before"))
    return StageResult(
        number=number,
        line=str(proof.get("line", "")),
        epochs=len(epochs),
        best_epoch=best if kept else 0,
        kept=kept,
        before=before,
        after=after,
        loss_before=same.loss_after if same else None,
        loss_after=loss,
        scored_on="val" if after is not None else "",
    )


def prices(stages: Sequence[StageResult], n: int, noun: str = "picture") -> list[str]:
    """Names the stages that were kept though their probabilities are worse than before.

    Args:
        stages: From `results`.
        n: How many pictures validation has.
        noun: What one of them is called.
    """
    found = []
    for one in stages:
        losses = one.loss_before, one.loss_after
        if not one.kept or None in losses or one.loss_after <= _WORSE * one.loss_before:  # type: ignore[operator]
            continue
        more = round(((one.after or 0) - (one.before or 0)) * n)
        gain = f"{more} more of {n:,} {noun}s right" if more > 0 else f"no more {noun}s right"
        found.append(
            f"{one.name.capitalize()} was kept for {gain}, but its probabilities got worse "
            f"(log-loss {one.loss_before:.3f} before, {one.loss_after:.3f} after): "
            "believe the class rather than the percentage."
        )
    return found


def choices(
    stages: Sequence[StageResult],
    images: Mapping[str, int],
    candidates: int = 0,
    noun: str = "picture",
) -> list[str]:
    """Says what was chosen on which pictures, and which score is free of it.

    Args:
        stages: From `results`.
        images: How many pictures each split has.
        candidates: How many a search tried beside the probe.
        noun: What one of them is called.
    """
    fit, said = "the penalty of the first fit", []
    on_val = [fit] if _probed_on(stages, "val") else []
    if candidates:
        on_val.append(f"which of {candidates + 1} candidates is taken")
    if any(one.number and one.scored_on for one in stages):
        on_val += ["the epoch taken of each stage", "whether a stage is kept"]
    if _probed_on(stages, "cv"):
        said.append(f"Chosen by cross-validation among the training {noun}s: {fit}.")
    if on_val and images.get("val"):
        said.append(
            f"Chosen on the {images['val']:,} val {noun}s: {', '.join(on_val)}. "
            "Their score is therefore a little too kind."
        )
        free = f"Nothing was chosen on the test {noun}s: their score is free of that."
        keep = "A score free of that needs a test set: --test 0.2, or a folder test/."
        said.append(free if images.get("test") else keep)
    return said


def _probed_on(stages: Sequence[StageResult], where: str) -> bool:
    return any(not one.number and one.scored_on == where for one in stages)


def _finite(value: Any) -> float | None:
    return float(value) if isinstance(value, (int, float)) and math.isfinite(value) else None
