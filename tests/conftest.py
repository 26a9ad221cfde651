"""What several tests share."""

import json
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

# Before torch is imported: threads that wait for one another take longer on small tensors than
# the work itself, above all where other programs want the same cores.
os.environ.setdefault("OMP_NUM_THREADS", "1")

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


@dataclass(frozen=True)
class FinishedRun:
    """A run of the real command line; tests read it, and must not change it.

    Attributes:
        path: The run folder.
        photos: The pictures it was made of: classes `blue`, `green` and `red`, twelve in each.
        cache: The cache it filled.
        argv: What was typed.
    """

    path: Path
    photos: Path
    cache: Path
    argv: tuple[str, ...]

    @property
    def picture(self) -> Path:
        """One that is red."""
        return self.photos / "red" / "000.png"


@pytest.fixture(scope="session")
def finished_run(tmp_path_factory: pytest.TempPathFactory) -> FinishedRun:
    """One small run with random weights, shared by all tests: it takes a second or two."""
    from frostline.cli import main

    root = tmp_path_factory.mktemp("finished")
    made_of = make_photos(root / "photos", {"blue": 12, "green": 12, "red": 12})
    argv = (
        *("train", str(made_of), "--out", str(root / "run"), "--cache-dir", str(root / "cache")),
        *("--backbone", "timm:test_resnet?pretrained=false", "--image-px", "64"),
        *("--device", "cpu", "--precision", "fp32", *settled()),
    )
    assert main(argv) == 0
    return FinishedRun(root / "run", made_of, root / "cache", argv)


def settled(*more: object) -> list[str]:
    """Returns options of `frostline train` that leave the planner nothing to measure.

    They ask for the probe alone, or for the one stage that `more` says something of; what `more`
    says goes before them.
    """
    words, stage = [str(word) for word in more], []
    numbers = ("--epochs", "--lr", "--suffix-lr", "--batch-size", "--weight-decay")
    for option in (*numbers, "--line", "--optimizer", "--batch-norm"):
        while option in words:
            at = words.index(option)
            _, value = words.pop(at), words.pop(at)
            key = option.removeprefix("--").replace("-", "_")
            text = value if option in numbers else json.dumps(value)
            stage.append(f"{key} = {text}")
    one = ["--set", f"stages=[{{{', '.join(stage)}}}]"] if stage else []
    return ["--recipe", "quick", *one, "--cache", "always", "--engine", "eager", *words]


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Class folders `blue`, `green` and `red`, twelve small pictures of noise in each."""
    return make_photos(tmp_path / "photos", {"blue": 12, "green": 12, "red": 12})


def make_photos(root: Path, counts: dict[str, int], side_px: int = 48) -> Path:
    """Writes PNG class folders; pictures of a class share a tint and are all different."""
    for label, count in counts.items():
        (root / label).mkdir(parents=True)
        # The digits of a class's name decide its tint, whatever other classes there are.
        tint = np.random.default_rng(sum(label.encode())).uniform(40, 215, 3)
        for number in range(count):
            noise = np.random.default_rng(number).normal(0, 25, (side_px, side_px, 3))
            pixels = (tint + noise).clip(0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(root / label / f"{number:03}.png")
    return root
