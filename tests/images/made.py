"""Pictures and tables that several tests of images make."""

from pathlib import Path

import pytest
from PIL import Image

from frostline.base.errors import ListingError
from frostline.images import listing as listings
from frostline.images.listing import Listing


def picture(path: Path, shade: int = 0) -> Path:
    """Writes a small picture; another shade is another content."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("L", (6, 4), shade % 256).save(path)
    return path


def folders(root: Path, *names: str, count: int = 2) -> Path:
    """Writes `count` pictures, all different, into each of the folders."""
    for index, name in enumerate(names):
        for number in range(count):
            picture(root / name / f"{number}.png", 1 + index * 10 + number)
    return root


def table(folder: Path, text: str, *pictures: str, name: str = "table.csv") -> Path:
    """Writes a table and the pictures it names, all different."""
    for number, one in enumerate(pictures):
        picture(folder / one, number)
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def fails(source: object, **options: str) -> str:
    """Scans what must be refused, and returns the one line that says why."""
    with pytest.raises(ListingError) as error:
        listings.scan(source, **options)
    assert "\n" not in str(error.value)
    return str(error.value)


def splits_of(listing: Listing) -> set[tuple[str, str]]:
    return {(row.label, row.split) for row in listing.usable}


def labelled(listing: Listing) -> dict[str, str]:
    """File name to label."""
    return {Path(row.path).name: row.label for row in listing.rows}
