"""What several commands take, and how they tell of it."""

import argparse
import sys
from collections.abc import Collection, Sequence
from typing import Any

from frostline.base.paths import user_path
from frostline.recipe import PRECISIONS

Commands = argparse._SubParsersAction


class Formatter(argparse.ArgumentDefaultsHelpFormatter):
    """Tells defaults, where there is one."""

    def _get_help_string(self, action: argparse.Action) -> str | None:
        # 0 equals False, and says something.
        says_nothing = action.default is False or action.default in (None, "", [])
        return action.help if says_nothing else super()._get_help_string(action)


class ShortHelp(argparse.Action):
    """`--help` of a command with many options: tells those that matter, and how to see all."""

    def __init__(self, common: Collection[str], **given: Any) -> None:
        """Takes the options that matter, by what they are called in the program."""
        super().__init__(nargs=0, default=argparse.SUPPRESS, **given)
        self._common = common

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: str | Sequence[Any] | None,
        option_string: str | None = None,
    ) -> None:
        """Prints the help and ends."""
        for action in parser._actions:
            if action.option_strings and action.dest not in self._common:
                action.help = argparse.SUPPRESS
        parser.usage = f"{parser.prog} PHOTOS [OPTIONS]"
        parser.epilog = f"All options: {parser.prog} --help-all"
        sys.stdout.write(parser.format_help())
        parser.exit()


def add_command(
    commands: "Commands[argparse.ArgumentParser]",
    name: str,
    text: str,
    common: Collection[str] = (),
) -> argparse.ArgumentParser:
    """Adds a command.

    Args:
        commands: Where it is added.
        name: What is typed.
        text: What it does, in a line.
        common: The options that `--help` tells of, by what they are called in the program; then
            `--help-all` tells of all. Without, `--help` does.
    """
    parser = commands.add_parser(
        name,
        help=text,
        description=text[0].upper() + text[1:] + ".",
        formatter_class=Formatter,
        allow_abbrev=False,
        add_help=not common,
    )
    if common:
        add = parser.add_argument
        shown = {*common, "help", "help_all"}
        add("-h", "--help", action=ShortHelp, common=shown, help="show what matters most")
        add("--help-all", action="help", help="show all options")
    return parser


def photos(parser: argparse.ArgumentParser) -> None:
    """Adds the pictures to learn from."""
    parser.add_argument(
        "photos",
        type=user_path,
        metavar="PHOTOS",
        help="class folders, train/ and val/ of them, or a CSV (path,label[,split][,group])",
    )


def image_px(parser: argparse.ArgumentParser, default: int | None) -> None:
    """Adds the side of the input."""
    parser.add_argument(
        "--image-px",
        type=int,
        default=default,
        metavar="N",
        help="side of the input; 0 keeps the backbone's own",
    )


def settings(parser: argparse.ArgumentParser) -> None:
    """Adds single values of a recipe."""
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="one value of the recipe, such as stages.0.lr=1e-5; may be given again",
    )


def model(parser: argparse.ArgumentParser) -> None:
    """Adds what predicts."""
    parser.add_argument(
        "model",
        metavar="MODEL",
        help="a run or model folder, or a network with classes of its own, such as timm:resnet50",
    )
    parser.add_argument("--weights", type=user_path, metavar="FILE", help="local weights for it")


def backbone(parser: argparse.ArgumentParser) -> None:
    """Adds a network, and weights for it."""
    add = parser.add_argument
    add(
        "backbone",
        metavar="BACKBONE",
        help="timm:NAME, torchvision:NAME, dir:PATH or hub:OWNER/NAME; "
        "add ?pretrained=false for random weights",
    )
    add("--weights", default="", metavar="FILE", help="local weights for the named architecture")
    add("--partial", action="store_true", help="let --weights fit in part only")


def flip(parser: argparse._ActionsContainer) -> None:
    """Adds prediction over mirror images."""
    parser.add_argument(
        "--flip",
        action="store_true",
        default=None,
        help="predict by the mean over a picture and its mirror image",
    )


def compute(parser: argparse.ArgumentParser, precision: str = "auto") -> None:
    """Adds where and in which type to compute."""
    known = tuple(dict.fromkeys((precision, *PRECISIONS)))
    parser.add_argument(
        "--device", default="auto", metavar="DEVICE", help="auto, cpu, cuda or cuda:N"
    )
    parser.add_argument("--precision", choices=known, default=precision, help="type to compute in")


def cache_dir(parser: argparse.ArgumentParser) -> None:
    """Adds the place of the cache."""
    parser.add_argument(
        "--cache-dir",
        metavar="FOLDER",
        help="where activations are kept; else $FROSTLINE_CACHE, else the platform's place",
    )


def as_json(parser: argparse.ArgumentParser, text: str) -> None:
    """Adds output for programs."""
    parser.add_argument("--json", action="store_true", help=text)
