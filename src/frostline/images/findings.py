"""What a person must be told of a listing before it is used."""

from collections import Counter, defaultdict
from collections.abc import Iterable

from frostline.images.foreign import FOREIGN
from frostline.images.rows import Listing, Row

SPLITS = ("train", "val", "test")
_SHOWN = 5
_CONVERTED = {
    "grey": ("1", "L"),
    "palette": ("P",),
    "with alpha (laid on white)": ("LA", "PA", "La", "RGBA", "RGBa"),
    "CMYK": ("CMYK",),
    "deeper than 8 bits (see levels)": ("I", ";"),
    "float (see levels)": ("F", ";float"),
    "in other colour spaces": ("YCbCr", "LAB", "HSV", "RGBX"),
}


def report_lines(listing: Listing) -> list[str]:
    """Returns what a person must be told of a listing, a line each; nothing where all is well."""
    return [
        *listing.notes,
        *_not_read(listing),
        *_left_out(listing),
        *_twins(listing),
        *_thin_classes(listing),
        *group_shares(listing),
        *_alike(listing),
        *_of_several(listing),
        *_passed_over(listing),
        *_conversions(listing),
    ]


def _alike(listing: Listing) -> list[str]:
    """Names classes that a slip of the pen may have made two of."""
    spelt: dict[str, list[str]] = defaultdict(list)
    for name in listing.labels:
        spelt[" ".join(name.casefold().split())].append(name)
    return [
        f"classes {', '.join(map(repr, names))} differ in case or spaces only, and are told apart"
        for names in spelt.values()
        if len(names) > 1
    ]


def _not_read(listing: Listing) -> list[str]:
    """Counts the pictures in formats that are known and not read, with what to do."""
    kinds: dict[str, list[Row]] = defaultdict(list)
    for row in listing.problems:
        if row.problem.startswith(FOREIGN):
            kinds[row.problem].append(row)
    return [
        f"not read: {_many(len(rows), 'file')}: {reason}. The first: {rows[0].path}."
        for reason, rows in sorted(kinds.items())
    ]


def _left_out(listing: Listing) -> list[str]:
    bad = [row for row in listing.problems if not row.problem.startswith(FOREIGN)]
    if not bad:
        return []
    return [f"left out: {_many(len(bad), 'file')}: {some(map(problem_line, bad))}."]


def _twins(listing: Listing) -> list[str]:
    same: dict[str, list[Row]] = defaultdict(list)
    for row in listing.usable:
        same[row.digest].append(row)
    lines = []
    for where, column in (
        ("with different labels" if listing.several else "under two labels", "label"),
        # Held-out images that were trained on make every number look better than it is.
        ("in two splits, which makes validation too kind", "split"),
    ):
        pairs = [pair for rows in same.values() if (pair := _pair(rows, column))]
        if pairs:
            lines.append(
                f"the same file {where}: {_many(len(pairs), listing.noun)}: {some(pairs)}."
            )
    return lines


def _thin_classes(listing: Listing) -> list[str]:
    lines = []
    counts = Counter((row.split, tag) for row in listing.usable for tag in listing.tags(row))
    splits = [split for split in SPLITS if listing.of(split)]
    for split in splits:
        absent = [name for name in listing.labels if not counts[split, name]]
        if absent:
            it = "it" if len(absent) == 1 else "them"
            lines.append(f"{class_names(absent)} missing in {split}: nothing there tests {it}.")
    totals = Counter(tag for row in listing.usable for tag in listing.tags(row))
    single = [name for name in listing.labels if totals[name] == 1]
    if single:
        lines.append(
            f"{class_names(single)} shown by one {listing.noun} only: too few to learn and to test."
        )
    return lines


def group_shares(listing: Listing) -> list[str]:
    """Says how even splits came out where whole groups were dealt out; nothing without groups."""
    groups = len({row.group for row in listing.usable if row.group})
    if not groups or listing.has_splits:
        return []
    totals = Counter(tag for row in listing.usable for tag in listing.tags(row))
    lines = []
    for split in SPLITS[1:]:
        rows = listing.of(split)
        held = Counter(tag for row in rows for tag in listing.tags(row))
        if not rows or not totals:
            continue
        ends = sorted(totals, key=lambda tag: held[tag] / totals[tag])
        told = [
            f"{held[tag]} of {totals[tag]} {tag!r}" for tag in dict.fromkeys((ends[0], ends[-1]))
        ]
        lines.append(
            f"groups stay together, {groups} of them: {split} has {len(rows)} of "
            f"{len(listing.usable)} {listing.noun}s, from {' to '.join(told)}."
        )
    return lines


def _of_several(listing: Listing) -> list[str]:
    """Says what is legal among several labels, but may be a slip."""
    if not listing.several:
        return []
    lines = []
    without = sum(not row.label for row in listing.usable)
    if without:
        lines.append(f"without a label: {_many(without, listing.noun)}, taken to show no class.")
    shown = listing.of("train") or listing.usable
    totals = Counter(tag for row in shown for tag in listing.tags(row))
    always = sorted(name for name, count in totals.items() if count == len(shown))
    if always:
        told = class_names(always)
        lines.append(
            f"{told} on every training {listing.noun}: nothing shows what one without is like."
        )
    return lines


def _passed_over(listing: Listing) -> list[str]:
    counts = []
    if listing.skipped_hidden:
        counts.append(f"{listing.skipped_hidden} hidden")
    if listing.skipped_other:
        counts.append(f"{listing.skipped_other} that are no {listing.noun}s by name")
    return [f"passed over: {' and '.join(counts)}."] if counts else []


def _conversions(listing: Listing) -> list[str]:
    modes = Counter(row.mode for row in listing.usable)
    found = [
        f"{count} {what}"
        for what, members in _CONVERTED.items()
        if (count := sum(n for mode, n in modes.items() if _is_of(mode, members)))
    ]
    return [f"converted to 8-bit RGB: {', '.join(found)}."] if found else []


def _is_of(mode: str, members: Iterable[str]) -> bool:
    _, deep, samples = mode.partition(";")
    if samples.startswith("float"):
        return ";float" in members
    return ";" in members if deep else mode in members


def problem_line(row: Row) -> str:
    """Returns a file with what is wrong with it."""
    return f"{row.path}: {row.problem}"


def _pair(rows: list[Row], column: str) -> str:
    """Names two rows that differ in `column`; nothing where all agree."""
    first = rows[0]
    for other in rows[1:]:
        if getattr(other, column) != getattr(first, column):
            return f"{first.path} = {other.path}"
    return ""


def some(texts: Iterable[str]) -> str:
    """Returns the first few of `texts`, and how many more there are."""
    shown = list(texts)
    more = f"; and {len(shown) - _SHOWN} more" if len(shown) > _SHOWN else ""
    return "; ".join(shown[:_SHOWN]) + more


def _many(count: int, what: str) -> str:
    return f"{count} {what}" if count == 1 else f"{count} {what}s"


def class_names(names: list[str]) -> str:
    """Returns names of classes as the subject of a sentence, with its verb."""
    shown = some(map(repr, names)).replace("; ", ", ")
    return f"class {shown} is" if len(names) == 1 else f"{len(names)} classes ({shown}) are"
