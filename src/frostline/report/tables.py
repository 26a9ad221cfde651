"""The tables of the report: which classes it finds, and what it takes them for.

All of them are HTML text that is safe to put into a page.
"""

import math
import operator
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from frostline.report.text import escape, number, sentence
from frostline.scores.metrics import wilson
from frostline.scores.sentences import percent

# Above this many classes a matrix is a carpet, and the worst confusions are listed instead.
MATRIX_CLASSES = 30
CONFUSIONS_SHOWN = 20
_ZEROS_SHOWN = 4
_SHARES_SHOWN = 8


def by_class(
    per_class: Mapping[str, Mapping[str, Any]],
    trained: Mapping[str, int] | None = None,
    noun: str = "picture",
) -> str:
    """Shows each class's numbers, the worst class first.

    Args:
        per_class: As in `metrics.json`. Where the classes have an average precision, that says
            which is worst, and their f1 otherwise.
        trained: How many training pictures each class has; left out where None.
        noun: What one of those that are counted is called.
    """
    ranked = any("average_precision" in row for row in per_class.values())
    parts = ["average_precision"] if ranked else []
    parts += ["f1", "precision", "recall"]

    def key(item: tuple[str, Mapping[str, Any]]) -> tuple[float, str]:
        worth = item[1][parts[0]]
        return (math.inf if worth is None else worth), item[0]

    rows = []
    for name, row in sorted(per_class.items(), key=key):
        seen = [] if trained is None else [number(trained.get(name, 0))]
        found, between = number(None), number(None)
        if row["recall"] is not None:
            hit = round(row["recall"] * row["n"])
            found = f"{hit:,} of {row['n']:,}"
            between = " to ".join(map(percent, wilson(hit, row["n"])))
        shown = [number(None) if row[part] is None else percent(row[part]) for part in parts]
        rows.append([escape(name), *seen, found, shown[-1], between, *reversed(shown[:-1])])
    seen = [] if trained is None else ["trained on"]
    heads = ["class", *seen, "found", "recall", "95 % interval"]
    heads += [part.replace("_", " ") for part in reversed(parts[:-1])]
    words = (
        f"Recall: the share of a class's {noun}s that are found. Precision: how often it is right "
        "where it says this class."
    )
    words += f" n/a: no such {noun}, or never predicted." if "n/a" in str(rows) else ""
    return make_table(heads, rows, words, tall=True)


def by_label(
    counts: Sequence[Sequence[Sequence[int]]], labels: Sequence[str], noun: str = "picture"
) -> str:
    """Shows how often each of several labels is right and wrong, the most mistaken first.

    Args:
        counts: `[c, 2, 2]`, for each label `[[tn, fp], [fn, tp]]`.
        labels: The names of the c labels.
        noun: What one of those that are counted is called.
    """
    rows = []
    for name, ((tn, fp), (fn, tp)) in zip(labels, counts, strict=True):
        rows.append((fn + fp, [escape(name), *map(number, (tp, fn, fp, tn))]))
    rows.sort(key=operator.itemgetter(0), reverse=True)
    heads = ["class", "found", "missed", "said wrongly", "rightly not said"]
    words = f"{noun.capitalize()}s. Those of the class are found or missed."
    return make_table(heads, [cells for _, cells in rows], words, tall=True)


def confusion(counts: np.ndarray[Any, Any], labels: list[str], noun: str = "picture") -> str:
    """Shows how often each class is taken for each, as a matrix or a list of the worst.

    Args:
        counts: `[c, c]`, rows the truth, columns the prediction.
        labels: The names of the c classes.
        noun: What one of those that are counted is called.
    """
    if len(labels) > MATRIX_CLASSES:
        return _worst_confusions(counts, labels, noun)
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
            _cell(int(count), total, i == j, len(labels)) for j, count in enumerate(counts[i])
        )
        rows.append(f'<tr><th scope="row" title="{escape(name)}">{escape(name)}</th>{cells}</tr>')
    kind = "matrix many" if len(labels) > 12 else "matrix"
    said = f"{noun.capitalize()}s: a row is the truth, a column what it is taken for."
    return f'<p class="dim">{said}</p>' + _box(
        f'<table class="{kind}"><thead><tr><td></td>{heads}</tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table>",
        "Confusion matrix",
    )


def _cell(count: int, total: int, is_right: bool, classes: int) -> str:
    if not count:
        # Among many, zeros would hide what is there.
        return f'<td class="zero">{0 if classes <= _ZEROS_SHOWN else ""}</td>'
    share = count / total
    small = f"<small>{percent(share)}</small>" if classes <= _SHARES_SHOWN else ""
    # The root lifts small shares to where they are seen; no shade makes the text hard to read.
    shade = 0.05 + 0.45 * math.sqrt(share)
    kind = "right" if is_right else "wrong"
    return f'<td class="{kind}" style="--a:{shade:.2f}">{count}{small}</td>'


def _worst_confusions(counts: np.ndarray[Any, Any], labels: list[str], noun: str) -> str:
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
            percent(wrong[i, j] / counts[i].sum()),
        ]
        for i, j in pairs
    ]
    words = f"The {len(rows)} most frequent of {np.count_nonzero(wrong)} confusions."
    heads = ["truth", "taken for", f"{noun}s", "of its class"]
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
    # Above the box: within, a table wider than a phone would take its words off the screen.
    said = f'<p class="dim">{sentence(caption)}</p>' if caption else ""
    table = f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
    return said + _box(table, caption.partition(".")[0] or "Table", tall=tall)


def _box(table: str, name: str, tall: bool = False) -> str:
    """Lets a table that is too wide or too tall scroll by itself, by keyboard too."""
    kind = "box tall" if tall else "box"
    return (
        f'<div class="{kind}" role="region" aria-label="{escape(name)}" tabindex="0">{table}</div>'
    )
