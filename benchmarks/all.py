"""Every benchmark, one after the other, into one Markdown file with date and machine.

First comes one table of what must hold, with what was measured; then each benchmark's own.
`accuracy.py` is left out: it takes many hours, and keeps results of its own to go on from.

    python benchmarks/all.py CATS_DOGS ANTS_BEES --weights FOLDER --rival-python FASTAI/bin/python \
        --out RESULTS.md [--only resume views …]

CATS_DOGS and ANTS_BEES are folders of photographs with train/ and val/. The file is written anew
after each benchmark, so what is done stands there if the rest is ended. A benchmark that fails is
told with its last words, and the next one begins.
"""

import argparse
import os
import platform
import re
import shlex
import subprocess
import sys
import time
from dataclasses import dataclass
from datetime import date
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from common import HERE, note

_BAR = re.compile(r"^Bar: (.*)\n?", re.MULTILINE)
PACKAGES = ("frostline", "torch", "torchvision", "timm", "openvino", "numpy", "pillow")


@dataclass(frozen=True)
class Section:
    """A heading, and the script with its arguments."""

    title: str
    script: str
    arguments: tuple[str, ...]


def sections(cats: str, ants: str, weights: str, rival: str, rounds: int) -> list[Section]:
    network, backbone = ("--weights", weights), ("--backbone", f"dir:{weights}")
    against = ("--rounds", str(rounds), *(("--rival-python", rival) if rival else ()))

    def whole(photos: str, epochs: str, accuracy: str) -> tuple[str, ...]:
        return photos, *network, *against, "--rival-epochs", epochs, "--accuracy", accuracy

    # From scratch, a thousand pictures take an hour.
    most = ("--only", "thaw", "quick", "classic", "full")
    return [
        Section("The default recipe, cats and dogs", "whole_command", whole(cats, "3", "0.99")),
        Section("The default recipe, ants and bees", "whole_command", whole(ants, "5", "0.96")),
        Section("Epochs from the cache", "epochs_at_line", (cats, *network)),
        Section("`kill -9` in a two-stage run", "resume", (ants, *network)),
        Section("The planner's estimate", "planner_accuracy", (cats, *network)),
        Section("Views, cats and dogs", "views", (cats, *network)),
        Section("Views, ants and bees", "views", (ants, *network)),
        Section("Peak memory", "memory", network),
        Section("The probe", "probe", ()),
        Section("Damaged and hostile weights files", "hostile_files", ()),
        Section("Recipes, cats and dogs", "recipes", (cats, *network, *most)),
        Section("Recipes, ants and bees", "recipes", (ants, *network)),
        Section("What is frozen of VGG16", "freeze_counts", ()),
        Section("Engines", "engines", (cats, *network)),
        Section("Extraction", "extraction", (f"{cats}/train", *backbone)),
        Section("Cached against live training", "cached_against_live", (ants, *backbone)),
        Section("`kill -9` while filling", "kills", (cats, *backbone)),
        Section("Choices", "choices", (f"{cats}/train", *backbone)),
    ]


def machine() -> str:
    """Returns a sentence on date, machine and versions."""
    lines = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").is_file() else ""
    named = re.search(r"model name\s*: (.*)", lines)
    cpu = named[1] if named else platform.processor() or platform.machine()
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    memory = ""
    if hasattr(os, "sysconf"):
        gib = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
        memory = f", {gib:.0f} GiB of memory"
    found = [f"Python {platform.python_version()}"]
    for name in PACKAGES:
        try:
            found.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            continue
    return (
        f"{date.today().isoformat()}, {cores} cores of {cpu}{memory}, {platform.system()}; "
        f"{', '.join(found)}."
    )


def shown(section: Section, places: dict[str, str]) -> str:
    """Returns the command with folders' names instead of paths."""
    text = shlex.join(["python", f"benchmarks/{section.script}.py", *section.arguments])
    for path, name in places.items():
        text = text.replace(path, name)
    return text


def carried_out(section: Section, places: dict[str, str], bars: list[str]) -> str:
    """Runs a benchmark; returns its part of the file, and adds to `bars` what it says of them."""
    note(f"{section.title}: {shown(section, places)}")
    command = [sys.executable, str(HERE / f"{section.script}.py"), *section.arguments]
    begun = time.perf_counter()
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True)
    minutes = (time.perf_counter() - begun) / 60
    said = _BAR.sub("", done.stdout).strip()
    if done.returncode:
        said = f"FAILED with status {done.returncode}.\n\n{said}".strip()
    note(f"{minutes:.1f} min")
    bars.extend(_BAR.findall(done.stdout))
    return f"## {section.title}\n\n`{shown(section, places)}`\n\n{said}\n\n({minutes:.1f} min)\n"


def summary(bars: list[str]) -> str:
    """Returns one table of what must hold."""
    rows = ["| what | must be | measured | |", "| --- | --- | --- | --- |"]
    return "\n".join([*rows, *(f"| {one} |" for one in bars)]) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("cats_dogs", type=Path)
    parser.add_argument("ants_bees", type=Path)
    parser.add_argument("--weights", type=Path, required=True, help="a timm model folder")
    parser.add_argument("--rival-python", default="", help="of an environment with fastai")
    parser.add_argument("--rounds", type=int, default=3, help="of the default recipe")
    parser.add_argument("--only", nargs="*", metavar="SCRIPT", default=[])
    parser.add_argument("--out", type=Path, required=True, help="the Markdown file")
    args = parser.parse_args()
    cats, ants, weights = (
        str(path.resolve()) for path in (args.cats_dogs, args.ants_bees, args.weights)
    )
    wanted = sections(cats, ants, weights, args.rival_python, args.rounds)
    unknown = set(args.only) - {section.script for section in wanted}
    if unknown:
        parser.error(f"--only: no benchmark is called {', '.join(sorted(unknown))}")
    # The longest first: one may lie within another.
    paths = {args.rival_python: "FASTAI/bin/python"} if args.rival_python else {}
    paths |= {path: Path(path).name for path in (cats, ants, weights)}
    places = dict(sorted(paths.items(), key=lambda pair: -len(pair[0])))
    parts: list[str] = []
    bars: list[str] = []
    for section in wanted:
        if not args.only or section.script in args.only:
            parts.append(carried_out(section, places, bars))
            first = f"# Benchmarks\n\n{machine()}\n"
            args.out.write_text("\n".join([first, summary(bars), *parts]), "utf-8")
    note(f"written: {args.out}")


if __name__ == "__main__":
    main()
