"""`frostline weights`: what is in a weights file, and putting it into a network."""

import argparse
import json
import sys
from argparse import Namespace
from dataclasses import asdict
from pathlib import Path

from frostline.base.console import Console
from frostline.base.errors import RecipeError
from frostline.base.paths import user_path


def add_parser(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Adds what can be typed."""
    text = "look into weights files of any format, without running anything in them"
    parser = commands.add_parser(
        "weights", help=text, description=f"{text.capitalize()}.", allow_abbrev=False
    )
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    told = "say what a file is, and list its tensors"
    inspect = actions.add_parser(
        "inspect", help=told, description=f"{told.capitalize()}.", allow_abbrev=False
    )
    add = inspect.add_argument
    add("file", type=Path, metavar="FILE", help="a weights file, or the folder of one")
    add("--only", default="", metavar="PATTERN", help="part of a name, or a pattern with * and ?")
    add("--tree", action="store_true", help="tensors as a tree, with what each branch adds up to")
    add("--histogram", default="", metavar="TENSOR", help="how the values of one are distributed")
    add("-o", "--out", type=Path, metavar="PNG", help="draw the histogram to a file as well")
    add("--json", action="store_true", help="print an object, with the graph and all attributes")
    _add_convert(actions)


def _add_convert(actions: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    told = "load a weights file of any format into a network, and write that as a model folder"
    convert = actions.add_parser(
        "convert", help=told, description=f"{told.capitalize()}.", allow_abbrev=False
    )
    add = convert.add_argument
    add("file", type=user_path, metavar="FILE", help="a weights file of any format")
    add("--to", required=True, metavar="NETWORK", help="a network by name, such as keras:MobileNet")
    add(
        "--out",
        required=True,
        type=user_path,
        metavar="FOLDER",
        help="a new folder, which dir:FOLDER opens",
    )
    add("--partial", action="store_true", help="load what matches, and leave the rest random")
    add(
        "--by",
        choices=("auto", "name", "order", "graph"),
        default="auto",
        help="how layers are paired: by name, in order, along the file's graph, or by whichever "
        "fills the network (auto)",
    )
    add("--json", action="store_true", help="print an object that names every tensor")


def run(arguments: Namespace) -> int:
    """Looks into a file, or loads one into a network; says what was found."""
    return _convert(arguments) if arguments.action == "convert" else _inspect(arguments)


def _convert(given: Namespace) -> int:
    from frostline.networks import converting

    opened = converting.convert(given.file, given.to, given.out, partial=given.partial, by=given.by)
    assert opened.match is not None
    if given.json:
        _print(json.dumps({"folder": str(given.out), **asdict(opened.match)}, indent=2))
        return 0
    console = Console()
    for line in (*opened.notes, *converting.told(opened.match)):
        console.say(line)
    console.say(f"{given.out}: a model folder of {opened.record.name}. Name it dir:{given.out}")
    return 0


def _inspect(arguments: Namespace) -> int:
    from frostline.cli import weights_text
    from frostline.networks.weights_files import guarded

    given = arguments
    _check(given)
    found = guarded.inspect(given.file, given.only, given.histogram)
    if given.out is not None and found.histogram is not None:
        from frostline.report.curves import write_histogram

        write_histogram(found.histogram, given.out)
    if given.json:
        _print(json.dumps(asdict(found), indent=2, allow_nan=False))
    elif found.histogram is not None:
        _print("\n".join(weights_text.histogram(found.histogram)))
    else:
        list_tensors = weights_text.tree if given.tree else weights_text.table
        lines = [*weights_text.head(found), *list_tensors(found.tensors), *weights_text.foot(found)]
        _print("\n".join(lines))
    return 0


def _check(given: Namespace) -> None:
    if given.out is not None and not given.histogram:
        raise RecipeError("--out: draws a histogram; name its tensor with --histogram TENSOR.")
    if given.out is not None and given.out.suffix.lower() != ".png":
        raise RecipeError(f"--out: {given.out} must end in .png.")


def _print(text: str) -> None:
    sys.stdout.write(text + "\n")
