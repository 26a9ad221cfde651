"""The commands that look inside a network: `summary`, `lines`, `draw` and `look`."""

import argparse
from argparse import Namespace
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from frostline.base.console import Console
from frostline.base.errors import RecipeError
from frostline.base.paths import user_path
from frostline.cli.output import print_json, print_table, print_text

if TYPE_CHECKING:
    from frostline.frost import Line
    from frostline.frost.geometry import Geometry

_TARGET = "a network by name, a run or a model folder"


def draw_parser(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Adds what can be typed for `draw`."""
    parser = _command(commands, "draw", "draw a network's graph, with the frost line, as SVG")
    add = parser.add_argument
    add("network", metavar="BACKBONE|RUN", help=_TARGET)
    add("--line", default="", metavar="LINE", help="the frost line (a run's own, or the last one)")
    add("--blocks", action="store_true", help="a box for each block, not for each layer")
    add("--image-px", type=int, default=0, metavar="N", help="side of the input")
    add("-o", "--out", type=user_path, required=True, metavar="FILE", help="ends in .svg")


def look_parser(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Adds what can be typed for `look`."""
    parser = _command(commands, "look", "show what a network makes of a picture, and its kernels")
    add = parser.add_argument
    add("picture", nargs="?", metavar="PICTURE", help="the picture; not needed for --kernels alone")
    add("--network", required=True, metavar="BACKBONE|RUN", help=_TARGET)
    add(
        "--line",
        action="append",
        default=[],
        metavar="LINE",
        help="where to look; may be given again (the first block and the last map)",
    )
    add("--channels", type=int, default=64, metavar="N", help="most maps shown of a line (64)")
    add("--kernels", type=user_path, metavar="FILE", help="write the first layer's kernels")
    add("--image-px", type=int, default=0, metavar="N", help="side of the input")
    add("-o", "--out", type=user_path, metavar="FILE", help="the maps: ends in .png, .jpg or .webp")


def summary(arguments: Namespace) -> int:
    """Prints a network's layers."""
    from frostline.model import layer_rows, summary_text
    from frostline.model import summary as summaries

    given = arguments
    is_whole = given.all or given.tree or given.only
    if given.tree and given.only:
        raise RecipeError("--tree: and --only ask for two things; name one.")
    found = summaries.of_target(
        given.target,
        line=given.line,
        head=given.head,
        pooling=given.pooling,
        image_px=given.image_px,
        classes=given.classes or 0,
        targets=given.targets,
        on=given.on,
        depth=summaries.ALL if is_whole else summaries.BLOCKS,
        as_is=given.as_is,
    )
    rows = layer_rows.only(found.rows, given.only, "--only") if given.only else found.rows
    if given.only and given.json:
        print_json([summary_text.row_as_json(row) for row in rows])
    elif given.json:
        print_json(summary_text.as_json(found))
    elif given.only:
        print_text("\n".join(summary_text.list_of(rows)))
    elif given.tree:
        print_text("\n".join(summary_text.tree(found)))
    else:
        print_text("\n".join(summary_text.table(found, windows=given.all)))
    return 0


def lines(arguments: Namespace) -> int:
    """Prints where a network can be cut."""
    from frostline import pipeline
    from frostline.frost.geometry import geometry_at
    from frostline.model.targets import name_of
    from frostline.networks.translate import runtime_part
    from frostline.recipe import BackboneChoice

    given = arguments
    name = name_of(given.backbone)
    choice = BackboneChoice(name, given.weights, given.partial, given.image_px)
    traced = pipeline.traced(choice)
    found, known = traced.lines, geometry_at(traced)
    shown = [line for line in found if given.all or line.block]
    if given.json:
        print_json([_line_as_json(line, known[line.index], traced.multiply_adds) for line in shown])
        return 0
    heads = ["line", "index", "shape", "KiB", "params below", "above", "work below", "sees"]
    heads[3:3] = ["kernel", "stride", "pad"] if given.all else []
    print_table(heads, [_line_cells(one, known[one.index], given.all) for one in shown])
    hidden = len(found) - len(shown)
    if hidden:
        print_text(f"{hidden} more with --all. KiB: one image's activation in half precision.")
    shared = [line for line in shown if line.shared]
    if shared:
        names = ", ".join(dict.fromkeys(name for line in shared for name in line.shared))
        print_text(
            f"From {shared[0].name} to {shared[-1].name}, what lies above a line also reads "
            f"parameters from below it, which stay frozen: {names}."
        )
    if told := runtime_part.told(traced.net):
        print_text(told)
    return 0


def draw(arguments: Namespace) -> int:
    """Writes a network's graph as SVG."""
    from frostline.base.files import write_text
    from frostline.drawing import network

    given = arguments
    if given.out.suffix.lower() != ".svg":
        raise RecipeError(f"--out: {given.out} must end in .svg.")
    write_text(given.out, network.svg_of(given.network, given.line, given.image_px, given.blocks))
    Console().say(f"{given.out}: the graph, to open in a browser")
    return 0


def look(arguments: Namespace) -> int:
    """Writes feature maps and kernels as pictures."""
    from frostline.drawing import maps

    given, console = arguments, Console()
    maps.check(given.picture, given.line, given.out, given.kernels, given.channels)
    network = maps.open_network(given.network, given.image_px)
    if given.picture:
        shown = maps.write_maps(given.out, network, given.picture, given.line, given.channels)
        for words in shown:
            console.say(words)
        console.say(f"{given.out}: the maps")
    if given.kernels:
        console.say(maps.write_kernels(given.kernels, network))
    return 0


def _command(
    commands: "argparse._SubParsersAction[argparse.ArgumentParser]", name: str, text: str
) -> argparse.ArgumentParser:
    about = f"{text[0].upper()}{text[1:]}."
    return commands.add_parser(name, help=text, description=about, allow_abbrev=False)


def _line_cells(line: "Line", known: "Geometry", windows: bool) -> list[str]:
    from frostline.model.summary_text import field_cell, window_cells

    shape = " + ".join(" × ".join(map(str, one)) for one in line.packed or (line.shape,))
    numbers = f"{line.params_below:,}", f"{line.params_above:,}", f"{line.share_below:.1%}"
    return [
        line.name,
        str(line.index),
        shape,
        *(window_cells(known.window) if windows else ()),
        f"{line.kib_half:,.1f}",
        *numbers,
        field_cell(known.field_px, known.sees_all),
    ]


def _line_as_json(line: "Line", known: "Geometry", work: int) -> dict[str, Any]:
    from frostline.model.summary_text import geometry_as_json

    return {
        **asdict(line),
        "kib_half": line.kib_half,
        "multiply_adds_below": round(line.share_below * work),
        **geometry_as_json(known.window, known.field_px, known.sees_all),
    }
