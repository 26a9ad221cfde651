"""Imports go one way: a module knows only what lies in lower layers."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

SOURCE = Path(__file__).resolve().parent.parent / "src" / "frostline"

# Modules and packages by layer, the lowest first. Those of one layer do not know each other.
LAYERS = (
    ("errors", "files", "console", "places", "interrupt"),
    ("recipe", "runfolder", "preprocessing"),
    ("data", "backbones", "frost", "heads", "metrics"),
    ("engines", "extract", "cache"),
    ("classifier",),
    ("training", "evaluate", "passes", "tell"),
    ("planner", "stages"),
    ("sources", "resume"),
    ("pipeline",),
    ("predict", "embed", "report", "summary"),
    ("api",),
    ("demo",),
    ("cli",),
)
# What `files` raises is ours too.
WITHIN = {("files", "errors")}
LEVEL = {name: level for level, names in enumerate(LAYERS) for name in names}


def part_of(path: Path) -> str:
    return path.relative_to(SOURCE).parts[0].removesuffix(".py")


def imported(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module:
            names = [f"{node.module}.{alias.name}" for alias in node.names]
            found |= {name.split(".")[1] for name in names if name.startswith("frostline.")}
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
            found |= {name.split(".")[1] for name in names if name.startswith("frostline.")}
    return found & set(LEVEL)


MODULES = sorted(p for p in SOURCE.rglob("*.py") if part_of(p) not in ("__init__", "__main__"))


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(SOURCE)))
def test_a_module_imports_only_from_lower_layers(path: Path) -> None:
    own = part_of(path)
    assert own in LEVEL, f"{own} has no layer yet"
    for other in imported(path) - {own}:
        assert LEVEL[other] < LEVEL[own] or (own, other) in WITHIN, f"{own} imports {other}"


@pytest.mark.parametrize(
    "line",
    [
        "import frostline",
        "import frostline; frostline.FrostlineError",
        "import frostline.cli.parser as p; p.make_parser().format_help()",
        "import frostline.data.listing, frostline.data.split, frostline.metrics",
        "import frostline.backbones.catalog, frostline.recipe, frostline.report.page",
    ],
)
def test_nothing_heavy_is_imported_early(line: str) -> None:
    check = (
        f"{line}; import sys; print([m for m in ('torch', 'timm', 'sklearn') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
