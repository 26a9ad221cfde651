"""The notebooks run from top to bottom, and show what they are to show."""

from pathlib import Path
from typing import Any

import pytest

from conftest import ROOT

nbclient = pytest.importorskip("nbclient")
nbformat = pytest.importorskip("nbformat")

NOTEBOOKS = sorted((ROOT / "docs" / "notebooks").glob("*.ipynb"))
# Inside Jupyter's client, and not ours to mend.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


def read(path: Path) -> Any:
    return nbformat.read(path, as_version=4)


def outputs(notebook: Any) -> list[Any]:
    return [one for cell in notebook.cells for one in cell.get("outputs", [])]


def execute(path: Path, folder: Path) -> Any:
    notebook = read(path)
    where = {"metadata": {"path": folder}}
    nbclient.NotebookClient(
        notebook, timeout=300, kernel_name="python3", resources=where, coalesce_streams=True
    ).execute()
    return notebook


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_is_kept_without_what_it_printed(path: Path) -> None:
    notebook = read(path)
    nbformat.validate(notebook)
    assert notebook.metadata.kernelspec.name == "python3"
    assert not outputs(notebook)
    assert all(not cell.get("execution_count") for cell in notebook.cells)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs(path: Path, tmp_path: Path) -> None:
    executed = execute(path, tmp_path)
    shown = outputs(executed)
    # Nothing stands on red ground, and what one cell says stands in one block.
    assert [one.text for one in shown if one.output_type == "stream" and one.name == "stderr"] == []
    for cell in executed.cells:
        streams = [one for one in cell.get("outputs", []) if one.output_type == "stream"]
        assert len(streams) <= 1, cell.source
    pages = [one.data["text/html"] for one in shown if "text/html" in one.get("data", {})]
    assert any('<div class="frostline">' in page for page in pages)


def test_there_are_notebooks() -> None:
    assert len(NOTEBOOKS) == 3
