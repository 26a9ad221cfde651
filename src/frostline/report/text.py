"""Values as text that is safe in a page."""

import math
import re
from datetime import datetime

from frostline.base.html import escape, visible

__all__ = ["date", "escape", "name", "number", "plain", "sentence", "visible"]


def sentence(text: str) -> str:
    """Returns words for a page: escaped, with no line broken before a per cent sign."""
    return escape(text).replace(" %", "&nbsp;%")


def name(text: object) -> str:
    """Returns a name for a page: escaped, and breakable where people put no blanks."""
    return re.sub(r"([_/])(?=.)", r"\1<wbr>", escape(text))


def number(value: float | None) -> str:
    """Returns a whole number as it is, another to three places, and n/a for what is undefined."""
    if value is None or not math.isfinite(value):
        return "n/a"
    return f"{value:,}" if isinstance(value, int) else f"{value:.3f}"


def plain(value: object) -> str:
    """Returns any value for a cell: nothing for None, few digits, yes and no."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:.4g}" if isinstance(value, float) else escape(value)


def date(iso: str) -> str:
    """Returns an ISO 8601 time as a person writes it: "25 November 2026, 23:34"."""
    try:
        moment = datetime.fromisoformat(iso)
    except ValueError:
        return iso
    return f"{moment.day} {moment:%B %Y, %H:%M}"
