"""A plan in one line, and as a table for a notebook; from what `plan.json` holds."""

from collections.abc import Mapping
from typing import Any

from frostline.base import html

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
