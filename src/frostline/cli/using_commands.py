"""What can be typed of the commands that look at pictures, networks and the cache."""

import argparse

from frostline.base.paths import user_path
from frostline.cli.shared_options import (
    Commands,
    add_command,
    as_json,
    backbone,
    cache_dir,
    compute,
    flip,
    image_px,
    model,
)
from frostline.recipe import POOLINGS, TARGETS


def predict(commands: "Commands[argparse.ArgumentParser]") -> None:
    """Adds `frostline predict`."""
    parser = add_command(commands, "predict", "say what pictures show")
    model(parser)
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
    as_json(parser, "print a list of objects: --format json")
    flip(parser)
    compute(parser, "recorded")


def evaluate(commands: "Commands[argparse.ArgumentParser]") -> None:
    """Adds `frostline evaluate`."""
    parser = add_command(commands, "evaluate", "score a model on labelled pictures")
    model(parser)
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
    flip(parser)
    compute(parser, "recorded")
    as_json(parser, "print the scores in the shape of metrics.json")


def summary(commands: "Commands[argparse.ArgumentParser]") -> None:
    """Adds `frostline summary`."""
    parser = add_command(
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
    image_px(parser, 0)
    add("--as-is", action="store_true", help="a network with its own classifier, not a new head")
    add("--all", action="store_true", help="every layer, with its window, not only blocks")
    add("--tree", action="store_true", help="every layer, below the modules that hold it")
    add("--only", default="", metavar="KIND", help="layers of a kind: conv, norm, pool, linear …")
    as_json(parser, "print an object")


def lines(commands: "Commands[argparse.ArgumentParser]") -> None:
    """Adds `frostline lines`."""
    parser = add_command(commands, "lines", "list the places where a network can be cut")
    backbone(parser)
    parser.add_argument(
        "--all", action="store_true", help="every line, not only those between blocks"
    )
    image_px(parser, 0)
    as_json(parser, "print a list of objects")


def embed(commands: "Commands[argparse.ArgumentParser]") -> None:
    """Adds `frostline embed`."""
    parser = add_command(commands, "embed", "write the activations of pictures at a line to a file")
    backbone(parser)
    parser.add_argument(
        "photos",
        type=user_path,
        metavar="PHOTOS",
        help="labelled pictures, as for train, or any folder or file",
    )
    parser.add_argument(
        "--line",
        action="append",
        default=[],
        metavar="LINE",
        help="where to read them off (pooled); may be given again",
    )
    parser.add_argument(
        "--channels-last", action="store_true", help="maps as height × width × channels"
    )
    parser.add_argument(
        "--out",
        type=user_path,
        required=True,
        metavar="FILE",
        help="ends in .csv, .npz, .safetensors, .h5 or .parquet",
    )
    image_px(parser, 0)
    compute(parser)
    cache_dir(parser)


def cache(commands: "Commands[argparse.ArgumentParser]") -> None:
    """Adds `frostline cache`."""
    parser = add_command(commands, "cache", "look at, check or remove kept activations")
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
        cache_dir(action)
    as_json(listing, "print a list of objects")


def demo(commands: "Commands[argparse.ArgumentParser]") -> None:
    """Adds `frostline demo`."""
    parser = add_command(
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
