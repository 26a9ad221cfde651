"""What a search tried, and what it came to."""

from collections.abc import Mapping, Sequence
from typing import Any

from frostline.report.tables import make_table
from frostline.report.text import escape, number
from frostline.scores.sentences import percent

_REFINED = (
    "After the list, the best so far with one thing changed takes its place only where it is "
    "better by more than the luck of so many tries."
)


def candidates(found: Mapping[str, Any] | None) -> str:
    """Shows the probe and every candidate with its scores; nothing where none was tried.

    Args:
        found: What `search.json` holds.
    """
    if not found or not found.get("candidates"):
        return ""
    chosen, folds = found.get("chosen"), found.get("folds", 0)
    last = "cross_validated" if folds else "final"
    rows = [["probe", "", *_score(found.get("probe")), "", "yes" if chosen == "probe" else ""]]
    for index, one in enumerate(found["candidates"]):
        if "seconds" not in one:
            continue  # It was ruled out.
        taken = "yes" if index == chosen else "diverged" if one.get("failure") else ""
        seconds = f"{one['seconds']:,.0f}"
        half, final = _score(one.get("half"))[0], _score(one.get(last))
        rows.append([escape(one["name"]), half, *final, seconds, taken])
    where = f"in {folds}-fold cross-validation" if folds else "on validation"
    heads = ["tried", "half way", f"right {where}", "log-loss", "seconds", "taken"]
    if not any(row[1] for row in rows):  # Of a single one, nothing is left out half way.
        heads, rows = _without_half([heads])[0], _without_half(rows)
    rule = str(found.get("rule", ""))
    caption = f"Which is taken: {rule}." if rule else ""
    if any("of" in one for one in found["candidates"]):
        caption += f" {_REFINED}"
    return f"<h3>What was tried</h3>\n{make_table(heads, rows, caption)}"


def _without_half(rows: Sequence[list[str]]) -> list[list[str]]:
    return [[row[0], *row[2:]] for row in rows]


def count(found: Mapping[str, Any] | None) -> int:
    """Returns how many candidates were tried beside the probe."""
    return len([one for one in found["candidates"] if "seconds" in one]) if found else 0


def _score(score: Mapping[str, Any] | None) -> list[str]:
    """Returns accuracy and log-loss, after temperature scaling where that was done."""
    if not score:
        return ["", ""]
    scaled = score.get("scaled_loss")
    loss = score.get("loss") if scaled is None else scaled
    return [percent(score["accuracy"]), number(loss)]
