"""The photographs of `frostline demo`, chosen and made small from the clothing data set.

    python benchmarks/demo_photos.py FOLDER/clothing OUT

FOLDER/clothing holds `pictures.csv` with the columns path, label, split and group (who sent a
picture in). Of each class some pictures of the train split are drawn, and some of the val split,
whose senders are others; nobody chose them by looking. They become JPEGs without metadata.
"""

import argparse
import csv
import random
from collections.abc import Sequence
from pathlib import Path

from PIL import Image, ImageOps

CLASSES = ("hat", "pants", "shoes", "shorts", "tshirt")
# Of each class; the set has twelve hats in val.
COUNTS = {"train": 14, "test": 12}
SOURCE = {"train": "train", "test": "val"}
SIDE_PX = 192
QUALITY = 80


def draw(rows: Sequence[dict[str, str]], label: str, part: str) -> list[dict[str, str]]:
    """Returns the pictures of a class for `train` or `test`, in the table's order."""
    known = [row for row in rows if (row["label"], row["split"]) == (label, SOURCE[part])]
    chosen = random.Random(f"{label} {part}").sample(known, COUNTS[part])
    return sorted(chosen, key=lambda row: row["path"])


def write(source: Path, target: Path) -> None:
    """Writes a picture upright, with its longer side at most `SIDE_PX`."""
    with Image.open(source) as opened:
        picture = ImageOps.exif_transpose(opened).convert("RGB")
    picture.thumbnail((SIDE_PX, SIDE_PX), Image.Resampling.LANCZOS)
    target.parent.mkdir(parents=True, exist_ok=True)
    picture.save(target, quality=QUALITY, optimize=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("clothing", type=Path)
    parser.add_argument("out", type=Path)
    given = parser.parse_args()
    with (given.clothing / "pictures.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    senders: dict[str, set[str]] = {part: set() for part in COUNTS}
    for part in COUNTS:
        for label in CLASSES:
            for row in draw(rows, label, part):
                name = Path(row["path"]).with_suffix(".jpg").name
                write(given.clothing / row["path"], given.out / part / label / name)
                senders[part].add(row["group"])
    assert not senders["train"] & senders["test"]
    size = sum(path.stat().st_size for path in given.out.rglob("*.jpg"))
    print(f"{sum(COUNTS.values()) * len(CLASSES)} pictures, {size / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
