"""The report: one HTML page that says how a run went, readable anywhere and for good.

It needs nothing but itself: no scripts, no fonts, no links to elsewhere; charts are inline SVG
and thumbnails lie in the page. All text that comes from outside is escaped, and the page's own
content policy forbids it to load anything.
"""

import base64
import io
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageOps

from frostline.base import files
from frostline.report.charts import Series, escape, line_chart, reliability_chart
from frostline.report.tables import by_class, by_label, confusion, make_table, number, plain
from frostline.scores.metrics import dense_confusion

MISTAKES_SHOWN = 48
THUMBNAIL_PX = 240
# Larger pictures are not decoded for a thumbnail; JPEG is decoded small and may be larger.
_PIXEL_LIMIT = 64_000_000
_HISTORY_KEYS = (
    *("stage", "kind", "epoch", "train_loss", "train_accuracy", "val_loss", "val_accuracy"),
    *("lr", "seconds", "kept"),
)

_STYLE = """
:root{color-scheme:light dark;--page:#fff;--ink:#1d2733;--dim:#5b6875;--line:#dde3e9;
--soft:#f4f6f8;--note:#fff6e0;--note-line:#d9a320;--right:20 120 190;--wrong:214 96 20}
@media (prefers-color-scheme:dark){:root{--page:#14191f;--ink:#e4e9ee;--dim:#9aa7b4;--line:#333d48;
--soft:#1c232b;--note:#2e2711;--note-line:#b98a1c;--right:64 150 226;--wrong:224 120 50}}
*{box-sizing:border-box}
body{margin:0 auto;max-width:74rem;padding:2rem 1.25rem 4rem;background:var(--page);
color:var(--ink);font:16px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,"Helvetica Neue",Arial,
sans-serif;overflow-wrap:anywhere}
h1{margin:0 0 .25rem;font-size:1.8rem;line-height:1.2}
h2{margin:2.5rem 0 .75rem;padding-top:1rem;border-top:1px solid var(--line);font-size:1.3rem}
h3{margin:1.75rem 0 .5rem;font-size:1.05rem}
p{max-width:46rem;margin:.5rem 0}.dim,figcaption{color:var(--dim)}.lead{font-size:1.1rem}
.notes{margin:1.25rem 0;padding:.6rem 1rem;background:var(--note);
border-left:4px solid var(--note-line)}
.notes ul{margin:0;padding-left:1.1rem}
table{border-collapse:collapse;font-variant-numeric:tabular-nums}
caption{padding-bottom:.35rem;color:var(--dim);text-align:left}
th,td{padding:.3rem .75rem;border-bottom:1px solid var(--line);text-align:right;
vertical-align:top}
th{font-weight:600}th[scope=row],th.text,td.text{text-align:left}thead th{vertical-align:bottom}
.facts th{color:var(--dim);font-weight:400;white-space:nowrap;padding-left:0}
.facts td{text-align:left}
.box{width:fit-content;max-width:100%;overflow:auto}.tall{max-height:32rem}
.box table{overflow-wrap:normal}.box td{white-space:nowrap}
.box .text,.box th[scope=row]{white-space:normal;max-width:26rem}
.tall thead th{position:sticky;top:0;background:var(--page)}
.row{display:flex;flex-wrap:wrap;gap:1.5rem;align-items:flex-start}
.row svg,figure svg{max-width:100%;height:auto}
.matrix td{min-width:2.4rem;padding:.3rem .5rem;border:1px solid var(--line);text-align:center;
vertical-align:middle}
.matrix small{display:block}.matrix .zero{color:var(--dim)}.matrix caption{white-space:nowrap}
.matrix thead td{border:0}.many{font-size:.8rem}.many td{min-width:1.75rem;padding:.2rem}
.many thead th{padding:.2rem}
.box .matrix th[scope=row]{white-space:nowrap;max-width:16rem;overflow:hidden;
text-overflow:ellipsis;position:sticky;left:0;background:var(--page)}
.matrix thead th{text-align:center}.matrix .up{writing-mode:vertical-rl;transform:rotate(180deg);
max-height:10rem;white-space:nowrap;overflow:hidden;text-overflow:ellipsis;display:inline-block}
.right{background:rgb(var(--right)/var(--a))}.wrong{background:rgb(var(--wrong)/var(--a))}
.thumbs{display:grid;grid-template-columns:repeat(auto-fill,minmax(11rem,1fr));gap:1.25rem;
margin:1rem 0 0;padding:0;list-style:none}
.thumbs figure,.chart{margin:0}.thumbs figcaption{font-size:.875rem;line-height:1.4}
.thumbs b{color:var(--ink)}
.thumbs img,.missing{display:block;width:100%;aspect-ratio:1;object-fit:contain;
background:var(--soft);margin-bottom:.4rem}
.missing{padding:1rem;display:grid;place-items:center;text-align:center;color:var(--dim)}
summary{cursor:pointer}
@media print{body{max-width:none;padding:0}.tall{max-height:none}figure,tr{break-inside:avoid}}
"""


@dataclass(frozen=True)
class Example:
    """One picture and what was said about it.

    Attributes:
        path: Where the picture lies; it is only read, and may be gone.
        truth: Its true class; of several labels all, as one text.
        predicted: The class the model gave, likewise.
        probability: What the model gave for that class, 0 to 1; of several, for the label `about`.
        about: The one of several labels that it is most wrong about; empty where there is one.
    """

    path: str
    truth: str
    predicted: str
    probability: float
    about: str = ""

    @property
    def wrongness(self) -> float:
        """How sure the model was of what is wrong; of a label it missed, of its absence."""
        return max(self.probability, 1 - self.probability) if self.about else self.probability


def render(
    *,
    title: str,
    facts: Sequence[tuple[str, str]],
    metrics: Mapping[str, Mapping[str, Any]],
    history: Sequence[Mapping[str, Any]],
    mistakes: Sequence[Example],
    notes: Sequence[str],
) -> str:
    """Returns the report as one HTML page.

    Args:
        title: The heading, such as the name of the run.
        facts: What the run was made of, as names and values, in the order to show them.
        metrics: What stands in `metrics.json`: for each split, what `metrics.summarise` gives, or
            `metrics.summarise_multilabel`. A split that also has `calibration` (from
            `metrics.calibration`) gets a chart of it.
        history: The lines of `history.jsonl`; keys may be absent. A line of kind `probe` stands
            where its stage begins, each other line is one epoch. Two epochs make a chart. A stage
            with `kept` in its lines, and true in none, is marked as not kept.
        mistakes: Wrong predictions, shown with thumbnails, the most confident first.
        notes: What the reader must know first, such as a class without validation images.

    Returns:
        The page. It loads nothing; pictures that cannot be read are said to be missing.
    """
    body = [
        f"<header><h1>{escape(title)}</h1>{_headline(metrics)}</header>",
        _notes(notes),
        "<main>",
        _section("What was run", _facts(facts)),
        _section("How good it is", _overview(metrics)),
        _section("How training went", _training(history)),
        *(_split(split, numbers) for split, numbers in metrics.items()),
        _section("Most confident mistakes", _mistakes(mistakes)),
        "</main>",
    ]
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta http-equiv="Content-Security-Policy" '
        "content=\"default-src 'none'; img-src data:; style-src 'unsafe-inline'\">\n"
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n"
        + "\n".join(part for part in body if part)
        + "\n</body>\n</html>\n"
    )


def write(path: Path, html: str) -> None:
    """Writes the page, whole or not at all.

    Raises:
        DiskError: Where the disk is full or refuses; an older page still stands.
    """
    files.write_text(path, html)


def thumbnail(path: str, side_px: int = THUMBNAIL_PX) -> bytes:
    """Returns a picture as a small upright JPEG.

    EXIF orientation is applied, transparency laid on white, and grey values of more than 8 bits
    are stretched to what can be seen.

    Args:
        path: The picture.
        side_px: What neither side of the thumbnail exceeds.

    Raises:
        OSError: Where there is no such file, or it is no picture.
        ValueError: Where it is too large to decode for a thumbnail.
    """
    if not Path(path).is_file():  # a pipe or a device would block
        raise FileNotFoundError(path)
    # Pillow warns of odd metadata and of many pixels; neither concerns a thumbnail.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with Image.open(path) as image:
            image.draft("RGB", (2 * side_px, 2 * side_px))
            if image.width * image.height > _PIXEL_LIMIT:
                raise ValueError(f"{path}: too large for a thumbnail.")
            small = _seen(ImageOps.exif_transpose(image))
    small.thumbnail((side_px, side_px), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    small.save(buffer, "JPEG", quality=80)
    return buffer.getvalue()


def _seen(image: Image.Image) -> Image.Image:
    """Converts any mode to RGB."""
    if image.mode.startswith("I") or image.mode == "F":
        values = np.nan_to_num(np.asarray(image, dtype=np.float32))
        low, high = float(values.min()), float(values.max())
        scaled = (values - low) / ((high - low) or 1.0) * 255
        return Image.fromarray(scaled.round().astype(np.uint8)).convert("RGB")
    if image.has_transparency_data:
        layer = image.convert("RGBA")
        ground = Image.new("RGBA", layer.size, "white")
        return Image.alpha_composite(ground, layer).convert("RGB")
    return image.convert("RGB")


def _section(heading: str, content: str) -> str:
    return f"<section><h2>{escape(heading)}</h2>\n{content}</section>" if content else ""


def _headline(metrics: Mapping[str, Mapping[str, Any]]) -> str:
    if not metrics:
        return '<p class="lead">Nothing was evaluated.</p>'
    said = (
        f"On {escape(split)}: <b>{_accuracy(numbers)} {number(numbers.get('accuracy'))}</b>"
        f"{_interval(numbers)}, n = {number(numbers.get('n'))}."
        for split, numbers in metrics.items()
    )
    return "".join(f'<p class="lead">{line}</p>' for line in said)


def _has_several(numbers: Mapping[str, Any]) -> bool:
    return "mean_average_precision" in numbers


def _accuracy(numbers: Mapping[str, Any]) -> str:
    """Names the accuracy of a split: an image of several labels is right where all of them are."""
    return "exact match" if _has_several(numbers) else "accuracy"


def _interval(numbers: Mapping[str, Any]) -> str:
    ends = numbers.get("accuracy_ci95")
    return f" (95 % interval {number(ends[0])} to {number(ends[1])})" if ends else ""


def _notes(notes: Sequence[str]) -> str:
    if not notes:
        return ""
    items = "".join(f"<li>{escape(note)}</li>" for note in notes)
    return f'<aside class="notes" aria-label="Notes"><ul>{items}</ul></aside>'


def _facts(facts: Sequence[tuple[str, str]]) -> str:
    rows = "".join(
        f'<tr><th scope="row">{escape(name)}</th><td>{escape(value)}</td></tr>'
        for name, value in facts
    )
    return f'<table class="facts"><tbody>{rows}</tbody></table>' if facts else ""


_MEASURES = (
    ("mean_average_precision", "mean average precision"),
    ("log_loss", "log loss"),
    ("macro_f1", "macro f1"),
    ("top5_accuracy", "top-5 accuracy"),
    ("ece", "calibration error"),
    ("brier", "Brier score"),
)
_LOW_IS_GOOD = ("log_loss", "ece", "brier")


def _overview(metrics: Mapping[str, Mapping[str, Any]]) -> str:
    if not metrics:
        return ""
    measures = [one for one in _MEASURES if any(one[0] in row for row in metrics.values())]
    kind = _accuracy(next(iter(metrics.values())))
    heads = ["split", "n", kind, "95 % interval", *(name for _, name in measures)]
    rows = []
    for split, numbers in metrics.items():
        low, high = numbers.get("accuracy_ci95") or (None, None)
        values = [numbers.get("accuracy"), *(numbers.get(key) for key, _ in measures)]
        shown = [number(value) for value in values]
        between = f"{number(low)} to {number(high)}"
        rows.append([escape(split), number(numbers.get("n")), shown[0], between, *shown[1:]])
    low_is_good = ", ".join(name for key, name in measures if key in _LOW_IS_GOOD)
    caption = f"The interval is Wilson's. Lower is better: {low_is_good}."
    return make_table(heads, rows, caption if low_is_good else "The interval is Wilson's.")


def _training(history: Sequence[Mapping[str, Any]]) -> str:
    if not history:
        return ""
    placed, stages, epochs = _placed(history)
    charts = []
    for key, label, limits in (("loss", "loss", None), ("accuracy", "accuracy", (0.0, 1.0))):
        curves = [
            Series(name, [(x, float(line[k])) for x, line in placed if line.get(k) is not None])
            for name, k in (("val", f"val_{key}"), ("train", f"train_{key}"))
        ]
        curves = [curve for curve in curves if curve.points]
        if curves and epochs >= 2:
            drawn = line_chart(
                curves,
                title=f"{label.capitalize()} by epoch",
                x_label="epochs trained",
                y_label=label,
                boundaries=stages,
                y_limits=limits,
            )
            charts.append(f'<figure class="chart">{drawn}</figure>')
    row = f'<div class="row">{"".join(charts)}</div>' if charts else ""
    return row + _history_table(history)


def _placed(
    history: Sequence[Mapping[str, Any]],
) -> tuple[list[tuple[int, Mapping[str, Any]]], list[tuple[float, str]], int]:
    """Returns each line with the epochs trained up to it, where stages begin, and all epochs."""
    placed: list[tuple[int, Mapping[str, Any]]] = []
    begins: dict[object, int] = {}
    epochs = 0
    for line in history:
        begins.setdefault(line.get("stage"), epochs)
        epochs += line.get("kind") != "probe"
        placed.append((epochs, line))
    starts: dict[int, list[str]] = {}
    for stage, x in begins.items():
        starts.setdefault(x, []).append(str(stage))
    dropped = {str(stage) for stage in begins if _is_dropped(history, stage)}
    marks = []
    for x, names in starts.items():
        shown = ", ".join(f"{name} (not kept)" if name in dropped else name for name in names)
        marks.append((float(x), f"stage{'s' if len(names) > 1 else ''} {shown}"))
    return placed, marks if len(begins) > 1 else [], epochs


def _is_dropped(history: Sequence[Mapping[str, Any]], stage: object) -> bool:
    kept = [line["kept"] for line in history if line.get("stage") == stage and "kept" in line]
    return bool(kept) and not any(kept)


def _history_table(history: Sequence[Mapping[str, Any]]) -> str:
    present = {key for line in history for key in line}
    keys = [key for key in _HISTORY_KEYS if key in present]
    keys += sorted(present - set(keys))
    rows = [[plain(line.get(key)) for key in keys] for line in history]
    table = make_table([key.replace("_", " ") for key in keys], rows, "", False, 2)
    shown = " open" if len(history) < 6 else ""
    many = f"{len(history)} line{'s' if len(history) > 1 else ''}"
    return f"<details{shown}><summary>History in numbers, {many}</summary>{table}</details>"


def _split(split: str, numbers: Mapping[str, Any]) -> str:
    parts = []
    if numbers.get("per_class"):
        parts += ["<h3>By class, the worst first</h3>", by_class(numbers["per_class"])]
    if numbers.get("confusion") and _has_several(numbers):
        parts += ["<h3>What is missed, and what is said wrongly</h3>"]
        parts += [by_label(numbers["confusion"], numbers["labels"])]
    elif numbers.get("confusion"):
        parts += ["<h3>What is taken for what</h3>"]
        parts += [confusion(dense_confusion(numbers["confusion"]), list(numbers["labels"]))]
    if numbers.get("calibration"):
        drawn = reliability_chart(numbers["calibration"], title=f"Reliability on {split}")
        parts.append(
            "<h3>Can its probabilities be believed?</h3>"
            f'<figure class="chart">{drawn}</figure>'
            '<p class="dim">On the dotted diagonal: as often right as it says. Below: too sure of '
            "itself. Above: too modest. Bars are 95 % intervals.</p>"
        )
    return _section(f"Classes on {split}", "\n".join(parts))


def _mistakes(mistakes: Sequence[Example]) -> str:
    if not mistakes:
        return "<p>None.</p>"
    ordered = sorted(mistakes, key=lambda one: (-one.wrongness, one.path))
    shown = ordered[:MISTAKES_SHOWN]
    more = f"<p>{len(shown)} of {len(ordered)}.</p>" if len(shown) < len(ordered) else ""
    return f'{more}<ul class="thumbs">{"".join(_mistake(one) for one in shown)}</ul>'


def _mistake(example: Example) -> str:
    name = escape(Path(example.path).name)
    truth, predicted = escape(example.truth or "none"), escape(example.predicted or "none")
    about = f" of {escape(example.about)}" if example.about else ""
    probability = f"probability{about} {number(example.probability)}"
    try:
        data = base64.b64encode(thumbnail(example.path)).decode()
        said = f"{name}: {truth}, taken for {predicted}"
        picture = f'<img alt="{said}" src="data:image/jpeg;base64,{data}">'
    except FileNotFoundError:
        picture = '<div class="missing">The picture is no longer there.</div>'
    except Exception:  # Pillow raises almost anything on a damaged file; a report must not fail
        picture = '<div class="missing">The picture cannot be shown.</div>'
    return (
        f"<li><figure>{picture}<figcaption>truth <b>{truth}</b><br>predicted <b>{predicted}</b>"
        f'<br>{probability}<br><span title="{escape(example.path)}">{name}</span>'
        "</figcaption></figure></li>"
    )
