"""A summary as words: a table with a ruler at the frost line, a tree, or plain JSON values."""

import dataclasses
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from frostline.frost.field_rules import Window
from frostline.model.layer_rows import LayerRow
from frostline.model.summary import Summary, Totals

_HEADS = ("layer", "kind", "output", "kernel", "stride", "pad", "parameters", "mult-adds", "sees")
_WINDOW = slice(3, 6)
# Columns of numbers, aligned right.
_RIGHT = (6, 7, 8)


def table(summary: Summary, windows: bool = False) -> list[str]:
    """Returns the lines to print: what it is, the layers with a ruler at the line, the totals.

    Args:
        summary: What to print.
        windows: Whether kernels, strides and paddings have columns.
    """
    cells = [(*_HEADS, ""), *map(_cells, summary.rows)]
    shown = _aligned(cells if windows else [_without_window(row) for row in cells], windows)
    ruler = f"── frost line: {summary.line} ".ljust(max(map(len, shown)), "─")
    shown.insert(1 + summary.below, ruler)
    return [_title(summary), "", *shown, "", *_totals(summary.totals)]


def tree(summary: Summary) -> list[str]:
    """Returns the lines to print: the modules, each below the one that holds it, and the totals.

    Args:
        summary: Of each layer by itself.
    """
    rows = _nested(summary.rows, "", "")
    return [
        _title(summary),
        "",
        *_aligned([(*_HEADS, ""), *rows], True),
        "",
        *_totals(summary.totals),
    ]


def list_of(rows: Sequence[LayerRow]) -> list[str]:
    """Returns the lines to print of some layers: their names, shapes, windows and numbers."""
    return _aligned([(*_HEADS, ""), *map(_cells, rows)], True)


def as_json(summary: Summary) -> dict[str, Any]:
    """Returns the summary as plain JSON values."""
    plain = dataclasses.asdict(summary)
    plain["input_px"] = list(summary.input_px)
    plain["rows"] = [row_as_json(row) for row in summary.rows]
    return plain


def row_as_json(row: LayerRow) -> dict[str, Any]:
    """Returns a layer as plain JSON values."""
    known = geometry_as_json(row.window, row.field_px, row.sees_all)
    return {**dataclasses.asdict(row), "shape": list(row.shape), **known}


def geometry_as_json(
    window: Window | None, field_px: tuple[int, int] | None, sees_all: bool
) -> dict[str, Any]:
    """Returns what is known of a window, and of what is seen through it, as plain JSON values."""
    plain = None
    if window is not None:
        sides = {"kernel": window.kernel, "stride": window.stride, "dilation": window.dilation}
        plain = {
            "what": window.what,
            **{name: list(pair) for name, pair in sides.items()},
            "padding": [list(pads) for pads in window.padding],
            "groups": window.groups,
        }
    return {"window": plain, "field_px": field_px and list(field_px), "sees_all": sees_all}


def window_cells(window: Window | None) -> tuple[str, str, str]:
    """Returns kernel, stride and padding in short: `3 × 3`, `2`, `0+1` (one row at the end)."""
    if window is None:
        return "", "", ""
    pads = [str(a) if a == b else f"{a}+{b}" for a, b in window.padding]
    kernel = " × ".join(map(str, window.kernel))
    kernel += f" by {window.dilation[0]}" if window.dilation != (1, 1) else ""
    return kernel, _short(window.stride), _short(pads)


def field_cell(field_px: tuple[int, int] | None, sees_all: bool) -> str:
    """Returns what one output sees of the picture, in pixels: `212`, `5 × 9`, `all` or `-`."""
    if field_px is None:
        return "all" if sees_all else "-"
    return _short(field_px)


def work_cell(multiply_adds: int) -> str:
    """Returns a number of multiply-adds in short: `86.7 M`."""
    if not multiply_adds:
        return "-"
    for unit, size in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if multiply_adds >= size:
            return f"{multiply_adds / size:.3g} {unit}"
    return str(multiply_adds)


def _short(pair: Sequence[Any]) -> str:
    return str(pair[0]) if pair[0] == pair[1] else f"{pair[0]} × {pair[1]}"


def _title(summary: Summary) -> str:
    height, width = summary.input_px
    return (
        f"{summary.name}: {summary.architecture}, {width} × {height} px; "
        f"head {summary.head} on {summary.top}, {_counted(summary.scores, 'score')}"
    )


def _nested(rows: Sequence[LayerRow], prefix: str, bars: str) -> Iterator[tuple[str, ...]]:
    """Gives the cells of each module below a path, with lines that show what holds what."""
    groups: dict[str, list[LayerRow]] = {}
    for row in rows:
        groups.setdefault(row.name.removeprefix(prefix).partition(".")[0], []).append(row)
    for at, (name, inside) in enumerate(groups.items()):
        is_last = at == len(groups) - 1
        path = f"{prefix}{name}"
        own = [row for row in inside if row.name == path]
        deeper = [row for row in inside if row.name != path]
        shown = _cells(own[0] if own and not deeper else _sum_of(inside))
        yield (f"{bars}{'└─' if is_last else '├─'} {name}", *shown[1:])
        yield from _nested(deeper, f"{path}.", f"{bars}{'   ' if is_last else '│  '}")


def _sum_of(rows: Sequence[LayerRow]) -> LayerRow:
    """What several layers are together: what the last one gives, and the sums."""
    states = {row.trainable for row in rows} - {None}
    return replace(
        rows[-1],
        kind="",
        window=None,
        parameters=sum(row.parameters for row in rows),
        multiply_adds=sum(row.multiply_adds for row in rows),
        trainable=any(states) if states else None,
    )


def _aligned(cells: Sequence[Sequence[str]], windows: bool) -> list[str]:
    right = _RIGHT if windows else tuple(column - 3 for column in _RIGHT)
    widths = [max(len(row[column]) for row in cells) for column in range(len(cells[0]))]
    return [
        "  ".join(
            cell.rjust(width) if column in right else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in cells
    ]


def _without_window(row: Sequence[str]) -> tuple[str, ...]:
    return (*row[: _WINDOW.start], *row[_WINDOW.stop :])


def _cells(row: LayerRow) -> tuple[str, ...]:
    state = {None: "", True: "trainable", False: "frozen"}[row.trainable]
    return (
        row.name,
        row.kind,
        " × ".join(map(str, row.shape)) or "-",
        *window_cells(row.window),
        f"{row.parameters:,}" if row.parameters else "-",
        work_cell(row.multiply_adds),
        "" if row.kind == "Parameter" else field_cell(row.field_px, row.sees_all),
        state,
    )


def _totals(totals: Totals) -> list[str]:
    lines = {
        "total": (totals.parameters, totals.tensors),
        "trainable": (totals.trainable_parameters, totals.trainable_tensors),
        "frozen": (totals.frozen_parameters, totals.frozen_tensors),
    }
    width = len(f"{totals.parameters:,}")
    return [
        f"{name:<9}  {numbers:>{width},} parameters in {_counted(tensors, 'tensor')}"
        for name, (numbers, tensors) in lines.items()
    ]


def _counted(count: int, what: str) -> str:
    return f"{count:,} {what}" if count == 1 else f"{count:,} {what}s"
