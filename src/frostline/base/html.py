"""HTML by which objects show themselves in a notebook: small, safe, and alike.

What comes from outside is escaped. Nothing is loaded from anywhere, and the style touches nothing
but what stands inside. Text takes the colour of the notebook, so that it is read in light and dark.
"""

import html
import math
import re
from collections.abc import Iterable, Sequence

# What XML forbids, half characters from file names that are not UTF-8, and marks that turn
# the direction of the text around them.
_UNSAFE = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\u202a-\u202e\u2066-\u2069\ufffe\uffff]"
)
# Twice the class: notebooks have rules for all tables, with which a single one would tie.
_AT = ".frostline.frostline"
_RULES = """{--line:rgb(128 128 128/.35);--right:0 114 178;--wrong:213 94 0;max-width:62rem;
font:14px/1.45 system-ui,-apple-system,"Segoe UI",Roboto,Arial,sans-serif;overflow-wrap:anywhere}
 p{margin:.3rem 0}
 .lead{font-size:1.15em;font-weight:600}
 .dim, figcaption, .name, .zero{opacity:.75}
 table{border-collapse:collapse;margin:.4rem 0;font-size:1em;font-variant-numeric:tabular-nums}
 tr{background:none}
 th, td{padding:.2rem .6rem;border:0;border-bottom:1px solid var(--line);text-align:right;
vertical-align:top;font-size:1em;max-width:none}
 th{font-weight:600}
 th[scope=row], .text{text-align:left}
 .facts td{text-align:left}
 .box, .wide{max-width:100%;overflow:auto}
 .matrix td{min-width:2.6rem;border:1px solid var(--line);text-align:center}
 .matrix thead td{border:0}
 .matrix small{display:block}
 .matrix .up{writing-mode:vertical-rl;transform:rotate(180deg);max-height:10rem;overflow:hidden}
 .right{background:rgb(var(--right)/var(--a))}
 .wrong{background:rgb(var(--wrong)/var(--a))}
 ul{list-style:none;margin:.4rem 0;padding:0}
 .thumbs{display:grid;grid-template-columns:repeat(auto-fill,minmax(8rem,1fr));gap:.8rem}
 figure{margin:0}
 li{margin:0}
 img, .missing{display:block;width:100%;height:auto;aspect-ratio:1;object-fit:contain;
background:rgb(128 128 128/.12);margin:0 0 .2rem}
 .one{display:flex;gap:1rem;align-items:flex-start}
 .one img, .one .missing{width:9rem}
 .missing{display:grid;place-items:center;text-align:center}
 .bar{display:inline-block;height:.6em;background:rgb(var(--right))}
 .chance{white-space:nowrap}
 svg{width:100%;max-width:30rem;height:auto}
 summary{cursor:pointer}
"""


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


def one_line(text: object) -> str:
    """Returns plain text for a `repr`: in one line, and without what makes a terminal act."""
    return visible(text).replace("\n", "\\n").replace("\t", "\\t")


def block(*parts: str) -> str:
    """Returns parts, which are HTML, as one piece that brings its style."""
    return f'<div class="frostline"><style>{_STYLE}</style>{"".join(parts)}</div>'


def lead(text: object) -> str:
    """Returns the line that says what it is."""
    return f'<p class="lead">{escape(text)}</p>'


def say(text: object) -> str:
    """Returns a line of text."""
    return f"<p>{escape(text)}</p>"


def dim(text: object) -> str:
    """Returns a line of less weight."""
    return f'<p class="dim">{escape(text)}</p>'


def table(heads: Sequence[object], rows: Iterable[Sequence[object]]) -> str:
    """Returns a table; the first cell of each row is its head."""
    top = "".join(
        f'<th scope="col"{"" if index else " class=text"}>{escape(one)}</th>'
        for index, one in enumerate(heads)
    )
    body = "".join(_row(row) for row in rows)
    return (
        f'<div class="wide"><table><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table></div>'
    )


def facts(rows: Iterable[tuple[object, object]]) -> str:
    """Returns names and values below each other."""
    return f'<table class="facts"><tbody>{"".join(_row(row) for row in rows)}</tbody></table>'


def folded(summary: str, content: str) -> str:
    """Returns HTML that is shown when a reader asks for it."""
    return f"<details><summary>{escape(summary)}</summary>{content}</details>"


def curve(points: Sequence[tuple[float, float]], mark: float, told: str) -> str:
    """Returns a drawing of a curve, with an upright line at `mark`.

    Args:
        points: `(x, y)`, from left to right; those that are not finite are left out.
        mark: Where the line stands.
        told: What to say to who cannot see it.
    """
    drawn = [point for point in points if all(map(math.isfinite, point))]
    if len(drawn) < 2:
        return ""
    xs, ys = zip(*drawn, strict=True)

    def at(value: float, values: Sequence[float], length: int) -> float:
        low, high = min(values), max(values)
        return 5 + (length - 10) * (value - low) / ((high - low) or 1)

    line = " ".join(f"{at(x, xs, 400):.1f},{150 - at(y, ys, 150):.1f}" for x, y in drawn)
    place = f"{at(mark, xs, 400):.1f}"
    return (
        f'<svg viewBox="0 0 400 150" role="img" aria-label="{escape(told)}" fill="none" '
        'stroke="currentColor" stroke-width="2">'
        f'<line x1="{place}" x2="{place}" y1="0" y2="150" stroke-dasharray="4 4"/>'
        f'<polyline points="{line}"/></svg>'
    )


def _row(cells: Sequence[object]) -> str:
    first, *rest = cells
    others = "".join(f"<td>{escape(cell)}</td>" for cell in rest)
    return f'<tr><th scope="row">{escape(first)}</th>{others}</tr>'


def _scoped(rules: str) -> str:
    """Puts the class of a block before every selector."""

    def placed(found: re.Match[str]) -> str:
        selectors = found[1].strip().split(",")
        return ",".join(f"{_AT} {one.strip()}".strip() for one in selectors) + "{"

    return re.sub(r"([^{}]*)\{", placed, rules)


_STYLE = _scoped(_RULES)
