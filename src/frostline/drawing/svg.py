"""A network as an SVG: boxes from top to bottom, and the frost line across."""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape

from frostline.base.console import printable
from frostline.drawing.boxes import Box
from frostline.drawing.layout import Placed, place
from frostline.frost import Line

# All in px.
_ROW, _BOX, _LINE, _MARGIN, _TITLE = 76.0, 54.0, 44.0, 24.0, 64.0
_LETTER, _SMALL, _LEAST = 7.0, 6.2, 120.0
_STYLE = """
svg { background: #fff; font-family: system-ui, sans-serif; color-scheme: light dark }
text { fill: #1b2530; text-anchor: middle; font-size: 11px }
.name { font-size: 12px; font-weight: 600 }
.head { font-size: 16px; font-weight: 600; text-anchor: start }
.sub, .line-text { text-anchor: start; font-size: 12px }
.frozen { fill: #dcebf8; stroke: #5b8db8 }
.trained { fill: #fdeccb; stroke: #c08a2b }
.edge { fill: none; stroke: #7b8794; stroke-width: 1.3 }
.line { stroke: #1f6fb2; stroke-width: 2.5; stroke-dasharray: 9 6 }
.line-text { fill: #1f6fb2; font-weight: 600; paint-order: stroke; stroke: #fff; stroke-width: 4px }
.tip { fill: #7b8794 }
@media (prefers-color-scheme: dark) {
  svg { background: #14191f } text { fill: #e6edf3 }
  .frozen { fill: #17324a; stroke: #6fa8d6 } .trained { fill: #46340f; stroke: #d9a441 }
  .line { stroke: #6cb6ff } .line-text { fill: #6cb6ff; stroke: #14191f }
  .edge { stroke: #8b98a5 }
}
"""


@dataclass(frozen=True)
class Titles:
    """The words of a drawing.

    Attributes:
        head: What is drawn.
        below: What lies below the frost line, in numbers.
        above: What lies above it.
    """

    head: str
    below: str
    above: str


def draw(boxes: Sequence[Box], line: Line, titles: Titles) -> str:
    """Returns the SVG of a network.

    Args:
        boxes: From `boxes_of` or `blocks_of`.
        line: The frost line.
        titles: Words.
    """
    widths = {box.name: _width(box) for box in boxes}
    edges = [(source, box.name) for box in boxes for source in box.reads]
    above = frozenset(box.name for box in boxes if box.is_above)
    placed = place([box.name for box in boxes], edges, widths, above)
    last = max((placed.rank[box.name] for box in boxes if not box.is_above), default=-1)
    least = max(len(titles.head) * 9.0, len(titles.below) * 7.0)
    canvas = _Canvas(placed, last, max(placed.width, least))
    parts = [
        *_frame(canvas, line, titles),
        *(_edge(canvas, edge) for edge in edges),
        *(part for box in boxes for part in _shown(canvas, box, widths)),
    ]
    width, height = canvas.width + 2 * _MARGIN, canvas.y(placed.ranks - 1) + _BOX + _MARGIN
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:.0f}" height="{height:.0f}" '
        f'viewBox="0 0 {width:.0f} {height:.0f}" role="img">\n<title>{_text(titles.head)}</title>\n'
        f"<style>{_STYLE}</style>\n" + "\n".join(parts) + "\n</svg>\n"
    )


@dataclass(frozen=True)
class _Canvas:
    """From ranks to px.

    Attributes:
        placed: Where everything lies.
        last: The last rank below the frost line.
        width: Of everything, without margins.
    """

    placed: Placed
    last: int
    width: float

    def y(self, rank: int) -> float:
        """The upper edge of a rank's boxes; the frost line takes room of its own."""
        return _TITLE + rank * _ROW + (_LINE if rank > self.last else 0.0)

    def x(self, place: float) -> float:
        """The middle of a box."""
        return _MARGIN + (self.width - self.placed.width) / 2 + place

    @property
    def line_y(self) -> float:
        """Where the frost line lies."""
        return self.y(self.last) + _BOX + (_ROW - _BOX + _LINE) / 2


def _frame(canvas: _Canvas, line: Line, titles: Titles) -> Iterator[str]:
    right = canvas.width + 2 * _MARGIN
    y = canvas.line_y
    yield f'<text class="head" x="{_MARGIN}" y="30">{_text(titles.head)}</text>'
    yield f'<text class="sub" x="{_MARGIN}" y="50">{_text(titles.below)}</text>'
    yield f'<line class="line" x1="0" y1="{y:.1f}" x2="{right:.1f}" y2="{y:.1f}"/>'
    shape = " × ".join(map(str, line.shape))
    words = f"frost line: {line.name} ({shape})"
    yield f'<text class="line-text" x="8" y="{y - 7:.1f}">{_text(words)}</text>'
    yield f'<text class="line-text" x="8" y="{y + 17:.1f}">{_text(titles.above)}</text>'


def _edge(canvas: _Canvas, edge: tuple[str, str]) -> str:
    placed, (source, target) = canvas.placed, edge
    first = placed.rank[source]
    points = [(canvas.x(placed.x[source]), canvas.y(first) + _BOX)]
    for at, place_x in enumerate(placed.routes[edge], first + 1):
        x, y = canvas.x(place_x), canvas.y(at)
        points += [(x, y), (x, y + _BOX)]
    points.append((canvas.x(placed.x[target]), canvas.y(placed.rank[target])))
    path = f"M{points[0][0]:.1f} {points[0][1]:.1f}"
    for (x1, y1), (x2, y2) in itertools.pairwise(points):
        if abs(x1 - x2) < 0.5:
            path += f" L{x2:.1f} {y2:.1f}"
        else:
            middle = (y1 + y2) / 2
            path += f" C{x1:.1f} {middle:.1f} {x2:.1f} {middle:.1f} {x2:.1f} {y2:.1f}"
    x, y = points[-1]
    tip = f"M{x - 4:.1f} {y - 7:.1f} L{x:.1f} {y:.1f} L{x + 4:.1f} {y - 7:.1f} Z"
    return f'<path class="edge" d="{path}"/><path class="tip" d="{tip}"/>'


def _shown(canvas: _Canvas, box: Box, widths: Mapping[str, float]) -> Iterator[str]:
    x, y = canvas.x(canvas.placed.x[box.name]), canvas.y(canvas.placed.rank[box.name])
    width = widths[box.name]
    kind = "trained" if box.is_above else "frozen"
    yield f"<g><title>{chr(10).join(map(_text, box.details))}</title>"
    yield (
        f'<rect class="{kind}" x="{x - width / 2:.1f}" y="{y:.1f}" width="{width:.1f}" '
        f'height="{_BOX}" rx="7"/>'
    )
    lines = _lines(box)
    top = y + _BOX / 2 + 4 - (len(lines) - 1) * 7.5
    for at, (words, name) in enumerate(lines):
        yield f'<text class="{name}" x="{x:.1f}" y="{top + 15 * at:.1f}">{_text(words)}</text>'
    yield "</g>"


def _lines(box: Box) -> list[tuple[str, str]]:
    shape = " × ".join(map(str, box.shape))
    words = [(box.title, "name"), (box.does, "does"), (shape, "shape")]
    return [(text, name) for text, name in words if text]


def _width(box: Box) -> float:
    needed = [len(words) * (_LETTER if name == "name" else _SMALL) for words, name in _lines(box)]
    return max(_LEAST, max(needed, default=0.0) + 20)


def _text(words: str) -> str:
    return escape(printable(words))
