"""What the engines and stages of a recipe are measured to take."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import torch

from frostline.activations import engines, extraction, sources
from frostline.activations.cache.fill import check_finite
from frostline.activations.cut_network import row_bytes
from frostline.activations.extraction import ImageView
from frostline.activations.sources import image_views_of
from frostline.base.errors import BackboneError, EngineError
from frostline.frost import Line
from frostline.images.augment import View
from frostline.images.listing import Listing
from frostline.model import classifier
from frostline.model.classifier import Classifier
from frostline.planner import measure
from frostline.planner.options import (
    PlanInputs,
    Throughput,
    counts_of,
    has_rows,
    is_kept,
    options_of,
    pass_line,
    rows_at,
    training_s,
)

AUTO = "auto"
SAMPLE = 64
# Below so many seconds of the eager engine's work, no conversion is worth trying: it takes some
# seconds, and two to three times the speed is what can be hoped for.
WORTH_CONVERTING_S = 12.0


def with_engine(model: Classifier, name: str, cache: Path) -> Classifier:
    """Returns the network with its prefix run by the engine of that name.

    Raises:
        BackboneError: Where it cannot run this network.
    """
    shape = model.preprocessing.input_shape
    return replace(model, engine=engines.make(name, model.engine, shape, cache / "engines"))


def line_choices(case: PlanInputs, lines: Sequence[Line]) -> Iterator[tuple[Line, ...]]:
    """Yields where the stages' lines may lie: as asked, then `auto` ones higher and higher.

    None is moved above the line of an earlier stage.
    """
    yield tuple(lines)
    autos = [i for i, stage in enumerate(case.wanted.stages) if stage.line == AUTO]
    if not autos:
        return
    first = autos[0]
    bound = lines[first - 1] if first else case.model.top
    higher = [
        line
        for line in (*case.model.traced.lines, bound)
        if (line.block or line == bound) and lines[first].index < line.index <= bound.index
    ]
    for line in dict.fromkeys(higher):
        placed: list[Line] = []
        for i, one in enumerate(lines):
            wanted = line if i in autos else one
            placed.append(min([wanted, *placed[-1:]], key=lambda line: line.index))
        yield tuple(placed)


def measure_throughput(case: PlanInputs, lines: tuple[Line, ...]) -> Iterator[Throughput]:
    """Measures the engines that come into question, the one that is always there first."""
    base = classifier.recut(case.model, pass_line(case, lines))
    asked = case.wanted.compute.engine
    eager = _measure(case, base, lines, "eager" if asked == "auto" else asked, 0.0, None)
    yield eager
    others = [name for name in engines.candidates(base.engine.device) if name != "eager"]
    if asked != "auto" or base.engine.module is None:
        return
    # With the most views, the way that is soonest so far.
    options = [one for one in options_of(case, eager) if one.views == max(counts_of(case))]
    work_s = min(one.total_s - training_s(case, eager) for one in options)
    for name in others:
        if work_s > WORTH_CONVERTING_S or (work_s and has_rows(case, base, name)):
            begun = time.perf_counter()
            try:
                other = with_engine(base, name, case.cache)
            except BackboneError as error:
                case.console.detail(f"engine {name} is left out: {error}")
                continue
            setup_s = time.perf_counter() - begun
            yield _measure(case, other, lines, name, setup_s, eager)


def _measure(
    case: PlanInputs,
    base: Classifier,
    lines: tuple[Line, ...],
    engine: str,
    setup_s: float,
    other: Throughput | None,
) -> Throughput:
    if other is None and engine != "eager":
        begun = time.perf_counter()
        base = with_engine(base, engine, case.cache)
        setup_s = time.perf_counter() - begun
    # Without deriving, later lines may have something left to compute.
    has_later = len(rows_at(case, base.line, lines, 1)) > 1
    all_kept = (case.wanted.compute.derive or not has_later) and is_kept(case, base)
    # What is derived may have no room, and then something must be known of the other ways.
    all_kept = all_kept and case.wanted.budget.disk_gib is None
    center, varied = sample_views(case)
    if other is not None and all_kept:
        # Not a single forward pass where none is left to do.
        return replace(
            other, base=base, engine=engine, setup_s=setup_s, center_s=0.0, view_s=0.0, kept=True
        )
    if other is not None:
        view_s = 1 / measure.rows_per_s(base, varied or center)
        # What varying takes is the same for all engines.
        center_s = max(view_s - (other.view_s - other.center_s), view_s / 2)
        return replace(
            other, base=base, engine=engine, setup_s=setup_s, center_s=center_s, view_s=view_s
        )
    center_s = 0.0 if all_kept else 1 / measure.rows_per_s(base, center)
    view_s = 1 / measure.rows_per_s(base, varied) if varied and not all_kept else center_s
    later = {line.index: line for line in (*lines, case.model.top) if line != base.line}
    above = {index: classifier.recut(base, line) for index, line in later.items()}
    derive_s = {index: measure.derived_s(model, base.line) for index, model in above.items()}
    cut = {base.line.index: base, **above}
    steps = tuple(
        measure.step(cut[line.index], stage, len(case.listing.of("train")))
        for line, stage in zip(lines, case.wanted.stages, strict=True)
    )
    decode_s = 0.0 if all_kept else 1 / measure.decoded_per_s(base, varied or center)
    return Throughput(
        base=base,
        lines=lines,
        engine=engine,
        setup_s=setup_s,
        center_s=center_s,
        view_s=view_s,
        decode_s=decode_s,
        derive_s=derive_s,
        steps=steps,
        keys={index: sources.cache_key(model) for index, model in cut.items()},
        sizes={index: row_bytes(model) for index, model in cut.items()},
        kept=all_kept,
    )


def row_seconds(model: Classifier, listing: Listing) -> float:
    """Returns the seconds from an image file to its activation, by the engine that is there."""
    rows = listing.of("train") or listing.usable
    some = rows[:: max(1, len(rows) // SAMPLE)][:SAMPLE]
    return 1 / measure.rows_per_s(model, list(image_views_of(some).values()))


def sample_views(case: PlanInputs) -> tuple[list[ImageView], list[ImageView]]:
    """Returns items as the first pass will have them: centers, and views of training images."""
    rows = case.listing.of("train") or case.listing.usable
    some = rows[:: max(1, len(rows) // SAMPLE)][:SAMPLE]
    center = list(image_views_of(some).values())
    if not case.policy.varies:
        return center, []
    views = [View(number, case.policy) for number in range(2)]
    return center, list(image_views_of(some, views).values())


def check_engine(case: PlanInputs, base: Classifier) -> None:
    """Compares an engine with float32 on real images; where all is kept, that was done before.

    Args:
        case: Whose images to take.
        base: The network, with the engine.

    Raises:
        EngineError: Where it does not agree.
    """
    if base.engine.module is None or is_kept(case, base):
        return
    items = sample_views(case)[0][: extraction.BATCH]
    how = base.preprocessing
    is_pixels = base.line.name == "pixels"
    exact = engines.exact(base.prefix, how, base.engine.device, is_pixels)
    pixels = [part for _, part, _ in extraction.pixels(items, how) if part is not None]
    if not pixels:
        return
    batch = torch.cat(pixels)
    got = base.engine(batch)
    check_finite(got, base.line.node, base.engine.name)
    found = engines.agreement(exact(batch), got, base.engine.compute)
    if not found.agrees:
        advice = "Use --precision fp32."
        if base.engine.compute == torch.float32:
            advice = (
                "Choose another --line."
                if base.engine.name.startswith("eager")
                else "Use --engine eager."
            )
        limit = engines.TOLERANCE[base.engine.compute]
        raise EngineError(
            f"engine {base.engine.name}: its activations at {base.line.name} differ from those in "
            f"float32 by {found.turn:.2g} across and {found.scale:.2g} along them (at most "
            f"{limit.turn:g} and {limit.scale:g}). {advice}"
        )
    most = engines.TOLERANCE[base.engine.compute].turn
    case.console.detail(
        f"engine {base.engine.name}: agrees with float32 to {found.turn:.1%} on "
        f"{len(batch)} {case.listing.nouns.row}s (at most {most:.0%})"
    )
