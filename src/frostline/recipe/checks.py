"""Validation of a recipe's values; all problems are reported at once."""

import itertools
import math
import re
from collections.abc import Mapping
from functools import partial
from typing import Any

from frostline.base.errors import RecipeError, did_you_mean, raise_all
from frostline.recipe.head import problems_of_head
from frostline.recipe.schema import (
    BALANCES,
    CACHES,
    ENGINES,
    FILLS,
    FIXED,
    INITS,
    LAYOUTS,
    OF_PICTURES,
    OF_SOUNDS,
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
    Views,
)

# Larger counts are taken for typing errors.
MAX_COUNT = 1_000_000
_SHARE = re.compile(r"(-?\d+(?:\.\d+)?) ?%")
_LAST_BLOCKS = re.compile(r"last [1-9]\d{0,5} blocks?")
_NUMBER = re.compile(r"-?\d")
_LEVEL = r"(?:(?:float|u?int\d{1,2})=)?[-+.\deE]+:[-+.\deE]+"
_LEVELS = re.compile(rf"{_LEVEL}(?: *, *{_LEVEL})*")
_DEVICE = re.compile(r"auto|cpu|cuda(:\d+)?")


def validate(recipe: Recipe, where: str = "recipe") -> None:
    """Checks every value.

    Args:
        recipe: The recipe.
        where: Its file, or another name for the message.

    Raises:
        RecipeError: If any value is invalid; names all problems.
    """
    raise_all(RecipeError, where, problems_of(recipe))


def problems_of(recipe: Recipe) -> list[str]:
    """Returns all problems of a recipe, one sentence each."""
    problems: list[str] = []
    _check_data_and_head(recipe, problems)
    _check_views(recipe.views, problems)
    _check_sound(recipe, problems)
    _check_compute(recipe, problems)
    problems += problems_of_head(recipe.head)
    _check_watch(recipe, problems)
    tables = [layer for layer in recipe.head.layers if isinstance(layer, Mapping)]
    kinds = [(layer.get("type"), layer.get("kind")) for layer in tables]
    for number, stage in enumerate(recipe.stages):
        _check_stage(stage, f"stages.{number}.", ("norm", "batch") in kinds, problems)
    _check_order([stage.line.strip() for stage in recipe.stages], problems)
    return problems


def _require(problems: list[str], is_valid: bool, key: str, rule: str, got: Any) -> None:
    """Adds a problem unless `is_valid`: "KEY must be RULE, not GOT."."""
    if not is_valid:
        problems.append(f"{key} must be {rule}, not {got!r}.")


def _check_choice(problems: list[str], key: str, got: str, known: tuple[str, ...]) -> None:
    if got not in known:
        problems.append(
            f"{key} must be one of {', '.join(known)}, not {got!r}.{did_you_mean(got, known)}"
        )


def _check_data_and_head(recipe: Recipe, problems: list[str]) -> None:
    require = partial(_require, problems)
    data, head = recipe.data, recipe.head
    require(0 <= recipe.seed < 2**32, "seed", "0 to 4294967295", recipe.seed)
    rule = "1 to 100, with seed + seeds at most 4294967296"
    # Of a seed that cannot be, nothing more is said.
    last = min(recipe.seed, 2**32 - 1) + recipe.seeds - 1
    is_count = 1 <= recipe.seeds <= 100 and last < 2**32
    require(is_count, "seeds", rule, recipe.seeds)
    require(0 <= data.val < 1, "data.val", "a share in [0, 1)", data.val)
    require(0 <= data.test < 1, "data.test", "a share in [0, 1)", data.test)
    both = data.val + data.test
    require(both < 1 or max(data.val, data.test) >= 1, "data.val + data.test", "below 1", both)
    _check_choice(problems, "data.targets", data.targets, TARGETS)
    _check_choice(problems, "data.layout", data.layout, LAYOUTS)
    one_sign = len(data.separator) == 1 and not data.separator.isalnum()
    sign = "auto, space, or a single sign such as | or /"
    require(data.separator in ("auto", "space") or one_sign, "data.separator", sign, data.separator)
    ranges = "auto, BLACK:WHITE such as 0:4095, or KIND=BLACK:WHITE,… such as uint16=0:4095"
    require(
        data.levels == "auto" or bool(_LEVELS.fullmatch(data.levels)),
        "data.levels",
        ranges,
        data.levels,
    )
    most = data.max_megapixels
    require(0 <= most <= 65_536, "data.max_megapixels", "0 (the decoder's limits) to 65536", most)
    image_px = recipe.backbone.image_px
    require(
        image_px == 0 or 16 <= image_px <= 4096, "backbone.image_px", "0 or 16 to 4096", image_px
    )
    _check_choice(problems, "head.pooling", head.pooling, POOLINGS)
    _check_choice(problems, "head.start", head.start, STARTS)
    most, rule = (0, "0, as no probe is fitted") if head.start == "random" else (1000, "0 to 1000")
    require(0 <= head.probe_views <= most, "head.probe_views", rule, head.probe_views)
    _check_choice(problems, "head.init", head.init, INITS)


def _check_views(views: Views, problems: list[str]) -> None:
    require = partial(_require, problems)
    require(
        0 <= views.count <= 1000, "views.count", "0 (let the planner choose) to 1000", views.count
    )
    require(0 <= views.refresh <= 1, "views.refresh", "a share in [0, 1]", views.refresh)
    _check_choice(problems, "views.preset", views.preset, PRESETS)
    for name, top, what in (
        ("rotate", 180.0, "degrees in [0, 180]"),
        ("shift", 1.0, "a share in [0, 1]"),
        ("shear", 1.0, "a share in [0, 1]"),
        ("zoom", 0.9, "a share in [0, 0.9]"),
        ("color", 1.0, "a share in [0, 1]"),
        ("gain", 40.0, "decibels in [0, 40]"),
        ("noise", 1.0, "a share in [0, 1]"),
        ("masks", 0.5, "a share in [0, 0.5]"),
    ):
        value = getattr(views, name)
        require(value is None or 0 <= value <= top, f"views.{name}", what, value)
    require(
        views.crop is None or 0 < views.crop <= 1, "views.crop", "a share in (0, 1]", views.crop
    )
    if views.fill is not None:
        _check_choice(problems, "views.fill", views.fill, FILLS)


def _check_sound(recipe: Recipe, problems: list[str]) -> None:
    """Checks that sounds are varied as sounds, and pictures as pictures."""
    data, views, found = recipe.data, recipe.views, len(problems)
    in_range = data.window_s == 0 or 0.1 <= data.window_s <= 600
    rule = "0 (the network's own) or 0.1 to 600"
    _require(problems, in_range, "data.window_s", rule, data.window_s)
    if data.window_s and not data.sound and len(problems) == found:
        problems.append("data.window_s: goes with sounds; add data.sound = true (--sound).")
    foreign, kind = (OF_PICTURES, "pictures") if data.sound else (OF_SOUNDS, "sounds")
    own = OF_SOUNDS if data.sound else OF_PICTURES
    problems += [
        f"views.{name}: varies {kind}, and these are not; leave it out. Known are {', '.join(own)}."
        for name in foreign
        if name not in own
        and getattr(views, name)
        and not any(one.startswith(f"views.{name} ") for one in problems)
    ]
    if data.sound and recipe.predict.flip:
        problems.append("predict.flip: a sound has no mirror image. Leave it out.")


def _check_compute(recipe: Recipe, problems: list[str]) -> None:
    require = partial(_require, problems)
    compute = recipe.compute
    _check_choice(problems, "compute.precision", compute.precision, PRECISIONS)
    _check_choice(problems, "compute.cache", compute.cache, CACHES)
    _check_choice(problems, "compute.engine", compute.engine, ENGINES)
    _check_live_views(recipe, problems)
    require(
        bool(_DEVICE.fullmatch(compute.device)),
        "compute.device",
        "auto, cpu, cuda or cuda:N",
        compute.device,
    )
    most = recipe.search.candidates
    require(0 <= most <= 100, "search.candidates", "0 (as many as the time allows) to 100", most)
    folds = recipe.search.folds
    require(
        0 <= folds <= 100, "search.folds", "0 (where images are few), 1 (none) or 2 to 100", folds
    )
    for name in recipe.search.fixed:
        _check_choice(problems, "search.fixed", name, FIXED)
    for number, stage in enumerate(recipe.stages if recipe.search.enabled else ()):
        for name, value in (("steps", stage.steps), ("stop_after", stage.stop_after)):
            rule = "0, as a search counts whole epochs; --no-search keeps others"
            _require(problems, value == 0, f"stages.{number}.{name}", rule, value)
    if recipe.search.enabled and len(recipe.stages) > 1:
        problems.append(
            "search.enabled: a search varies a recipe's only stage, and this recipe has "
            f"{len(recipe.stages)}. Leave one, or write search.enabled = false (--no-search)."
        )
    for name in ("disk_gib", "memory_gib", "time_min"):
        value = getattr(recipe.budget, name)
        require(value is None or value > 0, f"budget.{name}", "above 0", value)


def _check_live_views(recipe: Recipe, problems: list[str]) -> None:
    views, compute = recipe.views, recipe.compute
    if views.live and compute.cache == "always":
        problems.append(
            'views.live makes new views in every epoch, which compute.cache = "always" cannot '
            "store. Leave one of them out."
        )
    values = {key: value for key, value in views.policy().items() if key != "fill"}
    varied = views.preset != "none" or any(
        value != 1 if key == "crop" else value for key, value in values.items()
    )
    if views.live and not varied and compute.cache != "always":
        problems.append(
            "views.live makes new views in every epoch, and nothing varies them. Name a "
            "views.preset (--augment), or what is to vary."
        )
    if views.live and views.refresh:
        problems.append(
            "views.refresh replaces cached views, and views.live caches none. Leave one out."
        )


def _check_watch(recipe: Recipe, problems: list[str]) -> None:
    watch = recipe.watch
    for number, name in enumerate(watch.trackers):
        _check_choice(problems, f"watch.trackers.{number}", name, TRACKERS)
    if watch.histograms and "tensorboard" not in watch.trackers:
        problems.append(
            "watch.histograms: only TensorBoard takes them; add it to watch.trackers "
            "(--tracker tensorboard)."
        )


def _check_line(line: str, prefix: str, problems: list[str]) -> None:
    """Checks the syntax of a line; whether the network has it is checked once it is open."""
    share = _SHARE.fullmatch(line.strip())
    _require(
        problems,
        not share or 0 <= float(share[1]) <= 100,
        f"{prefix}line",
        "a share from 0% to 100%",
        line,
    )
    blocks = line.strip().startswith("last ")
    _require(
        problems,
        not blocks or bool(_LAST_BLOCKS.fullmatch(line.strip())),
        f"{prefix}line",
        "last N blocks, with N from 1 on",
        line,
    )


def _check_order(lines: list[str], problems: list[str]) -> None:
    """Checks that lines never move up, as far as that follows from their spelling alone."""
    for number, (before, line) in enumerate(itertools.pairwise(lines), start=1):
        # An index or a share may also resolve to `pixels`.
        from_pixels = before == "pixels" and line != "pixels" and not _NUMBER.match(line)
        fewer = _blocks(before) > (0 if line == "top" else _blocks(line) or math.inf)
        if from_pixels or fewer:
            problems.append(
                f"stages.{number}.line must not lie above that of stages.{number - 1}, {before!r}, "
                f"and {line!r} does: what was thawed is not frozen again."
            )


def _blocks(line: str) -> int:
    """Returns N of `last N blocks`, 0 for any other line."""
    return int(line.split()[1]) if _LAST_BLOCKS.fullmatch(line) else 0


def _check_stage(stage: Stage, prefix: str, has_norms: bool, problems: list[str]) -> None:
    def require(is_valid: bool, key: str, rule: str, got: Any) -> None:
        _require(problems, is_valid, prefix + key, rule, got)

    require(bool(stage.line.strip()), "line", "a line's name", stage.line)
    _check_line(stage.line, prefix, problems)
    require(stage.epochs >= 1, "epochs", "at least 1", stage.epochs)
    require(stage.steps >= 0, "steps", "at least 0", stage.steps)
    require(0 < stage.lr < 100, "lr", "above 0 and below 100", stage.lr)
    require(0 < stage.suffix_lr <= 10, "suffix_lr", "in (0, 10]", stage.suffix_lr)
    require(0 < stage.layer_decay <= 1, "layer_decay", "in (0, 1]", stage.layer_decay)
    _check_choice(problems, prefix + "optimizer", stage.optimizer, OPTIMIZERS)
    _check_choice(problems, prefix + "schedule", stage.schedule, SCHEDULES)
    _check_choice(problems, prefix + "batch_norm", stage.batch_norm, ("frozen", "train"))
    _check_choice(problems, prefix + "balance", stage.balance, BALANCES)
    _check_choice(problems, prefix + "select", stage.select, SELECTS)
    require(0 <= stage.warmup < 1, "warmup", "a share in [0, 1)", stage.warmup)
    require(stage.weight_decay >= 0, "weight_decay", "at least 0", stage.weight_decay)
    # Batches are as even as possible, so with at most three images each has at least two.
    smallest = 3 if has_norms or stage.batch_norm == "train" else 1
    rule = f"at least {smallest}"
    if smallest > 1:
        trains = stage.batch_norm == "train"
        rule += f" where {'batch norms are trained' if trains else 'head.layers has a batch norm'}"
    require(stage.batch_size >= smallest, "batch_size", rule, stage.batch_size)
    require(stage.accumulate >= 1, "accumulate", "at least 1", stage.accumulate)
    require(stage.clip >= 0, "clip", "at least 0", stage.clip)
    require(0 <= stage.ema < 1, "ema", "in [0, 1)", stage.ema)
    most = 0 if stage.steps else stage.epochs
    rule = f"0 to {most}, the stage's epochs" if most else "0, since the stage counts steps"
    require(0 <= stage.stop_after <= most, "stop_after", rule, stage.stop_after)
    require(stage.patience >= 0, "patience", "at least 0", stage.patience)
    for name in ("epochs", "steps", "batch_size", "accumulate", "patience"):
        value = getattr(stage, name)
        require(value <= MAX_COUNT, name, f"at most {MAX_COUNT:,}", value)
    require(0 <= stage.label_smoothing < 1, "label_smoothing", "in [0, 1)", stage.label_smoothing)
    is_share = stage.dropout is None or 0 <= stage.dropout < 1
    require(is_share, "dropout", "in [0, 1)", stage.dropout)
    require(
        stage.mixup == 0 or 0.001 <= stage.mixup <= 10, "mixup", "0, or in [0.001, 10]", stage.mixup
    )
    require(0 <= stage.noise <= 10, "noise", "in [0, 10]", stage.noise)
