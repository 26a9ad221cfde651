"""`frostline weights`: what is in a weights file."""

import argparse
import json
import sys
from argparse import Namespace
from dataclasses import asdict
from pathlib import Path

from frostline.base.errors import RecipeError


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


def run(arguments: Namespace) -> int:
    """Looks into a file, and says what is in it."""
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
