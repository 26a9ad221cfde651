"""Options of the command line as a recipe."""

import re
from argparse import Namespace
from typing import TYPE_CHECKING

from frostline.base.errors import FrostlineError

if TYPE_CHECKING:
    from frostline.recipe import Recipe

_STAGE_OPTIONS = {
    "line": "line",
    "epochs": "epochs",
    "lr": "lr",
    "suffix_lr": "suffix_lr",
    "optimizer": "optimizer",
    "batch_size": "batch_size",
    "weight_decay": "weight_decay",
    "batch_norm": "batch_norm",
}
_OPTIONS = {
    "backbone": "backbone.name",
    "weights": "backbone.weights",
    "partial": "backbone.partial",
    "image_px": "backbone.image_px",
    "head": "head.spec",
    "pooling": "head.pooling",
    "on": "head.on",
    "targets": "data.targets",
    "separator": "data.separator",
    "layout": "data.layout",
    "levels": "data.levels",
    "max_megapixels": "data.max_megapixels",
    "sound": "data.sound",
    "window_s": "data.window_s",
    "augment": "views.preset",
    "views": "views.count",
    "live": "views.live",
    "val": "data.val",
    "test": "data.test",
    "seed": "seed",
    "seeds": "seeds",
    "folds": "search.folds",
    "search": "search.enabled",
    "strict": "data.strict",
    "device": "compute.device",
    "precision": "compute.precision",
    "engine": "compute.engine",
    "cache": "compute.cache",
    "tracker": "watch.trackers",
    "histograms": "watch.histograms",
    "flip": "predict.flip",
}
_SIZES = {"B": 1, "KB": 1e3, "MB": 1e6, "GB": 1e9, "KIB": 2**10, "MIB": 2**20, "GIB": 2**30}
_TIMES = {"s": 1 / 60, "m": 1.0, "min": 1.0, "h": 60.0}


def recipe_of(arguments: Namespace) -> "Recipe":
    """Returns the recipe that the options ask for.

    Raises:
        RecipeError: Naming every problem.
    """
    from frostline import recipe

    typed = vars(arguments)
    # A command need not have all of them.
    given = {key: typed[name] for name, key in _OPTIONS.items() if typed.get(name) is not None}
    given |= {
        f"budget.{key}": value
        for key, value in (
            ("disk_gib", _amount("--disk", typed["disk"], _SIZES, 2**-30)),
            ("memory_gib", _amount("--memory", typed["memory"], _SIZES, 2**-30)),
            ("time_min", _amount("--time", typed["time"], _TIMES, 1.0)),
        )
        if value is not None
    }
    stage = {
        key: typed[name] for name, key in _STAGE_OPTIONS.items() if typed.get(name) is not None
    }
    return recipe.compose(arguments.recipe, arguments.set, given, stage)


def _amount(option: str, text: str | None, units: dict[str, float], scale: float) -> float | None:
    """Returns a number with its unit as a plain number."""
    if text is None:
        return None
    found = re.fullmatch(r"(\d+(?:\.\d+)?) *([A-Za-z]+)", text.strip())
    unit = found[2] if found else ""
    known = {name.lower(): size for name, size in units.items()}
    if found is None or unit.lower() not in known or float(found[1]) <= 0:
        example = "4GiB, 500MB" if option != "--time" else "90s, 10m, 2h"
        raise FrostlineError(f"{option}: must be a number with its unit ({example}), not {text!r}.")
    return float(found[1]) * known[unit.lower()] * scale
