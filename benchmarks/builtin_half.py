"""What half precision costs the network that ships with Frostline.

    python benchmarks/builtin_half.py FOLDER/efficientnet_lite0_imagenet PHOTOS...

Prints a Markdown table of the sets PHOTOS (a folder with train/ and val/, or a CSV with splits):
how right a probe is on val with the float32 weights in the folder and with the network that ships;
and, of 64 of the pictures, how far the logits of the network's own classes lie apart at most, in
standard deviations of the logits, and how many pictures get another class.
"""

import argparse
from pathlib import Path

import torch

from common import backbone, bar, table, train, workplace
from frostline.base.console import QUIET
from frostline.images import augment, listing
from frostline.networks import catalog
from frostline.networks.builtin_networks import FALLBACK
from frostline.recipe import Data

PICTURES = 64
OPTIONS = ("--recipe", "quick", "--device", "cpu", "--precision", "fp32", "--engine", "eager")


def pictures(photos: Path) -> list[Path]:
    """Returns some pictures of a set, spread over it."""
    found = listing.scan_as(photos, Data(), QUIET)
    rows = found.usable[:: max(len(found.usable) // PICTURES, 1)][:PICTURES]
    return [Path(found.root) / row.path for row in rows]


@torch.no_grad()
def logits(name: str, files: list[Path]) -> torch.Tensor:
    """Returns what a network says of its own classes: [pictures, classes]."""
    opened = catalog.find(name)
    how = opened.record.preprocessing
    views = [augment.load(path.read_bytes(), how, [augment.CENTER], "")[0] for path in files]
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (how.mean, how.std))
    images = (torch.stack(views).float() / 255 - mean) / std
    return torch.cat([opened.module(batch) for batch in images.split(16)])


def main() -> None:
    made = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    made.add_argument("weights", type=backbone)
    made.add_argument("photos", type=Path, nargs="+")
    given = made.parse_args()
    rows, worst = [], 0.0
    for number, photos in enumerate(given.photos):
        files = pictures(photos)
        full, half = logits(given.weights, files), logits(FALLBACK, files)
        apart = float((full - half).abs().max() / full.std())
        others = int((full.argmax(1) != half.argmax(1)).sum())
        with workplace() as work:
            scores = [
                train(photos, name, work, f"{number}-{index}", *OPTIONS).accuracy
                for index, name in enumerate((given.weights, FALLBACK))
            ]
        worst = max(worst, abs(scores[1] - scores[0]))
        name = photos.parent.name if photos.is_file() else photos.name
        accuracy = [f"{score:.4f}" for score in scores]
        rows.append([name, *accuracy, f"{apart:.4f}", f"{others} of {len(files)}"])
    table(("set", "float32", "half", "logits apart", "other class"), rows)
    bar("built-in network, accuracy of a probe", "within 0.3 points", f"{worst:.2%}", worst <= 3e-3)


if __name__ == "__main__":
    main()
