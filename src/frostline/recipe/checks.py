"""Whether a recipe's values hold; every problem is found at once."""

import itertools
import math
import re
from collections.abc import Mapping
from typing import Any

from frostline.base.errors import RecipeError, did_you_mean, raise_all
from frostline.recipe.head import problems_of_head
from frostline.recipe.schema import (
    BALANCES,
    CACHES,
    ENGINES,
    FILLS,
    INITS,
    OPTIMIZERS,
    POOLINGS,
    PRECISIONS,
    PRESETS,
    SCHEDULES,
    SELECTS,
    STARTS,
    TARGETS,
    TRACKERS,
    Recipe,
    Stage,
)

# More than this is a slip of the pen.
MOST = 1_000_000
_SHARE = re.compile(r"(-?\d+(?:\.\d+)?) ?%")
_LAST_BLOCKS = re.compile(r"last [1-9]\d{0,5} blocks?")
_NUMBER = re.compile(r"-?\d")
_DEVICE = re.compile(r"auto|cpu|cuda(:\d+)?")


def validate(recipe: Recipe, where: str = "recipe") -> None:
    """Checks every value.

    Args:
        recipe: The recipe.
        where: Its file, or what else to name in the message.

    Raises:
        RecipeError: Naming every problem at once.
    """
    raise_all(RecipeError, where, problems_of(recipe))


def problems_of(recipe: Recipe) -> list[str]:
    """Returns what does not hold, one sentence each."""
    found: list[str] = []
    _check_parts(recipe, found)
    found += problems_of_head(recipe.head)
    _check_watch(recipe, found)
    tables = [one for one in recipe.head.layers if isinstance(one, Mapping)]
    kinds = [(one.get("type"), one.get("kind")) for one in tables]
    for number, stage in enumerate(recipe.stages):
        _check_stage(stage, f"stages.{number}.", ("norm", "batch") in kinds, found)
    _check_order([stage.line.strip() for stage in recipe.stages], found)
    return found


def _must(found: list[str], holds: bool, key: str, rule: str, got: Any) -> None:
    if not holds:
        found.append(f"{key} must be {rule}, not {got!r}.")


def _choice(found: list[str], key: str, got: str, known: tuple[str, ...]) -> None:
    if got not in known:
        found.append(
            f"{key} must be one of {', '.join(known)}, not {got!r}.{did_you_mean(got, known)}"
        )


def _check_parts(recipe: Recipe, found: list[str]) -> None:
    def must(holds: bool, key: str, rule: str, got: Any) -> None:
        _must(found, holds, key, rule, got)

    data, head, views, compute = recipe.data, recipe.head, recipe.views, recipe.compute
    must(0 <= recipe.seed < 2**32, "seed", "0 to 4294967295", recipe.seed)
    must(0 <= data.val < 1, "data.val", "a share in [0, 1)", data.val)
    must(0 <= data.test < 1, "data.test", "a share in [0, 1)", data.test)
    both = data.val + data.test
    must(both < 1 or max(data.val, data.test) >= 1, "data.val + data.test", "below 1", both)
    _choice(found, "data.targets", data.targets, TARGETS)
    image_px = recipe.backbone.image_px
    must(image_px == 0 or 16 <= image_px <= 4096, "backbone.image_px", "0 or 16 to 4096", image_px)
    _choice(found, "head.pooling", head.pooling, POOLINGS)
    _choice(found, "head.start", head.start, STARTS)
    _choice(found, "head.init", head.init, INITS)
    must(0 <= views.count <= 1000, "views.count", "0 (let the planner choose) to 1000", views.count)
    must(0 <= views.refresh <= 1, "views.refresh", "a share in [0, 1]", views.refresh)
    _choice(found, "views.preset", views.preset, PRESETS)
    for name, top, what in (
        ("rotate", 180.0, "degrees in [0, 180]"),
        ("shift", 1.0, "a share in [0, 1]"),
        ("shear", 1.0, "a share in [0, 1]"),
        ("zoom", 0.9, "a share in [0, 0.9]"),
        ("color", 1.0, "a share in [0, 1]"),
    ):
        value = getattr(views, name)
        must(value is None or 0 <= value <= top, f"views.{name}", what, value)
    must(views.crop is None or 0 < views.crop <= 1, "views.crop", "a share in (0, 1]", views.crop)
    if views.fill is not None:
        _choice(found, "views.fill", views.fill, FILLS)
    _choice(found, "compute.precision", compute.precision, PRECISIONS)
    _choice(found, "compute.cache", compute.cache, CACHES)
    _choice(found, "compute.engine", compute.engine, ENGINES)
    if views.live and compute.cache == "always":
        found.append(
            'views.live makes new views in every epoch, which compute.cache = "always" cannot '
            "keep. Leave one of them out."
        )
    values = {key: value for key, value in views.policy().items() if key != "fill"}
    varied = views.preset != "none" or any(
        value != 1 if key == "crop" else value for key, value in values.items()
    )
    if views.live and not varied and compute.cache != "always":
        found.append(
            "views.live makes new views in every epoch, and nothing varies them. Name a "
            "views.preset (--augment), or what is to vary."
        )
    if views.live and views.refresh:
        found.append("views.refresh is of kept views, and views.live keeps none. Leave one out.")
    must(
        bool(_DEVICE.fullmatch(compute.device)),
        "compute.device",
        "auto, cpu, cuda or cuda:N",
        compute.device,
    )
    most = recipe.search.candidates
    must(0 <= most <= 100, "search.candidates", "0 (as many as the time allows) to 100", most)
    if recipe.search.enabled and len(recipe.stages) != 1:
        found.append(
            "search.enabled: a search varies a recipe's only stage, and this recipe has "
            f"{len(recipe.stages)}. Leave one, or write search.enabled = false (--no-search)."
        )
    for name in ("disk_gib", "memory_gib", "time_min"):
        value = getattr(recipe.budget, name)
        must(value is None or value > 0, f"budget.{name}", "above 0", value)


def _check_watch(recipe: Recipe, found: list[str]) -> None:
    watch = recipe.watch
    for number, name in enumerate(watch.trackers):
        _choice(found, f"watch.trackers.{number}", name, TRACKERS)
    if watch.histograms and "tensorboard" not in watch.trackers:
        found.append(
            "watch.histograms: only TensorBoard takes them; add it to watch.trackers "
            "(--tracker tensorboard)."
        )


def _check_line(line: str, at: str, found: list[str]) -> None:
    """Checks words for lines; whether a network has such a line is for the network to say."""
    share = _SHARE.fullmatch(line.strip())
    _must(
        found,
        not share or 0 <= float(share[1]) <= 100,
        f"{at}line",
        "a share from 0% to 100%",
        line,
    )
    blocks = line.strip().startswith("last ")
    _must(
        found,
        not blocks or bool(_LAST_BLOCKS.fullmatch(line.strip())),
        f"{at}line",
        "last N blocks, with N from 1 on",
        line,
    )


def _check_order(lines: list[str], found: list[str]) -> None:
    """Checks that lines do not go up where words alone are sure; the network tells the rest."""
    for number, (before, line) in enumerate(itertools.pairwise(lines), start=1):
        # An index or a share may come to `pixels` too.
        from_pixels = before == "pixels" and line != "pixels" and not _NUMBER.match(line)
        fewer = _blocks(before) > (0 if line == "top" else _blocks(line) or math.inf)
        if from_pixels or fewer:
            found.append(
                f"stages.{number}.line must not lie above that of stages.{number - 1}, {before!r}, "
                f"and {line!r} does: what was thawed is not frozen again."
            )


def _blocks(line: str) -> int:
    """Returns N of `last N blocks`, else 0."""
    return int(line.split()[1]) if _LAST_BLOCKS.fullmatch(line) else 0


def _check_stage(stage: Stage, at: str, has_norms: bool, found: list[str]) -> None:
    def must(holds: bool, key: str, rule: str, got: Any) -> None:
        _must(found, holds, at + key, rule, got)

    must(bool(stage.line.strip()), "line", "a line's name", stage.line)
    _check_line(stage.line, at, found)
    must(stage.epochs >= 1, "epochs", "at least 1", stage.epochs)
    must(stage.steps >= 0, "steps", "at least 0", stage.steps)
    must(0 < stage.lr < 100, "lr", "above 0 and below 100", stage.lr)
    must(0 < stage.suffix_lr <= 10, "suffix_lr", "in (0, 10]", stage.suffix_lr)
    must(0 < stage.layer_decay <= 1, "layer_decay", "in (0, 1]", stage.layer_decay)
    _choice(found, at + "optimizer", stage.optimizer, OPTIMIZERS)
    _choice(found, at + "schedule", stage.schedule, SCHEDULES)
    _choice(found, at + "batch_norm", stage.batch_norm, ("frozen", "train"))
    _choice(found, at + "balance", stage.balance, BALANCES)
    _choice(found, at + "select", stage.select, SELECTS)
    must(0 <= stage.warmup < 1, "warmup", "a share in [0, 1)", stage.warmup)
    must(stage.weight_decay >= 0, "weight_decay", "at least 0", stage.weight_decay)
    # Batches are made as even as can be, so those of three at most have two images at least.
    least = 3 if has_norms or stage.batch_norm == "train" else 1
    rule = f"at least {least}"
    if least > 1:
        is_told = stage.batch_norm == "train"
        rule += f" where {'batch norms are trained' if is_told else 'head.layers has a batch norm'}"
    must(stage.batch_size >= least, "batch_size", rule, stage.batch_size)
    must(stage.accumulate >= 1, "accumulate", "at least 1", stage.accumulate)
    must(stage.clip >= 0, "clip", "at least 0", stage.clip)
    must(0 <= stage.ema < 1, "ema", "in [0, 1)", stage.ema)
    must(stage.patience >= 0, "patience", "at least 0", stage.patience)
    for name in ("epochs", "steps", "batch_size", "accumulate", "patience"):
        value = getattr(stage, name)
        must(value <= MOST, name, f"at most {MOST:,}", value)
    must(0 <= stage.label_smoothing < 1, "label_smoothing", "in [0, 1)", stage.label_smoothing)
    is_share = stage.dropout is None or 0 <= stage.dropout < 1
    must(is_share, "dropout", "in [0, 1)", stage.dropout)
    must(
        stage.mixup == 0 or 0.001 <= stage.mixup <= 10, "mixup", "0, or in [0.001, 10]", stage.mixup
    )
    must(0 <= stage.noise <= 10, "noise", "in [0, 10]", stage.noise)
