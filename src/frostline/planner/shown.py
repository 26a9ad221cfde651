"""A plan in words: in a line and as a notebook's table, from `plan.json`; its options on screen."""

from collections.abc import Mapping, Sequence
from typing import Any

from frostline.base import html
from frostline.planner.options import PlanInputs, PlanOption

_HEADS = ("way", "views", "engine", "disk", "first pass", "per epoch", "total", "")


def in_a_line(facts: Mapping[str, Any]) -> str:
    """Returns what is kept where, by which engine, and how long it takes."""
    views = facts["views"]
    what = f"{views} view{'s' * (views != 1)} of each training image"
    how = f"kept at {facts['line']}" if facts["cache"] != "never" else f"cut at {facts['line']}"
    estimate = facts.get("estimate")
    time = f", about {estimate['total_s']:.0f} s" if estimate else ""
    return f"{what}, {how} by {facts['engine']}{time}"


def as_html(facts: Mapping[str, Any]) -> str:
    """Returns that line, why it was chosen, and what all ways would cost."""
    said = in_a_line(facts)
    parts = [html.lead(said[:1].upper() + said[1:]), html.dim(f"Why: {facts['why']}")]
    chosen = facts.get("estimate")
    options = facts.get("options", [])
    if options:
        parts.append(html.table(_HEADS, [_row(option, option == chosen) for option in options]))
    return html.block(*parts)


def _row(option: Mapping[str, Any], is_chosen: bool) -> tuple[str, ...]:
    way = f"keep at {option['line']}" if option["keep"] else f"compute anew from {option['line']}"
    return (
        way,
        str(option["views"]) if option["keep"] else "",
        option["engine"],
        f"{option['new_bytes'] / 2**20:.1f} MiB",
        f"{option['first_pass_s']:.1f} s",
        f"{option['epoch_s']:.2f} s",
        f"{option['total_s']:.1f} s",
        "chosen" if is_chosen else "",
    )


def say_options(
    case: PlanInputs, options: Sequence[PlanOption], chosen: PlanOption, why: str, seconds: float
) -> None:
    """Says in detail what all ways would cost, and which was chosen.

    Args:
        case: What they have in common.
        options: All of them.
        chosen: One of these.
        why: In words.
        seconds: What measuring took.
    """
    case.console.detail(f"plan: measured in {seconds:.1f} s on this machine")
    rows = [["way", "storage", "bytes", "first pass", "per epoch", "break-even", "total", ""]]
    for option in options:
        views = f", {option.views} views" if case.policy.varies and option.keep else ""
        way = f"keep at {option.line}{views}" if option.keep else f"recompute from {option.line}"
        rows.append(
            [
                f"{way} ({option.engine})",
                option.storage,
                f"{option.new_bytes / 2**20:.1f} MiB",
                f"{option.first_pass_s:.1f} s",
                f"{option.epoch_s:.2f} s",
                _break_even(option, options),
                f"{option.total_s:.1f} s",
                f"<- chosen: {why}" if option is chosen else "",
            ]
        )
    case.console.table(rows)


def _break_even(option: PlanOption, options: Sequence[PlanOption]) -> str:
    """Says after how many epochs keeping has paid, against computing the same line anew."""
    anew = [one for one in options if not one.keep and one.line == option.line]
    other = min(anew, key=lambda one: one.total_s, default=option)
    if not option.keep or other.epoch_s <= option.epoch_s:
        return "-"
    more_s = option.first_pass_s - other.first_pass_s
    return f"{max(0.0, more_s / (other.epoch_s - option.epoch_s)):.1f} epochs"
