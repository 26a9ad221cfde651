"""Small charts as SVG text: curves over epochs, and confidence against accuracy.

Each function returns one standalone, valid SVG that also goes into an HTML page as it is. Its
colours follow the reader's light or dark setting, no series is told by its colour alone, and
title and description are there for who cannot see it.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from frostline.report import colours
from frostline.report.text import escape
from frostline.scores.metrics import wilson

_STYLE = f"""<style>
.fl{{--ink:{colours.INK};--dim:{colours.DIM};--grid:{colours.GRID};--s0:{colours.VALIDATION};
--s1:{colours.TRAINING};--s2:{colours.PROBE};--s3:#9c3d84;
font:12px system-ui,-apple-system,"Segoe UI",Roboto,"Helvetica Neue",Arial,sans-serif}}
@media screen and (prefers-color-scheme:dark){{
.fl{{--ink:{colours.INK_ON_DARK};--dim:{colours.DIM_ON_DARK};
--grid:{colours.GRID_ON_DARK};--s0:{colours.VALIDATION_ON_DARK};--s1:{colours.TRAINING_ON_DARK};
--s2:{colours.PROBE_ON_DARK};--s3:#e08fc9}}}}
.fl text{{fill:var(--dim)}}.fl .name{{fill:var(--ink)}}.fl .num{{font-variant-numeric:tabular-nums}}
.fl .grid{{stroke:var(--grid)}}.fl .axis{{stroke:var(--dim)}}.fl .mark{{stroke:var(--dim);
stroke-dasharray:2 4}}.fl .curve{{fill:none;stroke-width:2;stroke-linejoin:round}}
.fl .out{{fill:var(--dim);opacity:.12}}.fl .ring{{fill:none;stroke:var(--ink);stroke-width:1.75}}
.fl .k0{{stroke:var(--s0)}}.fl .k1{{stroke:var(--s1)}}.fl .k2{{stroke:var(--s2)}}
.fl .k3{{stroke:var(--s3)}}.fl .p0{{fill:var(--s0)}}.fl .p1{{fill:var(--s1)}}
.fl .p2{{fill:var(--s2)}}.fl .p3{{fill:var(--s3)}}
</style>"""
# A phone is 390 px wide: drawn larger, the words would be too small there.
WIDTH_PX = 380
_COLOURS = 4
_DASHES = ("", "6 4", "2 3", "9 3 2 3")
_MANY_POINTS = 40
# A little more than the font needs.
_LETTER_PX = 7
# Room beside the plotting area: for the numbers on its left, and for half of the last below it.
_LEFT, _EDGE = 52, 14


@dataclass(frozen=True)
class Series:
    """One named curve.

    Attributes:
        name: What the legend calls it.
        points: `(x, y)`, in the order they are joined. A point that is not finite breaks the curve.
        look: Which of the four colours and dashes it has: 0 for validation, 1 for training.
    """

    name: str
    points: Sequence[tuple[float, float]]
    look: int = 0


@dataclass(frozen=True)
class Span:
    """A part of the way to the right, such as a stage.

    Attributes:
        name: What stands above it.
        start: Where it begins; an upright line stands there.
        end: Where it ends.
        is_out: Whether what happened there came to nothing, which is shaded.
    """

    name: str
    start: float
    end: float
    is_out: bool = False


@dataclass(frozen=True)
class _Frame:
    """The plotting area in pixels, and the ranges of the values it shows."""

    left: float
    top: float
    right: float
    bottom: float
    x_range: tuple[float, float]
    y_range: tuple[float, float]

    def x(self, value: float) -> float:
        low, high = self.x_range
        return self.left + (value - low) / (high - low) * (self.right - self.left)

    def y(self, value: float) -> float:
        low, high = self.y_range
        return self.bottom - (value - low) / (high - low) * (self.bottom - self.top)


def ticks(low: float, high: float, count: int = 5, whole: bool = False) -> list[float]:
    """Returns round numbers from `low` to `high`, near `count` of them, 1, 2 or 5 apart.

    Args:
        low: The smallest value shown.
        high: The largest, above `low`.
        count: How many are wanted; it may be half as many or up to twice.
        whole: Whether only whole numbers will do.
    """
    rough = (high - low) / max(count, 1)
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(m * power for m in (1, 2, 5, 10) if m * power >= rough * 0.75)
    if whole:
        step = max(1.0, round(step))
    first, last = math.ceil(low / step - 1e-6), math.floor(high / step + 1e-6)
    return [float(f"{index * step:.12g}") for index in range(first, last + 1)]


def line_chart(
    series: Sequence[Series],
    *,
    title: str,
    x_label: str,
    y_label: str,
    spans: Sequence[Span] = (),
    rings: Sequence[tuple[float, float]] = (),
    y_limits: tuple[float, float] | None = None,
    width_px: int = WIDTH_PX,
    height_px: int = 280,
) -> str:
    """Draws curves over whole-numbered steps, such as epochs.

    Args:
        series: The curves.
        title: What the chart shows, read out by screen readers.
        x_label: What runs to the right.
        y_label: What runs upwards, with its unit.
        spans: Parts of the way, such as stages. The axis reaches back to the first; none is drawn
            that begins beyond the last point.
        rings: Points that were kept, each with a ring around it.
        y_limits: Values that the upward axis never leaves, such as `(0, 1)` for a share.
        width_px: Width of the drawing.
        height_px: Height of the drawing.

    Returns:
        The SVG, as text. Where no point is finite it says so instead of drawing axes.
    """
    points = [p for one in series for p in one.points if math.isfinite(p[0] + p[1])]
    if not points:
        body = f'<text x="16" y="{height_px / 2:g}">{escape(title)}: no finite values.</text>'
        return _svg(title, "No finite values.", body, width_px, height_px)
    last = max(p[0] for p in points)
    shown = [span for span in spans if span.start <= last]
    starts = [span.start for span in shown]
    x_ticks, x_range = _axis([*(p[0] for p in points), *starts], None, whole=True)
    y_ticks, y_range = _axis([p[1] for p in points], y_limits)
    names, rows = _span_names(width_px, x_range, shown)
    frame = _Frame(_LEFT, 34 + 14 * rows, width_px - _EDGE, height_px - 44, x_range, y_range)
    parts = [
        *(_shade(frame, span, last) for span in shown if span.is_out),
        _grid(frame, x_ticks, y_ticks, x_label, y_label),
        *(_boundary(frame, span, row, is_left) for span, row, is_left in names),
        *(_curve(frame, one) for one in series),
        *(_ring(frame, x, y) for x, y in rings if math.isfinite(x + y)),
        _legend(frame, series, bool(rings)),
    ]
    told = _told(series) + _spans_told(shown)
    return _svg(title, told, "".join(parts), width_px, height_px)


def reliability_chart(
    bins: Sequence[Mapping[str, Any]],
    *,
    title: str,
    of: str = "images",
    width_px: int = WIDTH_PX,
    height_px: int = 400,
) -> str:
    """Draws how often each bin of confidence is right, with its 95 % Wilson interval.

    Below stands how many images each bin holds. A model that knows how sure it may be has
    every point on the diagonal.

    Args:
        bins: What `frostline.scores.metrics.calibration` returns.
        title: What the chart shows, read out by screen readers.
        of: What is counted.
        width_px: Width of the drawing.
        height_px: Height of the drawing.

    Returns:
        The SVG, as text.
    """
    full = [row for row in bins if row["n"]]
    frame = _Frame(_LEFT, 16, width_px - _EDGE, height_px - 104, (0.0, 1.0), (0.0, 1.0))
    strip = _Frame(_LEFT, height_px - 76, width_px - _EDGE, height_px - 34, (0.0, 1.0), (0.0, 1.0))
    shares = [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]
    most = max((row["n"] for row in full), default=1)
    parts = [
        _grid(frame, shares, shares, "", "accuracy"),
        _segment("mark", frame.x(0), frame.y(0), frame.x(1), frame.y(1)),
        *(_bin(frame, strip, row, most) for row in full),
        _segment("axis", strip.left, strip.bottom, strip.right, strip.bottom),
        _label(strip.left - 8, strip.top + 8, f"{most}", "end", "num"),
        _label(strip.left - 8, strip.bottom, "0", "end", "num"),
        _label((strip.left + strip.right) / 2, strip.bottom + 22, "confidence", "middle"),
        _upright((strip.top + strip.bottom) / 2, of),
    ]
    told = "; ".join(_bin_told(row) for row in full) or f"No {of}."
    return _svg(title, told, "".join(parts), width_px, height_px)


def _svg(title: str, told: str, body: str, width_px: int, height_px: int) -> str:
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" class="fl" role="img" '
        f'viewBox="0 0 {width_px} {height_px}" width="{width_px}" height="{height_px}">'
        f"<title>{escape(title)}</title><desc>{escape(told)}</desc>{_STYLE}{body}</svg>"
    )


def _axis(
    values: Sequence[float], limits: tuple[float, float] | None, whole: bool = False
) -> tuple[list[float], tuple[float, float]]:
    """Returns round ticks and the range they span, with room around `values`."""
    low, high = min(values), max(values)
    if whole:
        span = (low, high if high > low else low + 1)
        return ticks(*span, count=8, whole=True), span
    # Never so little room that a flat curve looks steep.
    pad = max((high - low) * 0.06, abs(high) * 0.01) or 0.1
    low, high = low - pad, high + pad
    if limits:
        low, high = max(low, limits[0]), min(high, limits[1])
    return ticks(low, high), (low, high)


def _grid(
    frame: _Frame, x_ticks: Sequence[float], y_ticks: Sequence[float], x_label: str, y_label: str
) -> str:
    parts = [_segment("axis", frame.left, frame.bottom, frame.right, frame.bottom)]
    for value, shown in zip(y_ticks, _alike(y_ticks), strict=True):
        y = frame.y(value)
        parts.append(_segment("grid", frame.left, y, frame.right, y))
        parts.append(_label(frame.left - 8, y + 4, shown, "end", "num"))
    for value, shown in zip(x_ticks, _alike(x_ticks), strict=True):
        x = frame.x(value)
        parts.append(_segment("axis", x, frame.bottom, x, frame.bottom + 4))
        parts.append(_label(x, frame.bottom + 18, shown, "middle", "num"))
    parts.append(_label((frame.left + frame.right) / 2, frame.bottom + 36, x_label, "middle"))
    parts.append(_upright((frame.top + frame.bottom) / 2, y_label))
    return "".join(parts)


def _alike(values: Sequence[float]) -> list[str]:
    """Returns the numbers with as many decimals as the one that needs most."""
    largest = max(map(abs, values), default=0.0)
    if largest >= 1e6 or 0 < largest < 1e-4:
        return [f"{value:.3g}" for value in values]
    places = max((len(f"{value:.6f}".rstrip("0").split(".")[1]) for value in values), default=0)
    return [f"{value:.{places}f}" for value in values]


def _curve(frame: _Frame, series: Series) -> str:
    kind, dash = series.look % _COLOURS, _DASHES[series.look % len(_DASHES)]
    path, joined = [], False
    dots = []
    for x, y in series.points:
        if math.isfinite(x + y):
            at = f"{frame.x(x):.1f} {frame.y(y):.1f}"
            path.append(f"{'L' if joined else 'M'}{at}")
            dots.append(_dot(frame.x(x), frame.y(y), kind, f"{series.name} {x:g}: {y:.4g}"))
        joined = math.isfinite(x + y)
    if len(dots) > _MANY_POINTS:
        dots = []
    dashed = f' stroke-dasharray="{dash}"' if dash else ""
    return f'<path class="curve k{kind}"{dashed} d="{"".join(path)}"/>{"".join(dots)}'


def _ring(frame: _Frame, x: float, y: float) -> str:
    told = f"kept: {x:g}"
    at = f'cx="{frame.x(x):.1f}" cy="{frame.y(y):.1f}"'
    return f'<circle class="ring" {at} r="6.5"><title>{escape(told)}</title></circle>'


def _legend(frame: _Frame, series: Sequence[Series], with_ring: bool) -> str:
    parts, x = [], frame.left
    for one in series:
        dash = _DASHES[one.look % len(_DASHES)]
        dashed = f' stroke-dasharray="{dash}"' if dash else ""
        parts.append(
            f'<path class="curve k{one.look % _COLOURS}"{dashed} d="M{x:.1f} 12h26"/>'
            + _label(x + 32, 16, one.name, "start", "name")
        )
        x += 46 + _LETTER_PX * len(one.name)
    if with_ring:
        parts.append(f'<circle class="ring" cx="{x + 7:.1f}" cy="12" r="6.5"/>')
        parts.append(_label(x + 20, 16, "kept", "start", "name"))
    return "".join(parts)


def _shade(frame: _Frame, span: Span, last: float) -> str:
    left, right = frame.x(span.start), frame.x(min(span.end, last))
    return (
        f'<rect class="out" x="{left:.1f}" y="{frame.top:.1f}" width="{max(right - left, 2):.1f}" '
        f'height="{frame.bottom - frame.top:.1f}"/>'
    )


def _span_names(
    width_px: int, x_range: tuple[float, float], spans: Sequence[Span]
) -> tuple[list[tuple[Span, int, bool]], int]:
    """Places the names; one that would run into an earlier one stands a row lower.

    Returns:
        For each its row, and whether it stands left of its line; and how many rows there are.
    """
    frame = _Frame(_LEFT, 0, width_px - _EDGE, 1, x_range, (0, 1))
    placed = []
    taken: list[list[tuple[float, float]]] = []
    for span in spans:
        at, wide = frame.x(span.start), _LETTER_PX * len(_shown(span))
        is_left = at + 4 + wide > width_px
        start = at - 4 - wide if is_left else at + 4
        row = 0
        while row < len(taken) and any(start < b and a < start + wide for a, b in taken[row]):
            row += 1
        taken += [[]] if row == len(taken) else []
        taken[row].append((start, start + wide))
        placed.append((span, row, is_left))
    return placed, len(taken)


def _boundary(frame: _Frame, span: Span, row: int, is_left: bool) -> str:
    at = frame.x(span.start)
    edge, anchor = (at - 4, "end") if is_left else (at + 4, "start")
    # From its own name down, so that it crosses none above.
    top = 28 + 14 * row
    return _segment("mark", at, top, at, frame.bottom) + _label(
        edge, top + 10, _shown(span), anchor
    )


def _shown(span: Span) -> str:
    return f"{span.name}, left out" if span.is_out else span.name


def _spans_told(spans: Sequence[Span]) -> str:
    out = [span.name for span in spans if span.is_out]
    return f" Left out: {', '.join(out)}." if out else ""


def _bin(frame: _Frame, strip: _Frame, row: Mapping[str, Any], most: int) -> str:
    x = frame.x(row["confidence"])
    low, high = wilson(round(row["accuracy"] * row["n"]), row["n"])
    tall = (strip.bottom - strip.top) * row["n"] / most
    left = strip.x(row["lower"])
    return (
        f'<path class="curve k0" d="M{x:.1f} {frame.y(low):.1f}V{frame.y(high):.1f}"/>'
        + _dot(x, frame.y(row["accuracy"]), 0, _bin_told(row), radius=4)
        + f'<rect class="p0" x="{left + 0.5:.1f}" y="{strip.bottom - tall:.1f}" '
        f'width="{strip.x(row["upper"]) - left - 1:.1f}" height="{tall:.1f}"/>'
    )


def _bin_told(row: Mapping[str, Any]) -> str:
    return (
        f"confidence {row['lower']:.2f} to {row['upper']:.2f}: "
        f"accuracy {row['accuracy']:.3f}, n = {row['n']}"
    )


def _told(series: Sequence[Series]) -> str:
    """Says each curve in words: where it begins, where it ends."""
    words = []
    for one in series:
        if points := [p for p in one.points if math.isfinite(p[0] + p[1])]:
            (x0, y0), (x1, y1) = points[0], points[-1]
            words.append(f"{one.name}: from {y0:.4g} at {x0:g} to {y1:.4g} at {x1:g}.")
    return " ".join(words)


def _upright(y: float, text: str) -> str:
    return (
        f'<text transform="translate(14 {y:.1f}) rotate(-90)" text-anchor="middle">'
        f"{escape(text)}</text>"
    )


def _segment(kind: str, x0: float, y0: float, x1: float, y1: float) -> str:
    return f'<path class="{kind}" d="M{x0:.1f} {y0:.1f}L{x1:.1f} {y1:.1f}"/>'


def _dot(x: float, y: float, kind: int, told: str, radius: float = 3) -> str:
    return (
        f'<circle class="p{kind}" cx="{x:.1f}" cy="{y:.1f}" r="{radius:g}">'
        f"<title>{escape(told)}</title></circle>"
    )


def _label(x: float, y: float, text: str, anchor: str, kind: str = "") -> str:
    named = f' class="{kind}"' if kind else ""
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"{named}>{escape(text)}</text>'
