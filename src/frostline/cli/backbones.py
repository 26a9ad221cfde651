"""`frostline backbones`: which pretrained networks there are, and downloading one."""

import argparse
from argparse import Namespace
from dataclasses import asdict
from typing import TYPE_CHECKING

from frostline.base.console import Console
from frostline.base.errors import BackboneError, did_you_mean
from frostline.base.paths import user_path
from frostline.cli.output import print_json, print_table

if TYPE_CHECKING:
    from frostline.networks.record import BackboneEntry

GET = "get"


def add_parser(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Adds what can be typed."""
    text = "list pretrained networks, or download one"
    parser = commands.add_parser(
        "backbones",
        help=text,
        description=f"{text.capitalize()}.",
        usage="frostline backbones [-h] [--json] [PATTERN]\n"
        "       frostline backbones get NAME [--out FOLDER] [--json]",
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("pattern", nargs="?", default="", metavar="PATTERN", help="part of a name, or with * and ?")
    add(
        "name", nargs="?", default="", metavar="get NAME", help="download this one, size told first"
    )
    add(
        "--out",
        type=user_path,
        metavar="FOLDER",
        help="with get: write a model folder, which dir:FOLDER opens on any machine",
    )
    add("--json", action="store_true", help="print a list of objects; with get, an object")


def backbones(arguments: Namespace) -> int:
    """Prints pretrained networks, or downloads one."""
    given = arguments
    if given.pattern == GET:
        return _get(given)
    if given.name or given.out is not None:
        extra = given.name or "--out"
        raise BackboneError(
            f"backbones: {extra} goes with {GET}: frostline backbones {GET} NAME [--out FOLDER]"
        )
    return _list(given.pattern, given.json)


def _list(pattern: str, as_json: bool) -> int:
    from frostline.networks import catalog

    entries = catalog.search(pattern)
    if as_json:
        print_json([asdict(entry) for entry in entries])
        return 0
    if not entries:
        known = [entry.name.partition(":")[2] for entry in catalog.search()]
        raise BackboneError(
            f"{pattern}: no pretrained network of that name." + did_you_mean(pattern, known)
        )
    rows = [
        [
            entry.name,
            f"{entry.input_px}",
            f"{entry.classes}",
            entry.licence or "not stated",
            _remark(entry),
        ]
        for entry in entries
    ]
    print_table(["backbone", "px", "classes", "licence", ""], rows)
    return 0


def _remark(entry: "BackboneEntry") -> str:
    from frostline.networks import builtin_networks

    if entry.name.startswith(f"{builtin_networks.KIND}:"):
        return "ships with Frostline"
    return f"default on {entry.default}" if entry.default else ""


def _get(given: Namespace) -> int:
    if not given.name:
        raise BackboneError(f"backbones {GET}: name a network, as frostline backbones lists them.")
    from frostline.networks import catalog, fetching
    from frostline.networks.downloads import megabytes

    console = Console()
    if given.out is not None:
        fetching.check_new(given.out)
    found = catalog.download_of(given.name)
    if found is None:
        console.say(f"{given.name}: nothing to download; it is on this machine")
    else:
        size = megabytes(found.size_bytes) if found.size_bytes else "of unknown size"
        where = "on this machine already" if found.here else f"from {found.source}"
        console.say(f"{given.name}: {size}, {where}")
    opened = fetching.fetch(given.name, given.out)
    if given.out is None:
        console.say(f"next: frostline train PHOTOS --out RUN --backbone {opened.record.name}")
    else:
        console.say(
            f"{given.out}: a model folder. Bring it to any machine, and name it there: "
            "--backbone dir:FOLDER"
        )
    if given.json:
        print_json(
            {
                "name": opened.record.name,
                "bytes": found.size_bytes if found else 0,
                "downloaded": found is not None and not found.here,
                "licence": opened.record.licence,
                "folder": str(given.out) if given.out is not None else None,
            }
        )
    return 0
