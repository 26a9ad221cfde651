"""Options of a recipe: the words of the command line, and of Python's keyword arguments.

One table for both, so that what one knows the other knows. `Options` names them with their types
for editors and type checkers; tests hold that it, the tables and the parser have the same names.
"""

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypedDict

from frostline.base.errors import RecipeError, did_you_mean, raise_all
from frostline.recipe.schema import Recipe
from frostline.recipe.toml import compose

# A setting is `KEY=VALUE`, or values by key.
Settings = str | Sequence[str] | Mapping[str, Any]

# What says something of a stage, by the name of the option.
OF_A_STAGE = {
    "line": "line",
    "epochs": "epochs",
    "lr": "lr",
    "suffix_lr": "suffix_lr",
    "optimizer": "optimizer",
    "batch_size": "batch_size",
    "weight_decay": "weight_decay",
    "batch_norm": "batch_norm",
}
# What says something of the recipe besides its stages, and the key that it sets.
OF_A_RECIPE = {
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
    "strict": "data.strict",
    "device": "compute.device",
    "precision": "compute.precision",
    "engine": "compute.engine",
    "cache": "compute.cache",
    "search": "search.enabled",
    "folds": "search.folds",
    "seeds": "seeds",
    "tracker": "watch.trackers",
    "histograms": "watch.histograms",
    "flip": "predict.flip",
}


@dataclass(frozen=True)
class Amount:
    """An option that is a number with its unit.

    Attributes:
        key: What it sets.
        units: The units that are known, in any one measure.
        scale: From that measure to the unit of the key.
        examples: Of what may be given.
    """

    key: str
    units: Mapping[str, float]
    scale: float
    examples: str


_SIZES = {"B": 1, "KB": 1e3, "MB": 1e6, "GB": 1e9, "KIB": 2**10, "MIB": 2**20, "GIB": 2**30}
_TIMES = {"s": 1 / 60, "m": 1.0, "min": 1.0, "h": 60.0}
AMOUNTS = {
    "disk": Amount("budget.disk_gib", _SIZES, 2**-30, "4GiB, 500MB"),
    "memory": Amount("budget.memory_gib", _SIZES, 2**-30, "4GiB, 500MB"),
    "time": Amount("budget.time_min", _TIMES, 1.0, "90s, 10m, 2h"),
}
NAMES = (*OF_A_STAGE, *OF_A_RECIPE, *AMOUNTS)


class Options(TypedDict, total=False):
    """The options by name. What is left out, or None, says nothing: the recipe stands."""

    line: str | int | None
    epochs: int | None
    lr: float | None
    suffix_lr: float | None
    optimizer: str | None
    batch_size: int | None
    weight_decay: float | None
    batch_norm: str | None
    backbone: str | None
    weights: str | os.PathLike[str] | None
    partial: bool | None
    image_px: int | None
    head: str | None
    pooling: str | None
    on: str | None
    targets: str | None
    separator: str | None
    layout: str | None
    levels: str | None
    max_megapixels: float | None
    sound: bool | None
    window_s: float | None
    augment: str | None
    views: int | None
    live: bool | None
    val: float | None
    test: float | None
    seed: int | None
    strict: bool | None
    device: str | None
    precision: str | None
    engine: str | None
    cache: str | None
    search: bool | None
    folds: int | None
    seeds: int | None
    tracker: str | Sequence[str] | None
    histograms: bool | None
    flip: bool | None
    disk: str | None
    memory: str | None
    time: str | None


def from_options(
    name: str | None, settings: Settings, options: Mapping[str, Any], prefix: str = ""
) -> Recipe:
    """Returns the recipe that options ask for.

    Args:
        name: A recipe's name or its file; None for the default, or for the one stage that the
            options describe.
        settings: Single values of the recipe, which go before the options.
        options: By name; None says nothing.
        prefix: What stands before a name in messages: `--` on the command line.

    Raises:
        RecipeError: Where an option is unknown, or what is asked does not hold; names all problems.
    """
    unknown = [name for name in options if name not in NAMES]
    problems = [f"no option is called {prefix}{one}.{did_you_mean(one, NAMES)}" for one in unknown]
    raise_all(RecipeError, "options", problems)
    asked = {key: _plain(value) for key, value in options.items() if value is not None}
    if isinstance(asked.get("tracker"), str):
        asked["tracker"] = [asked["tracker"]]
    given = {key: asked[option] for option, key in OF_A_RECIPE.items() if option in asked}
    for option, amount in AMOUNTS.items():
        if option in asked:
            given[amount.key] = _number(option, amount, asked[option], prefix)
    stage = {key: asked[option] for option, key in OF_A_STAGE.items() if option in asked}
    texts, values = _settings(settings)
    return compose(name, texts, given | values, stage)


def _settings(settings: Settings) -> tuple[Sequence[str], dict[str, Any]]:
    """Returns settings as texts, and as values by key: what is given by key need not be read."""
    if isinstance(settings, str):
        return [settings], {}
    if isinstance(settings, Mapping):
        return [], {str(key): _plain(value) for key, value in settings.items()}
    texts = list(settings)
    wrong = next((text for text in texts if not isinstance(text, str)), None)
    if wrong is not None:
        raise RecipeError(f"settings: must be KEY=VALUE, or a dict of values, not {wrong!r}.")
    return texts, {}


def _plain(value: Any) -> Any:
    """Returns a value as TOML has it: paths as text, NumPy's numbers and arrays as Python's."""
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if hasattr(value, "tolist"):
        return value.tolist()
    if isinstance(value, Mapping):
        return {str(key): _plain(part) for key, part in value.items()}
    return [_plain(part) for part in value] if isinstance(value, list | tuple) else value


def _number(option: str, amount: Amount, text: Any, prefix: str) -> float:
    """Returns a number with its unit as a number in the unit of the key."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?) *([A-Za-z]+)", str(text).strip())
    known = {unit.lower(): size for unit, size in amount.units.items()}
    unit = found[2].lower() if found else ""
    if found is None or unit not in known or float(found[1]) <= 0:
        raise RecipeError(
            f"{prefix}{option}: must be a number with its unit ({amount.examples}), not {text!r}."
        )
    return float(found[1]) * known[unit] * amount.scale
