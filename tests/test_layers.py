"""Imports go one way: between layers, between the folders of a layer, and inside a folder."""

import ast
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import pytest

SOURCE = Path(__file__).resolve().parent.parent / "src" / "frostline"

# The folders (and the modules beside them) by layer, the lowest layer first. A folder may import
# those of lower layers, and those to its left in its own.
LAYERS = (
    ("base", "recipe", "run"),
    ("images", "sound", "frost", "networks"),
    ("activations", "scores"),
    ("model",),
    ("training", "planner", "report", "drawing"),
    ("pipeline",),
    ("interactive", "api", "demo", "cli"),
)
ORDER = {name: index for index, name in enumerate(name for layer in LAYERS for name in layer)}
MOST_LINES = 450


def folder_of(path: Path) -> str:
    return path.relative_to(SOURCE).parts[0].removesuffix(".py")


def module_of(path: Path) -> str:
    return ".".join(path.relative_to(SOURCE).with_suffix("").parts).removesuffix(".__init__")


MODULES = sorted(p for p in SOURCE.rglob("*.py") if folder_of(p) not in ("__init__", "__main__"))
NAMES = {module_of(path) for path in MODULES}


def imported(path: Path) -> set[str]:
    """Returns the modules of this package that a module imports, at its top or in a function."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("frostline"):
            base = (node.module or "").removeprefix("frostline").lstrip(".")
            for alias in node.names:
                full = f"{base}.{alias.name}".lstrip(".")
                found.add(full if full in NAMES else base)
        elif isinstance(node, ast.Import):
            found |= {
                alias.name.removeprefix("frostline.")
                for alias in node.names
                if alias.name.startswith("frostline.")
            }
    return found & NAMES


def circles(graph: Mapping[str, Iterable[str]]) -> Iterator[list[str]]:
    """Yields a way round for each node that can be reached from itself."""
    for start in graph:
        ways = [[start]]
        seen = set()
        while ways:
            way = ways.pop()
            for target in graph[way[-1]]:
                if target == start:
                    yield [*way, start]
                elif target not in seen:
                    seen.add(target)
                    ways.append([*way, target])


@pytest.mark.parametrize("path", MODULES, ids=module_of)
def test_a_module_imports_only_from_lower_layers(path: Path) -> None:
    own = folder_of(path)
    assert own in ORDER, f"{own} has no layer yet"
    for name in imported(path):
        other = name.partition(".")[0]
        assert other == own or ORDER[other] < ORDER[own], f"{module_of(path)} imports {name}"


def test_there_are_no_circles_anywhere() -> None:
    # A package's own `__init__` gathers what lies in it, and its modules never import it.
    graph = {module_of(path): imported(path) - {module_of(path)} for path in MODULES}
    assert list(circles(graph)) == []


def test_a_circle_is_found() -> None:
    assert list(circles({"a": ["b"], "b": ["c"], "c": ["b"]})) == [["b", "c", "b"], ["c", "b", "c"]]


@pytest.mark.parametrize("path", MODULES, ids=module_of)
def test_no_file_is_too_long(path: Path) -> None:
    assert len(path.read_text("utf-8").splitlines()) <= MOST_LINES


@pytest.mark.parametrize(
    "line",
    [
        "import frostline",
        "import frostline; frostline.FrostlineError",
        "import frostline.cli.parser as p; p.make_parser().format_help()",
        "import frostline.images.listing, frostline.images.splits, frostline.scores.metrics",
        "import frostline.networks.catalog, frostline.recipe, frostline.report.page",
    ],
)
def test_nothing_heavy_is_imported_early(line: str) -> None:
    check = (
        f"{line}; import sys; print([m for m in ('torch', 'timm', 'sklearn') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
