"""How training went: what each stage came to, the curves, and every epoch in numbers."""

from collections.abc import Mapping, Sequence
from typing import Any

from frostline.report.charts import Series, Span, line_chart
from frostline.report.search import candidates
from frostline.report.stages import StageResult
from frostline.report.tables import make_table
from frostline.report.text import escape, number, plain
from frostline.scores.sentences import percent

_KEYS = (
    *("stage", "kind", "epoch", "train_loss", "train_accuracy", "val_loss", "val_accuracy"),
    *("lr", "seconds"),
)


def training(
    history: Sequence[Mapping[str, Any]],
    stages: Sequence[StageResult],
    search: Mapping[str, Any] | None = None,
) -> str:
    """Returns the section's HTML; nothing where nothing was trained.

    Args:
        history: The lines of `history.jsonl`. A line of kind `probe` stands where its stage
            begins, each other line is one epoch. Two epochs make a chart.
        stages: What each stage came to; those that were left out are shaded, and what was kept
            has a ring.
        search: What `search.json` holds; None where there was none.
    """
    parts = [
        _stages_table(stages),
        candidates(search),
        _charts(history, stages),
        _epochs(history),
    ]
    return "\n".join(part for part in parts if part)


def _stages_table(stages: Sequence[StageResult]) -> str:
    if not stages:
        return ""
    rows = []
    for one in stages:
        what = f"above {one.line}" if one.line else "the last layer, fitted at once"
        on = " (cross-validation)" if one.scored_on == "cv" else ""
        shown = "n/a" if one.after is None else percent(one.after) + on
        kept = "left out"
        if one.kept:
            kept = f"epoch {one.best_epoch} of {one.epochs}" if one.best_epoch else "kept"
        rows.append([escape(one.name), escape(what), kept, shown, number(one.loss_after)])
    heads = ["stage", "trained", "kept", "right on validation", "log-loss"]
    caption = (
        "A stage is left out where validation gets no better by it; one that a cross-validation "
        "chose, or with select = end, is kept in any case."
    )
    return make_table(
        heads, rows, caption if any(one.number and one.scored_on for one in stages) else "", True, 3
    )


def _charts(history: Sequence[Mapping[str, Any]], stages: Sequence[StageResult]) -> str:
    placed, spans, epochs = _placed(history, stages)
    kept = {(one.number, one.best_epoch) for one in stages if one.kept and one.number}
    charts = []
    for key, label, limits in (("loss", "loss", None), ("accuracy", "accuracy", (0.0, 1.0))):
        curves = [
            Series(name, [(x, float(line[k])) for x, line in placed if line.get(k) is not None], k0)
            for k0, (name, k) in enumerate(
                (("validation", f"val_{key}"), ("training", f"train_{key}"))
            )
        ]
        curves = [curve for curve in curves if curve.points]
        rings = [
            (float(x), float(line[f"val_{key}"]))
            for x, line in placed
            if (line.get("stage"), line.get("epoch")) in kept and line.get(f"val_{key}") is not None
        ]
        if curves and epochs >= 2:
            drawn = line_chart(
                curves,
                title=f"{label.capitalize()} by epoch",
                x_label="epochs trained",
                y_label=label,
                spans=spans,
                rings=rings,
                y_limits=limits,
            )
            charts.append(f'<figure class="chart">{drawn}</figure>')
    return f'<div class="row">{"".join(charts)}</div>' if charts else ""


def _placed(
    history: Sequence[Mapping[str, Any]], stages: Sequence[StageResult]
) -> tuple[list[tuple[int, Mapping[str, Any]]], list[Span], int]:
    """Returns each line with the epochs trained up to it, the stages as spans, and all epochs."""
    placed: list[tuple[int, Mapping[str, Any]]] = []
    ends: dict[object, list[int]] = {}
    epochs = 0
    for line in history:
        is_epoch = line.get("kind") != "probe"
        if is_epoch:
            ends.setdefault(line.get("stage"), [epochs, epochs])
            ends[line.get("stage")][1] += 1
        epochs += is_epoch
        placed.append((epochs, line))
    out = {one.number for one in stages if not one.kept}
    spans = [
        Span(f"stage {stage}", start, end, stage in out) for stage, (start, end) in ends.items()
    ]
    # The only stage needs no name, unless it came to nothing.
    return placed, spans if len(spans) > 1 or any(x.is_out for x in spans) else [], epochs


def _epochs(history: Sequence[Mapping[str, Any]]) -> str:
    if not history:
        return ""
    present = {key for line in history for key in line}
    keys = [key for key in _KEYS if key in present]
    keys += sorted(present - set(keys))
    rows = [[plain(line.get(key)) for key in keys] for line in history]
    table = make_table([key.replace("_", " ") for key in keys], rows, "", False, 2)
    many = f"{len(history)} line{'s' if len(history) > 1 else ''}"
    return f"<details><summary>Every epoch in numbers, {many}</summary>{table}</details>"
