"""What several tests share."""

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def assets() -> Path:
    """The folder of real photographs and weights; tests that need it skip where it is absent."""
    folder = Path(os.environ.get("FROSTLINE_ASSETS", ROOT.parent / "shared"))
    if not (folder / "weights").is_dir():
        pytest.skip(f"real data and weights are absent: {folder} (set FROSTLINE_ASSETS)")
    return folder


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keeps tests out of the user's cache."""
    monkeypatch.setenv("FROSTLINE_CACHE", str(tmp_path / "cache"))
