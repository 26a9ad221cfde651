"""Makes docs/report.png: the report of the built-in photographs, as a browser shows it.

    pip install '.[browser]' && python docs/screenshot.py

It trains for a few seconds, with the network that comes with Frostline, and needs a Chromium.
"""

import shutil
import sys
import tempfile
from importlib.resources import files
from pathlib import Path

from PIL import Image
from playwright.sync_api import sync_playwright

import frostline
from frostline.base.console import QUIET

OUT = Path(__file__).resolve().parent / "report.png"
WIDTH_PX, HEIGHT_PX = 1180, 1000
COLOURS = 192
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


def trained(folder: Path) -> frostline.Run:
    """Trains a new last layer on the photographs of clothes, and judges it on those kept aside."""
    return frostline.train(
        Path(str(files("frostline") / "demo_photos" / "clothing")),
        folder / "clothing",
        recipe="quick",
        backbone="builtin:efficientnet_lite0",
        val=0,
        device="cpu",
        precision="fp32",
        engine="eager",
        cache="always",
        cache_dir=folder / "cache",
        console=QUIET,
    )


def photograph(page: Path, out: Path) -> None:
    """Writes the top of a page as a PNG of few colours, so that it is small."""
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    if browser is None:
        sys.exit(f"none of {', '.join(BROWSERS)} is on the PATH")
    with sync_playwright() as playwright:
        # Without its sandbox it also runs as root, as in a container.
        chromium = playwright.chromium.launch(executable_path=browser, args=["--no-sandbox"])
        shown = chromium.new_page(
            viewport={"width": WIDTH_PX, "height": HEIGHT_PX}, color_scheme="light"
        )
        shown.goto(page.resolve().as_uri())
        shown.screenshot(path=out)
        chromium.close()
    with Image.open(out) as image:
        image.convert("RGB").quantize(COLOURS, dither=Image.Dither.NONE).save(out, optimize=True)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        photograph(trained(Path(folder)).report, OUT)
