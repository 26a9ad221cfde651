"""The pages in a real browser: light and dark, on a phone and in print, with and without eyes.

It needs the extra `browser` and a Chromium of the system; elsewhere these tests are skipped.
"""

import io
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from conftest import settled
from frostline.cli import main
from frostline.report.examples import Example
from frostline.report.page import Page, SplitPart, render
from frostline.report.stages import results
from frostline.scores.metrics import calibration, summarise, summarise_multilabel
from frostline.scores.sentences import Guess

pytestmark = pytest.mark.browser
playwright = pytest.importorskip("playwright.sync_api", reason="needs frostline[browser]")
axe = pytest.importorskip(
    "axe_playwright_python.sync_playwright", reason="needs frostline[browser]"
)

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
PHONE_PX, DESK_PX = 390, 1200
# Smaller words cannot be read; a chart drawn too large for a phone would have them.
LEAST_PX = 9.5


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    found = next(filter(None, map(shutil.which, NAMES)), None)
    if found is None:
        pytest.skip(f"no browser: none of {', '.join(NAMES)} is on the PATH")
    with playwright.sync_playwright() as running:
        # Without its sandbox it also runs as root, as in a container.
        launched = running.chromium.launch(executable_path=found, args=["--no-sandbox"])
        yield launched
        launched.close()


@dataclass(frozen=True)
class Shown:
    """One page as a browser shows it."""

    page: Any
    complaints: list[str]

    def value(self, script: str) -> Any:
        return self.page.evaluate(script)

    @property
    def overhang_px(self) -> int:
        """How far the page is wider than the screen."""
        wide: int = self.value("document.documentElement.scrollWidth - window.innerWidth")
        return wide


def opened(browser: Any, html: Path, width_px: int = DESK_PX, scheme: str = "light") -> Shown:
    context = browser.new_context(
        viewport={"width": width_px, "height": 800}, color_scheme=scheme, bypass_csp=True
    )
    context.set_default_timeout(60_000)
    page = context.new_page()
    complaints: list[str] = []
    page.on("console", lambda message: complaints.append(f"{message.type}: {message.text}"))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("requestfailed", lambda request: complaints.append(f"not loaded: {request.url}"))
    page.on(
        "request",
        lambda request: (
            None if request.url.startswith(("data:", "file:")) else complaints.append(request.url)
        ),
    )
    page.goto(html.as_uri())
    return Shown(page, complaints)


def picture(path: Path, seed: int) -> str:
    pixels = np.random.default_rng(seed).integers(0, 255, (60, 90, 3)).astype(np.uint8)
    Image.fromarray(pixels).save(path)
    return str(path)


def scored(classes: int, n: int) -> dict[str, Any]:
    rng = np.random.default_rng(classes)
    truth = rng.integers(0, classes, n)
    logits = rng.normal(size=(n, classes))
    logits[np.arange(n), truth] += 3
    prob = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    labels = [
        f"a class with a long name, number {k}" if k % 5 == 4 else f"kind {k}"
        for k in range(classes)
    ]
    return {**summarise(prob, truth, labels), "calibration": calibration(prob, truth)}


def several() -> dict[str, Any]:
    rng = np.random.default_rng(1)
    has = rng.random((80, 4)) < 0.4
    prob = np.clip(has * 0.5 + rng.random((80, 4)) * 0.5, 0, 1)
    return summarise_multilabel(prob, has, ["miner", "rust", "phoma", "cercospora"])


def history() -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    lines: list[dict[str, Any]] = [
        {"stage": 0, "kind": "probe", "val_loss": 0.4, "val_accuracy": 0.8}
    ]
    for stage in (1, 2):
        for number in range(1, 5):
            fall = 0.4 / (4 * stage + number)
            scores = {"train_loss": fall, "val_loss": 2 * fall, "train_accuracy": 1 - fall}
            lines.append(
                {
                    "stage": stage,
                    "epoch": number,
                    "val_accuracy": 0.9 - fall,
                    "kind": "train",
                    **scores,
                }
            )
    proofs = [
        {"stage": 1, "line": "pooled", "kept": False, "best_epoch": 0, "val_accuracy": 0.8},
        {
            "stage": 2,
            "line": "blocks.5.a.long.name",
            "kept": True,
            "best_epoch": 3,
            "val_accuracy": 0.9,
        },
    ]
    return lines, proofs


def sheet() -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (1200, 400), "teal").save(buffer, "JPEG")
    return buffer.getvalue()


def made(kind: str, folder: Path) -> Page:
    """Returns a page with everything on it."""
    scores = several() if kind == "several" else scored(int(kind), 40 * int(kind))
    lines, proofs = history()
    labels = scores["labels"]
    shown = [
        Example(
            path=picture(folder / f"{k}.png", k),
            name=f"val/a folder/a_rather_long_name_without_any_blank_{k}.png",
            truth=labels[k % len(labels)],
            predicted=labels[(k + k % 3) % len(labels)],
            probability=0.5 + k / 80,
        )
        for k in range(30)
    ]
    by_class = {label: shown[k % 10 : k % 10 + 9] for k, label in enumerate(labels)}
    part = SplitPart("val", scores, Guess(labels[0], 0.3), by_class)
    return Page(
        title="A run with quite a long name of its own",
        byline=["7 March 2026, 09:05", "Frostline 1.0"],
        parts=(part,),
        mistakes=[one for one in shown if not one.is_right],
        warnings=["Stage 2 was kept, but its probabilities got worse."],
        remarks=["Chosen on the 40 val pictures: the penalty of the first fit."],
        stages=results(lines, proofs),
        history=lines,
        trained=dict.fromkeys(labels, 30),
        views=sheet(),
        facts=[("command", "frostline train …/photos --out …/run"), ("engine", "eager-" * 20)],
    )


KINDS = ("2", "17", "81", "several")


@pytest.fixture(scope="module", params=KINDS)
def html(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pages")
    path = folder / "report.html"
    path.write_text(render(made(request.param, folder)), "utf-8")
    return path


def assert_readable(shown: Shown) -> None:
    """Holds a page to what every one must be: whole, as wide as the screen, open to all."""
    assert shown.complaints == []
    assert shown.overhang_px <= 0
    found = axe.Axe().run(shown.page).response["violations"]
    serious = [
        (one["id"], [node["html"][:120] for node in one["nodes"]][:3])
        for one in found
        if one["impact"] in ("serious", "critical")
    ]
    assert serious == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width_px", [DESK_PX, PHONE_PX])
def test_a_page_can_be_read(browser: Any, html: Path, width_px: int, scheme: str) -> None:
    shown = opened(browser, html, width_px, scheme)
    assert_readable(shown)
    ground = shown.value("getComputedStyle(document.body).backgroundColor")
    assert (ground == "rgb(255, 255, 255)") == (scheme == "light")


def test_nothing_is_blocked_by_the_page_s_own_policy(browser: Any, html: Path) -> None:
    page = browser.new_page()
    said: list[str] = []
    page.on("console", lambda message: said.append(message.text))
    page.goto(html.as_uri())
    assert said == []
    broken = page.evaluate("[...document.images].filter(one => !one.naturalWidth).length")
    assert broken == 0


def test_words_on_a_phone_are_large_enough(browser: Any, html: Path) -> None:
    shown = opened(browser, html, PHONE_PX)
    least = shown.value(
        """Math.min(...[...document.querySelectorAll('svg text')].map(one => {
             const svg = one.closest('svg'), wide = svg.getBoundingClientRect().width;
             return parseFloat(getComputedStyle(one).fontSize) * wide / svg.viewBox.baseVal.width;
           }), 99)"""
    )
    assert least >= LEAST_PX
    narrow = shown.value(
        "Math.min(...[...document.querySelectorAll('.facts td')].map(one => one.clientWidth))"
    )
    assert narrow > PHONE_PX / 2, "values do not break into strips"


def test_mistakes_stand_side_by_side_on_a_phone(browser: Any, html: Path) -> None:
    shown = opened(browser, html, PHONE_PX)
    tops = shown.value(
        "[...document.querySelectorAll('#mistakes .thumbs li')].slice(0, 2)"
        ".map(one => one.getBoundingClientRect().top)"
    )
    assert tops[0] == tops[1]


def test_print_keeps_colours_and_cuts_nothing(browser: Any, html: Path) -> None:
    shown = opened(browser, html, scheme="dark")
    shown.page.emulate_media(media="print")
    ground = "getComputedStyle(document.body).backgroundColor"
    assert shown.value(ground) == "rgb(255, 255, 255)", "dark pages are printed light"
    assert shown.value(
        "[...document.querySelectorAll('body *')]"
        ".every(one => getComputedStyle(one).printColorAdjust === 'exact')"
    )
    assert shown.value(
        "[...document.querySelectorAll('.box')]"
        ".every(one => one.scrollHeight <= one.clientHeight + 1)"
    )
    assert shown.page.pdf(format="A4").startswith(b"%PDF")


def test_links_lead_to_what_they_name(browser: Any, html: Path) -> None:
    shown = opened(browser, html)
    links = shown.page.locator("nav a")
    assert links.count() >= 5
    links.last.click()
    assert shown.value("document.querySelector(location.hash).textContent").startswith("Facts")
    assert shown.value("window.scrollY") > 0


def test_a_curve_has_the_same_colour_in_every_picture(browser: Any, html: Path) -> None:
    from matplotlib.colors import to_rgb

    from frostline.report import curves

    shown = opened(browser, html)
    for kind, style in (("k0", curves._VAL), ("k1", curves._TRAIN)):
        drawn = shown.value(
            f"getComputedStyle(document.querySelector('#training svg .curve.{kind}')).stroke"
        )
        wanted = ", ".join(str(round(255 * part)) for part in to_rgb(style["color"]))
        assert drawn == f"rgb({wanted})"


@pytest.fixture(scope="module")
def ants_bees(assets: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run on real photographs, by the real command line; thirty of each class."""
    root = tmp_path_factory.mktemp("ants_bees")
    for name in ("ants", "bees"):
        (root / "photos" / name).mkdir(parents=True)
        real = sorted((assets / "data" / "ants_bees" / "val" / name).glob("*.jpg"))[:30]
        for path in real:
            (root / "photos" / name / path.name).symlink_to(path)
    network = assets / "weights" / "mobilenetv2_imagenet"
    words = ("train", root / "photos", "--out", root / "run", "--backbone", f"dir:{network}")
    options = settled("--line", "top", "--epochs", 3, "--augment", "light", "--views", 2)
    more = ("--cache-dir", root / "cache", *options)
    assert main([*map(str, words), *map(str, more)]) == 0
    said = ("predict", root / "run", root / "photos", "--html", root / "sheet.html")
    assert main([*map(str, said)]) == 0
    judged = ("evaluate", root / "run", root / "photos", "--out", root / "judged")
    assert main([*map(str, judged)]) == 0
    return root


@pytest.mark.parametrize("page", ["run/report.html", "judged/report.html", "sheet.html"])
@pytest.mark.parametrize(("width_px", "scheme"), [(DESK_PX, "dark"), (PHONE_PX, "light")])
def test_pages_of_real_photographs_can_be_read(
    browser: Any, ants_bees: Path, page: str, width_px: int, scheme: str
) -> None:
    assert_readable(opened(browser, ants_bees / page, width_px, scheme))
