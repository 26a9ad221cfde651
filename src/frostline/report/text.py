"""Values as text that is safe in a page."""

import html
import math
import re
from datetime import datetime

# What XML forbids, half characters from file names that are not UTF-8, and marks that turn
# the direction of the text around them.
_UNSAFE = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\u202a-\u202e\u2066-\u2069\ufffe\uffff]"
)


def escape(text: object) -> str:
    r"""Returns `text` safe in HTML and XML; bytes and marks that cannot be shown become `\x..`."""
    return html.escape(visible(text), quote=True)


def visible(text: object) -> str:
    r"""Returns `text` with bytes and marks that cannot be shown as `\x..`."""

    def shown(match: re.Match[str]) -> str:
        code = ord(match[0])
        if 0xDC80 <= code <= 0xDCFF:  # Python's stand-in for one byte that is not UTF-8
            code -= 0xDC00
        return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"

    return _UNSAFE.sub(shown, str(text))


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
