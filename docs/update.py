"""Writes those parts of the docs that the code decides: `python docs/update.py`.

A part is the code block below a line `<!-- written by docs/update.py: NAME -->`, where NAME is a
command, whose help it is, or `recipe.toml`.
"""

import argparse
import os
import re
from collections.abc import Iterator
from pathlib import Path

from frostline import recipe
from frostline.cli.parser import make_parser

FOLDER = Path(__file__).resolve().parent
_PART = re.compile(
    r"(<!-- written by docs/update\.py: (.+?) -->\n```\w+\n)(?:.*?\n)??```\n", re.DOTALL
)


def parts() -> dict[str, str]:
    """Returns what each part must hold, by name."""
    # argparse breaks its lines, and colours them, as the terminal asks.
    os.environ |= {"COLUMNS": "100", "NO_COLOR": "1"}
    helps = {parser.prog: parser.format_help() for parser in _parsers(make_parser())}
    return helps | {"recipe.toml": recipe.to_toml(recipe.Recipe(stages=(recipe.Stage(),)))}


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
