"""Names of classes as people write them: what is missing, and what is the same name twice."""

import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Mapping

# What pandas reads as missing, and so what tables that went through it hold.
_MISSING = {"", "#N/A", "#NA", "<NA>", "N/A", "NA", "NULL", "NaN", "None", "n/a", "nan", "null"}
_MISSING |= {"-nan", "-NaN", "#N/A N/A", "NaT"}
# Of no width anywhere; joiners (U+200C, U+200D) have a meaning within words and stay there.
_INVISIBLE = re.compile("[\u200b\u200e\u200f\u2060\ufeff\u00ad]")
_AT_ENDS = " \t\r\n\u00a0\u200c\u200d\u2003\u2009\u3000"
_WHOLE = re.compile(r"[+-]?\d+\.0+")


def tidy(text: str) -> str:
    """Returns a name in one form: Unicode NFC, no invisible characters, no blanks around it."""
    if text.isascii():
        return text.strip()
    shown = _INVISIBLE.sub("", unicodedata.normalize("NFC", text)).replace("\u00a0", " ")
    return shown.strip(_AT_ENDS).strip()


def is_missing(text: str) -> bool:
    """Says whether a cell holds no label, or a word that tools write where there is none."""
    return text.strip() in _MISSING


def has_control(text: str) -> bool:
    """Says whether a name holds a line break or another control character."""
    return any(unicodedata.category(sign) == "Cc" for sign in text)


def same_numbers(names: Iterable[str]) -> dict[str, str]:
    """Returns `1.0` to `1` for each whole number that is written both ways."""
    known = set(names)
    whole = {name: name.partition(".")[0] for name in known if _WHOLE.fullmatch(name)}
    return {name: short for name, short in whole.items() if short in known}


def joined(raw: Mapping[str, str]) -> list[str]:
    """Says which spellings became one class.

    Args:
        raw: Each name as it was written, with what it became.
    """
    spellings: dict[str, set[str]] = defaultdict(set)
    for written, name in raw.items():
        spellings[name].add(written)
    return [
        f"labels written in {len(found)} ways are one class, {name!r}: "
        f"{', '.join(ascii(one) for one in sorted(found))}."
        for name, found in sorted(spellings.items())
        if len(found) > 1
    ]
