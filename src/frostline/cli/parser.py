"""What can be typed."""

import argparse

from frostline import __version__
from frostline.base.paths import user_path
from frostline.cli.backbones import add_parser as _backbones
from frostline.cli.looking import draw_parser as _draw
from frostline.cli.looking import look_parser as _look
from frostline.cli.run_options import run_options
from frostline.cli.weights import add_parser as _weights
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

EXAMPLES = """\
examples:
  frostline demo                                   the whole way on built-in photographs
  frostline train photos/ --out runs/photos        a classifier from class folders
  frostline train photos/ --out runs/deep --recipe thaw --set stages.0.lr=1e-4
  frostline plan photos/ --time 10m                how would it go about it here?
  frostline predict runs/photos new.jpg folder/    what is on these pictures?
  frostline evaluate runs/photos other_photos/     how right is it there?
  frostline lines timm:resnet50                    where can this network be cut?
"""


def make_parser() -> argparse.ArgumentParser:
    """Returns the parser of the whole command line."""
    parser = argparse.ArgumentParser(
        prog="frostline",
        description="Transfer learning on images that never computes a frozen layer twice.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"frostline {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for add in (
        *(_train, _plan, _recipe, _lr_find, _predict, _evaluate),
        *(_summary, _lines, _draw, _look, _backbones, _weights, _embed, _cache, _demo),
    ):
        add(commands)
    return parser


_Commands = argparse._SubParsersAction


class _Formatter(argparse.ArgumentDefaultsHelpFormatter):
    """Tells defaults, where there is one."""

    def _get_help_string(self, action: argparse.Action) -> str | None:
        # 0 equals False, and says something.
        says_nothing = action.default is False or action.default in (None, "", [])
        return action.help if says_nothing else super()._get_help_string(action)


def _command(
    commands: "_Commands[argparse.ArgumentParser]", name: str, text: str
) -> argparse.ArgumentParser:
    return commands.add_parser(
        name,
        help=text,
        description=text[0].upper() + text[1:] + ".",
        formatter_class=_Formatter,
        allow_abbrev=False,
    )


def _train(commands: "_Commands[argparse.ArgumentParser]") -> None:
    parser = _command(commands, "train", "train a classifier on a folder of labelled pictures")
    _photos(parser)
    parser.add_argument(
        "--out", type=user_path, required=True, metavar="RUN", help="the run folder to write"
    )
    _recipe_options(parser)
    _cache_dir(parser)
    _json(parser, "print metrics.json")


def _plan(commands: "_Commands[argparse.ArgumentParser]") -> None:
    parser = _command(
        commands, "plan", "measure this machine and say how `train` would go about it"
    )
    _photos(parser)
    _recipe_options(parser)
    _cache_dir(parser)
    _json(parser, "print plan.json")


def _lr_find(commands: "_Commands[argparse.ArgumentParser]") -> None:
    parser = _command(
        commands, "lr-find", "try rising learning rates on one stage, draw the losses, suggest one"
    )
    _photos(parser)
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
    _cache_dir(parser)
    _json(parser, "print rates, losses and the suggestion")


def _recipe(commands: "_Commands[argparse.ArgumentParser]") -> None:
    parser = _command(commands, "recipe", "list, show or check recipes")
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    listing = actions.add_parser("list", help="those that come with Frostline")
    show = actions.add_parser("show", help="print one as TOML, every default written out")
    check = actions.add_parser("check", help="say whether one holds; exit status 2 where not")
    for action in (show, check):
        action.add_argument("name", metavar="NAME|FILE", help="a recipe by name, or a TOML file")
        _settings(action)
    _json(listing, "print a list of objects")


def _summary(commands: "_Commands[argparse.ArgumentParser]") -> None:
    parser = _command(
        commands, "summary", "list layers, shapes and parameters, and what is trained"
    )
    add = parser.add_argument
    add("target", metavar="BACKBONE|RUN", help="a network by name, a run or a model folder")
    add("--line", default="", metavar="LINE", help="the frost line; `top` freezes all but the head")
    add("--head", default="", metavar="HEAD", help="linear, or mlp:WIDTH[,WIDTH…][,dropout=P]")
    add("--pooling", choices=POOLINGS, default="", help="how a map becomes a vector")
    add("--on", default="", metavar="LINE", help="the line that a new head sits on")
    add("--classes", type=int, metavar="N", help="classes of a new head (2)")
    add("--targets", choices=TARGETS[1:], default="", help="binary is one score, by one sigmoid")
    _image_px(parser, 0)
    add("--as-is", action="store_true", help="a network with its own classifier, not a new head")
    add("--all", action="store_true", help="every layer, with its window, not only blocks")
    add("--tree", action="store_true", help="every layer, below the modules that hold it")
    add("--only", default="", metavar="KIND", help="layers of a kind: conv, norm, pool, linear …")
    _json(parser, "print an object")


def _photos(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "photos",
        type=user_path,
        metavar="PHOTOS",
        help="class folders, train/ and val/ of them, or a CSV (path,label[,split][,group])",
    )


def _image_px(parser: argparse.ArgumentParser, default: int | None) -> None:
    parser.add_argument(
        "--image-px",
        type=int,
        default=default,
        metavar="N",
        help="side of the input; 0 keeps the backbone's own",
    )


def _settings(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="one value of the recipe, such as stages.0.lr=1e-5; may be given again",
    )


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
    _settings(parser)
    group = parser.add_argument_group("instead of --recipe, one stage")
    add = group.add_argument
    add("--line", metavar="LINE", help="the frost line: train what is above it (top)")
    if trains:
        add("--epochs", type=int, metavar="N", help="passes over the images (5)")
        add("--lr", type=float, metavar="RATE", help="peak learning rate of the head (0.001)")
    add(
        "--suffix-lr",
        type=float,
        metavar="SHARE",
        help="rate of the suffix, as a share of the head's (0.1)",
    )
    add("--optimizer", choices=OPTIMIZERS, help="adamw, adam, sgd or rmsprop (adamw)")
    add("--batch-size", type=int, metavar="N", help="images per step (32)")
    add(
        "--weight-decay", type=float, metavar="X", help="on weights, not on biases and norms (0.01)"
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
    _image_px(group, None)  # type: ignore[arg-type]
    add("--head", metavar="HEAD", help="linear, or mlp:WIDTH[,WIDTH…][,dropout=P] (linear)")
    add("--pooling", choices=POOLINGS, help="how a map becomes a vector (avg)")
    add("--on", metavar="LINE", help="the line that the head sits on (the backbone's end)")
    add("--targets", choices=TARGETS, help="one class an image, one of two, or several (auto)")
    add("--separator", metavar="SIGN", help="between labels in a cell: space, or the sign (auto)")
    add("--layout", choices=LAYOUTS, help="`classes`: the folders on top are classes (auto)")
    add("--levels", metavar="BLACK:WHITE", help="of deep pictures: 0:4095, or =-1000:3000 (auto)")
    add("--max-megapixels", type=float, metavar="N", help="of the largest picture read (89)")
    add("--sound", action="store_true", default=None, help="PHOTOS holds sounds: wav, flac, mp3 …")
    add("--window-s", type=float, metavar="S", help="seconds of sound heard at once (auto)")
    add("--augment", choices=PRESETS, help="how training images are varied")
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
        _flip(group)


def _predict(commands: "_Commands[argparse.ArgumentParser]") -> None:
    parser = _command(commands, "predict", "say what pictures show")
    _model(parser)
    add = parser.add_argument
    add(
        "pictures",
        nargs="+",
        metavar="PICTURE",
        help="files, folders of files, patterns such as 'new/*.jpg', or - for a list on standard "
        "input",
    )
    add("--top-k", type=int, default=1, metavar="K", help="classes to name for each picture")
    add(
        "--unsure",
        type=float,
        metavar="P",
        help="mark pictures of which it is less sure than P, such as 0.7",
    )
    add("--html", type=user_path, metavar="FILE", help="write a page with all pictures by class")
    add(
        "--sort-into",
        type=user_path,
        metavar="FOLDER",
        help="copy each picture into a folder of its class there; nothing is moved",
    )
    add("--link", action="store_true", help="with --sort-into: links instead of copies")
    add(
        "--out",
        type=user_path,
        metavar="FILE",
        help="write a table: ends in .csv, .json or .parquet",
    )
    add("--format", choices=("table", "json", "csv"), help="what to print (table)")
    _json(parser, "print a list of objects: --format json")
    _flip(parser)
    _compute(parser, "recorded")


def _evaluate(commands: "_Commands[argparse.ArgumentParser]") -> None:
    parser = _command(commands, "evaluate", "score a model on labelled pictures")
    _model(parser)
    parser.add_argument(
        "photos", type=user_path, metavar="PHOTOS", help="labelled pictures, as for train"
    )
    parser.add_argument(
        "--split",
        choices=("auto", "train", "val", "test", "all"),
        default="auto",
        help="which part; auto is val where PHOTOS has splits, all otherwise",
    )
    parser.add_argument(
        "--out",
        type=user_path,
        metavar="FOLDER",
        help="write a report there, and wrong.csv with what is wrong",
    )
    _flip(parser)
    _compute(parser, "recorded")
    _json(parser, "print the scores in the shape of metrics.json")


def _lines(commands: "_Commands[argparse.ArgumentParser]") -> None:
    parser = _command(commands, "lines", "list the places where a network can be cut")
    _backbone(parser)
    parser.add_argument(
        "--all", action="store_true", help="every line, not only those between blocks"
    )
    _image_px(parser, 0)
    _json(parser, "print a list of objects")


def _embed(commands: "_Commands[argparse.ArgumentParser]") -> None:
    parser = _command(commands, "embed", "write the activations of pictures at a line to a file")
    _backbone(parser)
    parser.add_argument(
        "photos",
        type=user_path,
        metavar="PHOTOS",
        help="labelled pictures, as for train, or any folder or file",
    )
    parser.add_argument("--line", default="pooled", metavar="LINE", help="where to read them off")
    parser.add_argument(
        "--out",
        type=user_path,
        required=True,
        metavar="FILE",
        help="ends in .csv, .npz, .safetensors, .h5 or .parquet",
    )
    _image_px(parser, 0)
    _compute(parser)
    _cache_dir(parser)


def _cache(commands: "_Commands[argparse.ArgumentParser]") -> None:
    parser = _command(commands, "cache", "look at, check or remove kept activations")
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    listing = actions.add_parser("list", help="what is kept, and how much room it takes")
    verify = actions.add_parser(
        "verify", help="check every chunk's digest; exit status 2 where one is damaged"
    )
    verify.add_argument(
        "--remove",
        action="store_true",
        help="remove damaged chunks and leftovers of killed processes",
    )
    remove = actions.add_parser("remove", help="remove kept activations")
    remove.add_argument(
        "names", nargs="*", metavar="NAME", help="folders as `cache list` names them"
    )
    remove.add_argument("--all", action="store_true", help="everything")
    for action in (listing, verify, remove):
        _cache_dir(action)
    _json(listing, "print a list of objects")


def _demo(commands: "_Commands[argparse.ArgumentParser]") -> None:
    parser = _command(
        commands, "demo", "show the whole way on built-in photographs, without a connection"
    )
    parser.add_argument(
        "--out",
        type=user_path,
        metavar="FOLDER",
        help="where to write; a new temporary folder if not given",
    )
    parser.add_argument(
        "--seed",
        type=int,
        default=0,
        metavar="N",
        help="decides new weights and the order of training",
    )


def _model(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "model",
        metavar="MODEL",
        help="a run folder, a model folder, or a backbone such as dir:PATH",
    )


def _backbone(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add(
        "backbone",
        metavar="BACKBONE",
        help="timm:NAME, torchvision:NAME, dir:PATH or hub:OWNER/NAME; "
        "add ?pretrained=false for random weights",
    )
    add("--weights", default="", metavar="FILE", help="local weights for the named architecture")
    add("--partial", action="store_true", help="let --weights fit in part only")


def _flip(parser: argparse._ActionsContainer) -> None:
    parser.add_argument(
        "--flip",
        action="store_true",
        default=None,
        help="predict by the mean over a picture and its mirror image",
    )


def _compute(parser: argparse.ArgumentParser, precision: str = "auto") -> None:
    known = tuple(dict.fromkeys((precision, *PRECISIONS)))
    parser.add_argument(
        "--device", default="auto", metavar="DEVICE", help="auto, cpu, cuda or cuda:N"
    )
    parser.add_argument("--precision", choices=known, default=precision, help="type to compute in")


def _cache_dir(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--cache-dir",
        metavar="FOLDER",
        help="where activations are kept; else $FROSTLINE_CACHE, else the platform's place",
    )


def _json(parser: argparse.ArgumentParser, text: str) -> None:
    parser.add_argument("--json", action="store_true", help=text)
