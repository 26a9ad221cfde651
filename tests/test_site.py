"""The documentation as a site: every page is there, and a link that leads nowhere is an error."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from conftest import ROOT

pytest.importorskip("mkdocs", reason="needs frostline[docs]")

FILES = ("mkdocs.yml", "docs", "README.md", "CHANGELOG.md", "CONTRIBUTING.md", "LICENSE", "NOTICE")


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    for name in FILES:
        source = ROOT / name
        copy = shutil.copytree if source.is_dir() else shutil.copy
        copy(source, tmp_path / name)  # type: ignore[operator]
    return tmp_path


def build(checkout: Path) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "mkdocs", "build", "--strict"]
    return subprocess.run(command, cwd=checkout, capture_output=True, text=True, check=False)


def test_the_site_builds_and_loads_nothing_from_elsewhere(checkout: Path) -> None:
    done = build(checkout)
    assert done.returncode == 0, done.stderr
    site = checkout / "site"
    for page in (ROOT / "docs").glob("*.md"):
        assert (site / page.stem / "index.html").is_file()
    start = (site / "index.html").read_text("utf-8")
    assert 'src="report.png"' in start
    assert 'href="commands/"' in start
    assert '<script src="http' not in start
    assert "fonts.googleapis" not in start


def test_a_link_that_leads_nowhere_is_an_error(checkout: Path) -> None:
    page = checkout / "docs" / "files.md"
    page.write_text(page.read_text("utf-8") + "\n[gone](nowhere.md)\n")
    done = build(checkout)
    assert done.returncode != 0
    assert "nowhere.md" in done.stderr
