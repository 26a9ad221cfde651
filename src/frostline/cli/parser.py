"""What can be typed."""

import argparse
from collections.abc import Callable

from frostline import __version__
from frostline.cli import completion, training_commands, using_commands
from frostline.cli.backbones import add_parser as _backbones
from frostline.cli.looking import draw_parser, look_parser
from frostline.cli.weights import add_parser as _weights

EXAMPLES = """\
examples:
  frostline demo                                   the whole way on built-in photographs
  frostline train photos/                          a classifier from class folders
  frostline train photos/ --time 10m               the same, with more tried out
  frostline plan photos/ --time 10m                how would it go about it here?
  frostline predict runs/photos new.jpg folder/    what is on these pictures?
  frostline evaluate runs/photos other_photos/     how right is it there?
  frostline lines timm:resnet50                    where can this network be cut?

Help on a command: frostline help COMMAND
"""
_Commands = argparse._SubParsersAction
_Add = Callable[["_Commands[argparse.ArgumentParser]"], None]
_train, _use = training_commands, using_commands
GROUPS: tuple[tuple[str, tuple[_Add, ...]], ...] = (
    ("every day", (_train.train, _use.predict, _use.evaluate, _use.demo)),
    (
        "look closer",
        (
            *(_train.plan, _use.summary, _use.lines, draw_parser, look_parser),
            *(_backbones, _use.cache),
        ),
    ),
    (
        "for experts",
        (_train.recipe, _train.lr_find, _use.embed, _weights, completion.add_parser),
    ),
)


def make_parser() -> argparse.ArgumentParser:
    """Returns the parser of the whole command line."""
    parser = argparse.ArgumentParser(
        prog="frostline",
        usage="frostline [-h] [--version] COMMAND ...",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"frostline {__version__}")
    commands = parser.add_subparsers(
        dest="command", prog="frostline", metavar="COMMAND", help=argparse.SUPPRESS
    )
    listed = commands._choices_actions
    parts = ["Transfer learning on images that never computes a frozen layer twice."]
    for title, members in GROUPS:
        for add in members:
            add(commands)
        lines = [f"  {one.dest:<12}{one.help}" for one in listed]
        # They are told here by groups, and not once more in a row.
        listed.clear()
        parts.append("\n".join([f"{title}:", *lines]))
    parser.description = "\n\n".join(parts)
    return parser
