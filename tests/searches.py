"""Searches that tests interrupt: photographs that leave something to find, and a run that ends."""

import contextlib
import signal
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from frostline.base.signals import Interrupted
from frostline.recipe import BackboneChoice, Compute, Data, Recipe, Search, Stage, Views
from frostline.training import checkpoint
from frostline.training.checkpoint import CheckpointClock

STAGE = Stage(line="layer3", epochs=4, batch_size=8, lr=0.01, suffix_lr=1.0, ema=0.8, select="last")
_RECIPE = Recipe(
    backbone=BackboneChoice("timm:test_resnet?pretrained=false", image_px=48),
    compute=Compute(device="cpu", precision="fp32", cache="always", engine="eager"),
    data=Data(val=0.4),
    views=Views(count=2, flip=True, crop=0.7),
)


def recipe(stage: Stage, candidates: int) -> Recipe:
    """Returns a small search on such photographs, compared on validation."""
    search = Search(enabled=True, candidates=candidates, folds=1)
    return replace(_RECIPE, search=search, stages=(stage,))


def make_hard(root: Path) -> Path:
    """Writes three classes whose tints overlap, so that the probe does not get them all."""
    for tint, label in enumerate(("a", "b", "c")):
        for number in range(14):
            draw = np.random.default_rng([tint, number])
            pixels = 110 + 12 * tint + draw.normal(0, 14) + draw.normal(0, 30, (48, 48, 3))
            (root / label).mkdir(exist_ok=True)
            image = Image.fromarray(pixels.clip(0, 255).astype(np.uint8))
            image.save(root / label / f"{number}.png")
    return root


@contextlib.contextmanager
def ends_at(number: int) -> Iterator[pytest.MonkeyPatch]:
    """Ends the run with its checkpoint of that number, from 0; each step leaves one."""
    write, count = checkpoint.write, [0]

    def wrapped(*arguments: Any) -> None:
        write(*arguments)
        count[0] += 1
        if count[0] == number + 1:
            raise Interrupted(signal.SIGKILL)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(CheckpointClock, "is_due", lambda self: True)
        patched.setattr(checkpoint, "write", wrapped)
        yield patched
