"""What can be typed of the commands that train, or prepare for it."""

import argparse

from frostline.base.paths import user_path
from frostline.cli.run_options import run_options
from frostline.cli.shared_options import (
    Commands,
    add_command,
    as_json,
    cache_dir,
    flip,
    image_px,
    photos,
    settings,
)
from frostline.recipe import (
    CACHES,
    ENGINES,
    LAYOUTS,
    OPTIMIZERS,
    POOLINGS,
    PRECISIONS,
    PRESETS,
    TARGETS,
)

# What `--help` tells of; `--help-all` tells of all.
_COMMON = (
    *("out", "recipe", "backbone", "time", "epochs", "lr", "val", "test", "set"),
    *("verbose", "quiet", "json"),
)


def train(commands: "Commands[argparse.ArgumentParser]") -> None:
    """Adds `frostline train`."""
    parser = add_command(
        commands, "train", "train a classifier on a folder of labelled pictures", _COMMON
    )
    photos(parser)
    parser.add_argument(
        "--out", type=user_path, metavar="RUN", help="the run folder to write (runs/PHOTOS)"
    )
    _recipe_options(parser)
    cache_dir(parser)
    parser.add_argument("--verbose", action="store_true", help="say all; log.txt has it anyway")
    parser.add_argument("--quiet", action="store_true", help="print the result alone")
    as_json(parser, "print metrics.json")


def plan(commands: "Commands[argparse.ArgumentParser]") -> None:
    """Adds `frostline plan`."""
    parser = add_command(
        commands, "plan", "measure this machine and say how `train` would go about it", _COMMON
    )
    photos(parser)
    _recipe_options(parser)
    cache_dir(parser)
    as_json(parser, "print plan.json")


def lr_find(commands: "Commands[argparse.ArgumentParser]") -> None:
    """Adds `frostline lr-find`."""
    parser = add_command(
        commands,
        "lr-find",
        "try rising learning rates on one stage, draw the losses, suggest one",
        _COMMON,
    )
    photos(parser)
    parser.add_argument(
        "--out", type=user_path, required=True, metavar="STEM", help="writes STEM.png and STEM.svg"
    )
    parser.add_argument(
        "--stage", type=int, metavar="N", help="which of the recipe's stages, from 0 (the last)"
    )
    parser.add_argument("--start", type=float, default=1e-7, metavar="RATE", help="first rate")
    parser.add_argument("--end", type=float, default=10.0, metavar="RATE", help="last rate")
    parser.add_argument("--steps", type=int, default=100, metavar="N", help="rates tried")
    _recipe_options(parser, trains=False)
    cache_dir(parser)
    as_json(parser, "print rates, losses and the suggestion")


def recipe(commands: "Commands[argparse.ArgumentParser]") -> None:
    """Adds `frostline recipe`."""
    parser = add_command(commands, "recipe", "list, show or check recipes")
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    listing = actions.add_parser("list", help="those that come with Frostline")
    show = actions.add_parser("show", help="print one as TOML, every default written out")
    check = actions.add_parser("check", help="say whether one holds; exit status 2 where not")
    for action in (show, check):
        action.add_argument("name", metavar="NAME|FILE", help="a recipe by name, or a TOML file")
        settings(action)
    as_json(listing, "print a list of objects")


def _recipe_options(parser: argparse.ArgumentParser, trains: bool = True) -> None:
    """What says how to train; nothing has a default here, for the recipe has them all.

    Args:
        parser: Where they are added.
        trains: Whether a whole stage is trained: without, what would mean nothing is left out.
    """
    add = parser.add_argument
    add(
        "--recipe",
        metavar="NAME|FILE",
        help="thaw, classic, full, quick, scratch, or a TOML file (thaw); see `frostline recipe`",
    )
    settings(parser)
    group = parser.add_argument_group("of the recipe's stage, where it has one")
    add = group.add_argument
    add(
        "--line",
        metavar="LINE",
        help="the frost line: train what is above it; a search keeps to it",
    )
    if trains:
        add(
            "--epochs",
            type=int,
            metavar="N",
            help="passes over the images; a search keeps to it (15)",
        )
        add(
            "--lr",
            type=float,
            metavar="RATE",
            help="peak learning rate of the head; a search keeps to it (0.001)",
        )
    add(
        "--suffix-lr",
        type=float,
        metavar="SHARE",
        help="rate of the suffix, as a share of the head's; a search keeps to it (1)",
    )
    add("--optimizer", choices=OPTIMIZERS, help="adamw, adam, sgd or rmsprop (adamw)")
    add("--batch-size", type=int, metavar="N", help="images per step (32)")
    add(
        "--weight-decay",
        type=float,
        metavar="X",
        help="on weights, not on biases and norms; a search keeps to it (0.01)",
    )
    add(
        "--batch-norm",
        choices=("frozen", "train"),
        help="statistics of norms above the line (frozen)",
    )
    group = parser.add_argument_group("of the recipe, before what it says itself")
    add = group.add_argument
    add(
        "--backbone",
        metavar="NAME",
        help="timm:NAME, torchvision:NAME, dir:PATH, hub:OWNER/NAME … (a default for the device)",
    )
    add("--weights", metavar="FILE", help="local weights for the named architecture")
    add("--partial", action="store_true", default=None, help="let --weights fit in part only")
    image_px(group, None)  # type: ignore[arg-type]
    add(
        "--head",
        metavar="HEAD",
        help="linear, or mlp:WIDTH[,WIDTH…][,dropout=P]; a search keeps to it (linear)",
    )
    add("--pooling", choices=POOLINGS, help="how a map becomes a vector (avg)")
    add("--on", metavar="LINE", help="the line that the head sits on (the backbone's end)")
    add("--targets", choices=TARGETS, help="one class an image, one of two, or several (auto)")
    add("--separator", metavar="SIGN", help="between labels in a cell: space, or the sign (auto)")
    add("--layout", choices=LAYOUTS, help="`classes`: the folders on top are classes (auto)")
    add("--levels", metavar="BLACK:WHITE", help="of deep pictures: 0:4095, or =-1000:3000 (auto)")
    add("--max-megapixels", type=float, metavar="N", help="of the largest picture read (89)")
    add("--sound", action="store_true", default=None, help="PHOTOS holds sounds: wav, flac, mp3 …")
    add("--window-s", type=float, metavar="S", help="seconds of sound heard at once (auto)")
    add("--augment", choices=PRESETS, help="how training images are varied; a search keeps to it")
    add("--views", type=int, metavar="K", help="varied views kept of each training image")
    add("--live", action="store_true", default=None, help="new views in every epoch, none kept")
    add("--val", type=float, metavar="SHARE", help="kept for validation without splits (0.2)")
    add("--test", type=float, metavar="SHARE", help="kept for a final test (0)")
    add("--seed", type=int, metavar="N", help="decides splits, new weights and order (0)")
    add("--strict", action="store_true", default=None, help="make an unreadable image an error")
    add("--device", metavar="DEVICE", help="auto, cpu, cuda or cuda:N (auto)")
    add("--precision", choices=PRECISIONS, help="type to compute in (auto)")
    add("--engine", choices=ENGINES, help="what runs the frozen layers (auto: measured)")
    add(
        "--cache",
        choices=CACHES,
        help="keep activations, compute them in every epoch, or what is faster (auto)",
    )
    add("--disk", metavar="SIZE", help="most bytes of new activations, such as 4GiB or 500MB")
    add("--memory", metavar="SIZE", help="most memory of the process, such as 2GiB")
    add("--time", metavar="TIME", help="most time for passes and epochs, such as 90s, 10m or 2h")
    if trains:
        run_options(group)
        flip(group)
