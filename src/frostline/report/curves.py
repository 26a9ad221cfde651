"""Curves of loss and accuracy, and the learning-rate finder's picture, as PNG and SVG files.

matplotlib is imported when a picture is drawn, not before. Its own objects are used and not
pyplot, so no window system is looked for; what the user's `matplotlibrc` says is left aside. The
same numbers give the same SVG, byte by byte.
"""

import contextlib
import itertools
import math
import warnings
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from frostline.base.files import write_atomic
from frostline.report import colours
from frostline.report.stages import StageResult

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SIZE_IN = (9.0, 3.6)
DPI = 150
_TRAIN: dict[str, Any] = {"color": colours.TRAINING, "linestyle": (0, (4, 2)), "marker": "o"}
_VAL: dict[str, Any] = {"color": colours.VALIDATION, "linestyle": "-", "marker": "s"}
_PROBE: dict[str, Any] = {"color": colours.PROBE, "linestyle": (0, (1, 2)), "marker": "D"}
_MANY_POINTS = 40
_LEGEND: dict[str, Any] = {"handlelength": 2.4, "columnspacing": 1.2, "handletextpad": 0.5}
_INK, _DIM, _GRID = colours.INK, colours.DIM, colours.GRID
_STYLE: dict[Any, Any] = {
    "axes.axisbelow": True,
    "axes.edgecolor": _DIM,
    "axes.grid": True,
    "axes.labelcolor": _INK,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "font.size": 9.5,
    "grid.color": _GRID,
    "grid.linewidth": 0.8,
    "legend.edgecolor": "none",
    "legend.fancybox": False,
    "legend.framealpha": 0.85,
    "lines.linewidth": 1.8,
    "lines.markersize": 3.6,
    "svg.fonttype": "none",
    "svg.hashsalt": "frostline",
    "text.color": _INK,
    "xtick.color": _DIM,
    "ytick.color": _DIM,
}


def write_curves(
    history: Sequence[Mapping[str, Any]], folder: Path, stages: Sequence[StageResult] = ()
) -> tuple[Path, Path] | None:
    """Draws loss and accuracy of every epoch of all stages, for training and validation images.

    Epochs are counted through all stages. An upright line stands where a stage begins, and a level
    one at the accuracy of the probe. Stages that were left out are shaded, and the epoch that was
    kept of each other one has a ring.

    Args:
        history: A run's history: lines of kind `train`, with `stage`, and `train_loss`,
            `train_accuracy`, `val_loss` and `val_accuracy` as far as they are there; and lines of
            kind `probe` with `val_accuracy`. What is absent or not finite leaves a gap.
        folder: Where `curves.png` and `curves.svg` go.
        stages: What each stage came to; without, none is marked.

    Returns:
        The two files; nothing where no epoch was trained.

    Raises:
        DiskError: Where the disk is full or refuses.
    """
    epochs = [line for line in history if line.get("kind") == "train"]
    if not epochs:
        return None
    probes = [line for line in history if line.get("kind") == "probe"]
    probe = _number(probes[-1].get("val_accuracy")) if probes else math.nan
    with drawing() as figure:
        loss, accuracy = figure.subplots(1, 2)
        figure.subplots_adjust(left=0.085, right=0.985, bottom=0.22, top=0.92, wspace=0.25)
        kept = {(one.number, one.best_epoch) for one in stages if one.kept}
        _curves(loss, epochs, "loss", kept)
        _curves(accuracy, epochs, "accuracy", kept)
        if math.isfinite(probe):
            shape = {key: _PROBE[key] for key in ("color", "linestyle")}
            accuracy.axhline(probe, linewidth=1.4, label="probe, val.", **shape)
            accuracy.plot([0], [probe], linestyle="", **_mark(_PROBE))
        for axes in (loss, accuracy):
            _stages(axes, epochs, {one.number for one in stages if not one.kept})
            _epoch_axis(axes, 0 if math.isfinite(probe) else 1, len(epochs))
            _finish(axes, label_at=-0.165)
        return save(figure, folder / "curves", "Loss and accuracy over the epochs")


def write_lr(
    rates: Sequence[float], losses: Sequence[float], suggestion: float, stem: Path
) -> tuple[Path, Path]:
    """Draws the smoothed loss over the learning rate, and marks the suggested one.

    Args:
        rates: The learning rates tried, above 0.
        losses: The smoothed loss at each, as many.
        suggestion: The learning rate to take.
        stem: Where the pictures go: `.png` and `.svg` are added to its name.

    Returns:
        The two files.

    Raises:
        DiskError: Where the disk is full or refuses.
    """
    with drawing() as figure:
        axes = figure.subplots()
        figure.subplots_adjust(left=0.085, right=0.985, bottom=0.22, top=0.96)
        axes.plot(rates, losses, color=_TRAIN["color"], label="smoothed loss")
        told = f"suggested: {suggestion:.2g}"
        axes.axvline(suggestion, color=_VAL["color"], linestyle="--", linewidth=1.4, label=told)
        nearest = min(range(len(rates)), key=lambda index: abs(rates[index] - suggestion))
        axes.plot([suggestion], [losses[nearest]], linestyle="", **_mark(_VAL, size=6))
        axes.set_xscale("log")
        axes.set(xlabel="learning rate", ylabel="loss", ylim=_room(losses))
        _finish(axes, label_at=-0.07)
        return save(figure, stem, "Loss over the learning rate")


def write_histogram(histogram: Mapping[str, Any], path: Path) -> None:
    """Draws how a tensor's values are distributed.

    Args:
        histogram: `name`, `edges` and `counts`, one edge more than counts.
        path: The PNG file to write.

    Raises:
        DiskError: Where it cannot be written.
    """
    edges, counts = histogram["edges"], histogram["counts"]
    with drawing() as figure:
        axes = figure.add_axes((0.1, 0.17, 0.86, 0.71))
        axes.stairs(counts, edges, fill=True, color=_TRAIN["color"])
        axes.set_title(histogram["name"].replace("$", r"\$"), fontsize=9.5, loc="left")
        axes.set_xlabel("value")
        axes.set_ylabel("how many")
        write_atomic(path, lambda place: figure.savefig(place, format="png"))


@contextlib.contextmanager
def drawing(size_in: tuple[float, float] = SIZE_IN) -> Iterator["Figure"]:
    """Gives an empty figure in our style; matplotlib's settings are as before afterwards."""
    import matplotlib
    from matplotlib.figure import Figure

    with matplotlib.rc_context(), warnings.catch_warnings():
        # Names of classes may have letters that the font has no picture of.
        warnings.filterwarnings("ignore", "Glyph .* missing from font", UserWarning)
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(_STYLE)
        yield Figure(figsize=size_in, dpi=DPI)


def save(figure: "Figure", stem: Path, title: str) -> tuple[Path, Path]:
    """Writes a figure as PNG and SVG; `.png` and `.svg` are added to the name of `stem`.

    Raises:
        DiskError: Where the disk is full or refuses.
    """
    png, svg = (stem.with_name(f"{stem.name}.{kind}") for kind in ("png", "svg"))
    write_atomic(png, lambda path: figure.savefig(path, format="png"))
    about = {"Title": title, "Date": None}
    write_atomic(svg, lambda path: figure.savefig(path, format="svg", metadata=about))
    return png, svg


def _curves(
    axes: "Axes",
    epochs: Sequence[Mapping[str, Any]],
    what: str,
    kept: Collection[tuple[int, int]],
) -> None:
    for part, name, style in (("train", "training", _TRAIN), ("val", "validation", _VAL)):
        values = [_number(line.get(f"{part}_{what}")) for line in epochs]
        if any(map(math.isfinite, values)):
            # A single epoch is a point, which no line shows.
            marker = style["marker"] if len(epochs) <= _MANY_POINTS else ""
            axes.plot(range(1, len(values) + 1), values, label=name, **{**style, "marker": marker})
    rings = [
        (number, _number(line.get(f"val_{what}")))
        for number, line in enumerate(epochs, start=1)
        if (line.get("stage"), line.get("epoch")) in kept
    ]
    rings = [ring for ring in rings if math.isfinite(ring[1])]
    if rings:
        look: dict[str, Any] = {
            "linestyle": "",
            "marker": "o",
            "markersize": 9,
            "markerfacecolor": "none",
        }
        axes.plot(*zip(*rings, strict=True), color=_INK, label="kept", **look)
    axes.set_ylabel(what)


def _stages(axes: "Axes", epochs: Sequence[Mapping[str, Any]], left_out: Collection[int]) -> None:
    """Marks where each stage begins, half an epoch before its first, and what was left out."""
    number = 1
    for stage, lines in itertools.groupby(epochs, key=lambda line: line.get("stage")):
        count = len(list(lines))
        axes.axvline(number - 0.5, color=_DIM, linewidth=0.9, linestyle=(0, (1, 3)))
        name = f"stage {stage}, left out" if stage in left_out else f"stage {stage}"
        if stage in left_out:
            axes.axvspan(number - 0.5, number + count - 0.5, color=_DIM, alpha=0.12, linewidth=0)
        axes.annotate(
            # A letter takes about a sixtieth of the width.
            name if count * 60 >= len(name) * len(epochs) else f"{stage}",
            (number - 0.5, 1.0),
            (3, 4),
            xycoords=("data", "axes fraction"),
            textcoords="offset points",
            color=_DIM,
            fontsize=8.5,
        )
        number += count


def _epoch_axis(axes: "Axes", first: int, last: int) -> None:
    from matplotlib.ticker import MaxNLocator

    axes.set_xlim(first - 0.6, last + 0.4)
    axes.xaxis.set_major_locator(MaxNLocator(nbins=9, integer=True, min_n_ticks=1))
    axes.set_xlabel("epoch, through all stages")


def _finish(axes: "Axes", label_at: float) -> None:
    """Puts the labels in place, and the legend below them, where it hides no curve.

    Labels have fixed places: matplotlib measures every tick to find them, at a fifth of the time.
    """
    axes.locator_params(axis="y", nbins=7)
    axes.yaxis.set_label_coords(label_at, 0.5)
    axes.xaxis.set_label_coords(0.5, -0.115)
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.14), ncols=4, **_LEGEND)


def _room(losses: Sequence[float]) -> tuple[float, float]:
    """Returns limits that show the fall: where training breaks, the loss leaves the picture."""
    low, first = min(losses), losses[0]
    top = min(max(losses), max(first, low) + 0.6 * (first - low) + 0.1 * abs(first))
    pad = 0.06 * (top - low) or 0.1
    return low - pad, top + pad


def _number(value: Any) -> float:
    return float(value) if isinstance(value, (int, float)) else math.nan


def _mark(style: Mapping[str, Any], size: float = 5) -> dict[str, Any]:
    return {"color": style["color"], "marker": style["marker"], "markersize": size}
