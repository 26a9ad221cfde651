"""Makes what `test_compat.py` opens: photos, a cache, a finished and an unfinished run.

What lies in `v0_1/` was made with this script by the code before its files were put in order
(commit 287b618). It is kept so that the script can be read; running it anew with later code
would test nothing. Absolute paths in `listing.csv` and `predictions.csv` were shortened by hand.
"""

import contextlib
import os
import shutil
import signal
import sys
from io import StringIO
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from frostline import pipeline, recipe
from frostline.base.console import Console

RECIPE = """
[backbone]
name = "timm:test_resnet?pretrained=false"
image_px = 48

[head]
init = "kaiming"

[data]
val = 0.3

[views]
preset = "light"
count = 2

[compute]
device = "cpu"
precision = "fp32"
engine = "eager"
cache = "always"

[[stages]]
line = "top"
epochs = 2
batch_size = 8
lr = 0.01

[[stages]]
line = "layer4"
epochs = 3
batch_size = 8
lr = 0.003
"""


class _Terminating(StringIO):
    """Asks the process to end once the second epoch of the second stage is told."""

    def write(self, text: str) -> int:
        if "epoch 2/3" in text:
            os.kill(os.getpid(), signal.SIGTERM)
        return super().write(text)


def make_photos(root: Path) -> None:
    for number, label in enumerate(("blue", "green", "red")):
        (root / label).mkdir(parents=True)
        for index in range(8):
            draw = np.random.default_rng([number, index])
            pixels = draw.integers(0, 256, (6, 6, 3))
            pixels[..., 2 - number] //= 2
            image = Image.fromarray(pixels.astype(np.uint8)).resize((40, 32), Image.BILINEAR)
            image.save(root / label / f"{index}.png")


def main(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    os.chdir(folder)
    torch.set_num_threads(1)
    make_photos(Path("photos"))
    Path("recipe.toml").write_text(RECIPE.lstrip())
    wanted = recipe.read(Path("recipe.toml"))
    pipeline.train(Path("photos"), Path("finished"), wanted, Path("cache"), Console(None))
    with contextlib.suppress(KeyboardInterrupt):
        pipeline.train(
            Path("photos"),
            Path("unfinished"),
            wanted,
            Path("cache"),
            Console(_Terminating(), verbose=True),
        )
    Path("made_with.txt").write_text(f"torch {torch.__version__.partition('+')[0]}\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
