"""The tables of the report: which classes it finds, and what it takes them for.

All of them are HTML text that is safe to put into a page.
"""

import math
import operator
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from frostline.report.charts import escape
from frostline.scores.metrics import wilson

# Above this many classes a matrix is a carpet, and the worst confusions are listed instead.
MATRIX_CLASSES = 30
CONFUSIONS_SHOWN = 20


def by_class(per_class: Mapping[str, Mapping[str, Any]]) -> str:
    """Shows each class's numbers, the worst class first.

    Args:
        per_class: As in `metrics.json`. Where the classes have an average precision, that says
            which is worst, and their f1 otherwise.
    """
    ranked = any("average_precision" in row for row in per_class.values())
    parts = ["average_precision"] if ranked else []
    parts += ["f1", "precision", "recall"]

    def key(item: tuple[str, Mapping[str, Any]]) -> tuple[float, str]:
        worth = item[1][parts[0]]
        return (math.inf if worth is None else worth), item[0]

    rows = []
    for name, row in sorted(per_class.items(), key=key):
        between = number(None)
        if row["recall"] is not None:
            low, high = wilson(round(row["recall"] * row["n"]), row["n"])
            between = f"{number(low)} to {number(high)}"
        shown = [number(row[part]) for part in parts]
        rows.append([escape(name), number(row["n"]), *shown, between])
    names = [part.replace("_", " ") for part in parts]
    heads = ["class", "n", *names, "95 % interval of recall"]
    words = "n/a: no such image, or never predicted." if "n/a" in str(rows) else ""
    return make_table(heads, rows, words, tall=True)


def by_label(counts: Sequence[Sequence[Sequence[int]]], labels: Sequence[str]) -> str:
    """Shows how often each of several labels is right and wrong, the most mistaken first.

    Args:
        counts: `[c, 2, 2]`, for each label `[[tn, fp], [fn, tp]]`.
        labels: The names of the c labels.
    """
    rows = []
    for name, ((tn, fp), (fn, tp)) in zip(labels, counts, strict=True):
        rows.append((fn + fp, [escape(name), *map(number, (tp, fn, fp, tn))]))
    rows.sort(key=operator.itemgetter(0), reverse=True)
    heads = ["class", "found", "missed", "said wrongly", "rightly not said"]
    words = "Images. Those that show the class are found or missed."
    return make_table(heads, [cells for _, cells in rows], words, tall=True)


def confusion(counts: np.ndarray[Any, Any], labels: list[str]) -> str:
    """Shows how often each class is taken for each, as a matrix or a list of the worst.

    Args:
        counts: `[c, c]`, rows the truth, columns the prediction.
        labels: The names of the c classes.
    """
    if len(labels) > MATRIX_CLASSES:
        return _worst_confusions(counts, labels)
    upright = len(labels) > 6 or max(map(len, labels)) > 12
    heads = "".join(
        f'<th scope="col" title="{escape(name)}">'
        + (f'<span class="up">{escape(name)}</span></th>' if upright else f"{escape(name)}</th>")
        for name in labels
    )
    rows = []
    for i, name in enumerate(labels):
        total = int(counts[i].sum())
        cells = "".join(
            _cell(int(count), total, i == j, len(labels) <= 10) for j, count in enumerate(counts[i])
        )
        rows.append(f'<tr><th scope="row" title="{escape(name)}">{escape(name)}</th>{cells}</tr>')
    kind = "matrix many" if len(labels) > 12 else "matrix"
    return _box(
        f'<table class="{kind}"><caption>Images; rows are the truth, columns the prediction.'
        f"</caption><thead><tr><td></td>{heads}</tr></thead>"
        f"<tbody>{''.join(rows)}</tbody></table>",
        "Confusion matrix",
    )


def _cell(count: int, total: int, is_right: bool, with_share: bool) -> str:
    if not count:
        return '<td class="zero">0</td>'
    share = count / total
    small = f"<small>{share:.1%}</small>" if with_share else ""
    # The root lifts small shares to where they are seen; no shade makes the text hard to read.
    shade = 0.05 + 0.45 * math.sqrt(share)
    kind = "right" if is_right else "wrong"
    return f'<td class="{kind}" style="--a:{shade:.2f}">{count}{small}</td>'


def _worst_confusions(counts: np.ndarray[Any, Any], labels: list[str]) -> str:
    wrong = counts.copy()
    np.fill_diagonal(wrong, 0)
    if not wrong.any():
        return "<p>No class was taken for another.</p>"
    order = np.argsort(-wrong, axis=None, kind="stable")[:CONFUSIONS_SHOWN]
    pairs = [divmod(int(flat), len(labels)) for flat in order if wrong.flat[flat]]
    rows = [
        [
            escape(labels[i]),
            escape(labels[j]),
            str(int(wrong[i, j])),
            f"{wrong[i, j] / counts[i].sum():.1%}",
        ]
        for i, j in pairs
    ]
    words = f"The {len(rows)} most frequent of {np.count_nonzero(wrong)} confusions."
    heads = ["truth", "taken for", "images", "of its class"]
    return make_table(heads, rows, words, text_columns=2)


def make_table(
    heads: Sequence[str],
    rows: Iterable[Sequence[str]],
    caption: str,
    first_is_header: bool = True,
    text_columns: int = 1,
    tall: bool = False,
) -> str:
    """Makes a table of cells that are already escaped; the first `text_columns` go to the left."""

    def cell(index: int, value: str) -> str:
        kind = ' class="text"' if index < text_columns else ""
        if index == 0 and first_is_header:
            return f'<th scope="row">{value}</th>'
        return f"<td{kind}>{value}</td>"

    head = "".join(
        f'<th scope="col"{" class=text" if index < text_columns else ""}>{escape(name)}</th>'
        for index, name in enumerate(heads)
    )
    body = "".join(
        f"<tr>{''.join(cell(index, value) for index, value in enumerate(row))}</tr>" for row in rows
    )
    said = f"<caption>{escape(caption)}</caption>" if caption else ""
    table = f"<table>{said}<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
    return _box(table, caption or "Table", tall=tall)


def _box(table: str, name: str, tall: bool = False) -> str:
    """Lets a table that is too wide or too tall scroll by itself, by keyboard too."""
    kind = "box tall" if tall else "box"
    return (
        f'<div class="{kind}" role="region" aria-label="{escape(name)}" tabindex="0">{table}</div>'
    )


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
