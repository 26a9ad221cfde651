"""Options: the same names, and the same recipe, on the command line and in Python."""

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from frostline import recipe
from frostline.base.errors import RecipeError
from frostline.cli.options import recipe_of
from frostline.cli.parser import make_parser
from frostline.recipe.options import NAMES, Options, from_options

# An option as Python has it, and as it is typed.
SAMPLES: dict[str, tuple[Any, list[str]]] = {
    "line": ("top", ["--line", "top"]),
    "epochs": (3, ["--epochs", "3"]),
    "lr": (2e-3, ["--lr", "2e-3"]),
    "suffix_lr": (0.5, ["--suffix-lr", "0.5"]),
    "optimizer": ("sgd", ["--optimizer", "sgd"]),
    "batch_size": (8, ["--batch-size", "8"]),
    "weight_decay": (0.1, ["--weight-decay", "0.1"]),
    "batch_norm": ("train", ["--batch-norm", "train"]),
    "backbone": ("timm:resnet18", ["--backbone", "timm:resnet18"]),
    "weights": (Path("a.safetensors"), ["--weights", "a.safetensors"]),
    "partial": (True, ["--partial"]),
    "image_px": (96, ["--image-px", "96"]),
    "head": ("mlp:8", ["--head", "mlp:8"]),
    "pooling": ("max", ["--pooling", "max"]),
    "on": ("layer3", ["--on", "layer3"]),
    "targets": ("binary", ["--targets", "binary"]),
    "separator": ("space", ["--separator", "space"]),
    "layout": ("classes", ["--layout", "classes"]),
    "levels": ("0:4095", ["--levels", "0:4095"]),
    "max_megapixels": (10, ["--max-megapixels", "10"]),
    "sound": (True, ["--sound"]),
    "window_s": (2.5, ["--sound", "--window-s", "2.5"]),
    "augment": ("light", ["--augment", "light"]),
    "views": (4, ["--views", "4"]),
    "live": (True, ["--live"]),
    "val": (np.float64(0.25), ["--val", "0.25"]),
    "test": (0.1, ["--test", "0.1"]),
    "seed": (np.int64(7), ["--seed", "7"]),
    "strict": (True, ["--strict"]),
    "device": ("cpu", ["--device", "cpu"]),
    "precision": ("fp32", ["--precision", "fp32"]),
    "engine": ("eager", ["--engine", "eager"]),
    "cache": ("always", ["--cache", "always"]),
    "search": (False, ["--no-search"]),
    "folds": (5, ["--folds", "5"]),
    "seeds": (3, ["--seeds", "3"]),
    "tracker": ("tensorboard", ["--tracker", "tensorboard"]),
    "histograms": (True, ["--histograms", "--tracker", "tensorboard"]),
    "flip": (True, ["--flip"]),
    "disk": ("4GiB", ["--disk", "4GiB"]),
    "memory": ("500MB", ["--memory", "500MB"]),
    "time": ("90s", ["--time", "90s"]),
}
# What else `frostline train` knows: no part of the recipe, or an argument of its own in Python.
NO_OPTIONS = {
    "help",
    "help_all",
    "photos",
    "out",
    "recipe",
    "set",
    "cache_dir",
    "json",
    "verbose",
    "quiet",
}


def known_to_train() -> set[str]:
    parser = make_parser()
    (commands,) = (a for a in parser._actions if isinstance(a, argparse._SubParsersAction))
    return {action.dest for action in commands.choices["train"]._actions}


def test_python_and_the_command_line_have_the_same_options() -> None:
    assert known_to_train() - NO_OPTIONS == set(NAMES) == set(Options.__annotations__)
    assert SAMPLES.keys() == set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_an_option_means_the_same_in_both(name: str) -> None:
    value, typed = SAMPLES[name]
    needs = {"histograms": {"tracker": ["tensorboard"]}, "window_s": {"sound": True}}
    options = {name: value} | needs.get(name, {})
    ours = from_options(None, (), options)
    assert ours == recipe_of(make_parser().parse_args(["train", "photos", "--out", "x", *typed]))
    assert ours != recipe.load(recipe.DEFAULT)


def test_none_says_nothing() -> None:
    assert from_options("quick", (), dict.fromkeys(NAMES)) == recipe.load("quick")


@pytest.mark.parametrize(
    "settings",
    [
        {"stages.0.lr": 1e-4, "seed": 3},
        ["stages.0.lr=1e-4", "seed=3"],
        ("seed=3", "stages.0.lr=1e-4"),
        {"stages.0.lr": np.float64(1e-4), "seed": np.int32(3)},
    ],
)
def test_settings_are_a_dict_or_texts(settings: Any) -> None:
    made = from_options("thaw", settings, {"seed": 4})
    assert (made.stages[0].lr, made.seed) == (1e-4, 3)


def test_one_setting_is_one_text() -> None:
    assert from_options("thaw", "stages.0.lr=1e-4", {}).stages[0].lr == 1e-4


def test_a_dict_holds_text_that_stays_text() -> None:
    named = from_options("quick", {"backbone": {"name": "dir:7"}}, {})
    assert named.backbone.name == "dir:7"


@pytest.mark.parametrize(
    ("settings", "options", "words"),
    [
        ((), {"epoch": 2}, "no option is called epoch. Did you mean epochs?"),
        ((), {"epoch": None}, "Did you mean epochs?"),
        ((), {"epochs": "3"}, "stages.0.epochs must be a whole number, not '3'"),
        ((), {"epochs": 2.5}, "stages.0.epochs must be a whole number, not 2.5"),
        ((), {"time": 90}, "time: must be a number with its unit (90s, 10m, 2h), not 90"),
        ((), {"disk": "4 parsecs"}, "disk: must be a number with its unit"),
        ({"stages.0.lrr": 1}, {}, "Did you mean"),
        ({"seed": None}, {}, "seed must be a whole number, not None"),
        ([1e-4], {}, "settings: must be KEY=VALUE, or a dict of values, not 0.0001"),
        ("stages.0.lr", {}, "must be KEY=VALUE"),
    ],
)
def test_what_does_not_hold_is_told(settings: Any, options: dict[str, Any], words: str) -> None:
    with pytest.raises(RecipeError) as caught:
        from_options(None if options else "thaw", settings, options)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_all_unknown_options_are_told_at_once() -> None:
    with pytest.raises(RecipeError, match=r"2 problems: .*augment.*backbone"):
        from_options(None, (), {"augmentt": "light", "backbon": "timm:resnet18"})
