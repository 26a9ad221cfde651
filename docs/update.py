"""Writes those parts of the docs that the code decides: `python docs/update.py`.

A part is the code block below a line `<!-- written by docs/update.py: NAME -->`, where NAME is a
command, whose help it is, `recipe.toml`, or `options`: those that Python takes too.
"""

import argparse
import os
import re
import textwrap
from collections.abc import Iterator
from pathlib import Path

from frostline import recipe
from frostline.cli.parser import make_parser
from frostline.recipe import options

FOLDER = Path(__file__).resolve().parent
_PART = re.compile(
    r"(<!-- written by docs/update\.py: (.+?) -->\n```\w+\n)(?:.*?\n)??```\n", re.DOTALL
)


def parts() -> dict[str, str]:
    """Returns what each part must hold, by name."""
    # argparse breaks its lines, and colours them, as the terminal asks.
    os.environ |= {"COLUMNS": "100", "NO_COLOR": "1"}
    helps = {parser.prog: parser.format_help() for parser in _parsers(make_parser())}
    made = recipe.to_toml(recipe.Recipe(stages=(recipe.Stage(),)))
    return helps | {"recipe.toml": made, "options": _options()}


def _options() -> str:
    """Returns the options that `frostline.train` takes, in the words of the command line."""
    train = next(one for one in _parsers(make_parser()) if one.prog == "frostline train")
    told = {action.dest: action.help or "" for action in train._actions}
    # `--no-search` is `search=False`.
    off = (action for action in train._actions if action.const is False)
    told |= {action.dest: f"False: {action.help}" for action in off}
    width = max(map(len, options.NAMES)) + 2
    lines = []
    for name in options.NAMES:
        words = textwrap.wrap(told[name].replace("%%", "%"), 78)
        lines += [f"{name if not row else '':{width}}{text}" for row, text in enumerate(words)]
    return "\n".join(lines) + "\n"


def updated(text: str) -> str:
    """Returns a page with each of its parts as it must be."""
    known = parts()
    return _PART.sub(lambda found: f"{found[1]}{known[found[2]]}```\n", text)


def _parsers(parser: argparse.ArgumentParser) -> Iterator[argparse.ArgumentParser]:
    yield parser
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for below in action.choices.values():
                yield from _parsers(below)


if __name__ == "__main__":
    for page in sorted(FOLDER.glob("*.md")):
        page.write_text(updated(page.read_text("utf-8")), "utf-8")
