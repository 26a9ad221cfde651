import base64
import io
import itertools
import os
import re
import subprocess
import sys
import xml.etree.ElementTree as ET
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from frostline.base.errors import DiskError
from frostline.report.charts import Series, escape, line_chart, reliability_chart, ticks
from frostline.report.page import Example, render, thumbnail, write
from frostline.scores.metrics import calibration, summarise, summarise_multilabel

VOID = {"meta", "img", "br"}
NS = "{http://www.w3.org/2000/svg}"


class Tree(HTMLParser):
    """Collects tags and text, and fails where tags do not close in order."""

    def __init__(self, page: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(page)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] != "style":
            self.text += data + "\n"

    def every(self, tag: str) -> list[dict[str, str | None]]:
        return [attrs for name, attrs in self.tags if name == tag]


def scores(c: int = 3, n: int = 90, names: list[str] | None = None) -> dict[str, Any]:
    rng = np.random.default_rng(0)
    truth = rng.integers(0, c, n)
    logits = rng.normal(size=(n, c))
    logits[np.arange(n), truth] += 2
    prob = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    labels = names or [f"kind {k}" for k in range(c)]
    return {**summarise(prob, truth, labels), "calibration": calibration(prob, truth)}


def epochs(*stages: int) -> list[dict[str, Any]]:
    return [
        {"stage": s, "kind": "train", "epoch": e, "train_loss": 1 / e, "val_accuracy": 1 - 0.5 / e}
        for s, count in enumerate(stages)
        for e in range(1, count + 1)
    ]


def page(**changes: Any) -> str:
    given: dict[str, Any] = {
        "title": "ants",
        "facts": [("backbone", "dir:weights"), ("line", "pooled")],
        "metrics": {"val": scores()},
        "history": epochs(3),
        "mistakes": [],
        "notes": [],
    }
    return render(**{**given, **changes})


def picture(path: Path, size: tuple[int, int] = (40, 20), **save: Any) -> str:
    Image.new("RGB", size, (200, 30, 30)).save(path, **save)
    return str(path)


def opened(data: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(data))
    assert (image.format, image.mode) == ("JPEG", "RGB")
    return image


def test_page_is_well_formed_and_loads_nothing(tmp_path: Path) -> None:
    shown = [Example(picture(tmp_path / "a.png"), "ants", "bees", 0.9)]
    html = page(mistakes=shown, metrics={"val": scores(), "test": scores(40)})
    tree = Tree(html)
    assert html.startswith("<!DOCTYPE html>")
    names = {name for name, _ in tree.tags}
    assert not names & {"script", "link", "iframe", "object", "a", "base", "form"}
    assert all(
        (attrs["src"] or "").startswith("data:image/jpeg;base64,") for attrs in tree.every("img")
    )
    assert set(re.findall(r"https?://[^\s\"<]+", html)) == {"http://www.w3.org/2000/svg"}
    assert "url(" not in html
    assert "@import" not in html
    assert "default-src 'none'" in html
    assert "prefers-color-scheme:dark" in html


def test_page_can_be_read_without_seeing_it(tmp_path: Path) -> None:
    shown = [Example(picture(tmp_path / "a.png"), "ants", "bees", 0.9)]
    tree = Tree(page(mistakes=shown))
    assert [attrs["alt"] for attrs in tree.every("img")] == ["a.png: ants, taken for bees"]
    assert [attrs["role"] for attrs in tree.every("svg")] == ["img"] * 3
    assert all(attrs.get("scope") in ("row", "col") for attrs in tree.every("th"))
    assert tree.every("html") == [{"lang": "en"}]
    levels = [int(name[1]) for name, _ in tree.tags if re.fullmatch("h[1-6]", name)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after <= before + 1 for before, after in itertools.pairwise(levels))
    boxes = [attrs for attrs in tree.every("div") if attrs.get("role") == "region"]
    assert boxes
    assert all(attrs["tabindex"] == "0" and attrs["aria-label"] for attrs in boxes)


def test_numbers_carry_n_and_interval() -> None:
    numbers = {**scores(), "n": 1530, "accuracy": 0.94771, "accuracy_ci95": [0.9004, 0.9733]}
    text = Tree(page(metrics={"val": numbers})).text
    assert "accuracy 0.948\n (95 % interval 0.900 to 0.973), n = 1,530." in text
    assert "Lower is better: log loss, calibration error, Brier score." in text
    numbers = {key: value for key, value in numbers.items() if key not in ("ece", "brier")}
    assert "Lower is better: log loss." in Tree(page(metrics={"val": numbers})).text
    assert "top-5" not in text
    assert "top-5 accuracy" in Tree(page(metrics={"val": scores(6)})).text


def test_everything_from_outside_is_escaped() -> None:
    evil = "<b>x</b>\"'&\udce9\x00\u202e"
    safe = "<b>x</b>\"'&\\xe9\\x00\\u202e"
    html = page(
        title=evil,
        facts=[(evil, evil)],
        notes=[evil],
        metrics={evil: scores(2, names=[evil, "bee"])},
        history=[{"stage": evil, "kind": evil, evil: evil}, *epochs(2)],
        mistakes=[Example(f"/nowhere/{evil.replace(chr(0), '')}", evil, evil, 0.5)],
    )
    html.encode("utf-8")
    tree = Tree(html)
    assert "<b>x" not in html
    assert tree.text.count(safe) >= 10
    for svg in re.findall(r"<svg.*?</svg>", html, re.DOTALL):
        ET.fromstring(svg)


def test_empty_run_is_said_not_failed() -> None:
    text = Tree(page(facts=[], metrics={}, history=[], mistakes=[])).text
    assert "Nothing was evaluated." in text
    assert "How training went" not in text
    assert "None." in text


def test_undefined_numbers_are_named() -> None:
    numbers = summarise([[0.9, 0.1, 0.0], [0.2, 0.8, 0.0]], [0, 1], ["ant", "bee", "wasp"])
    text = Tree(page(metrics={"val": numbers})).text
    assert "n/a: no such image, or never predicted." in text
    assert "nan" not in text.lower()
    assert "Can its probabilities be believed?" not in text


def test_classes_stand_worst_first_and_absent_ones_last() -> None:
    prob = np.eye(4)[[0, 0, 1, 1]]
    numbers = summarise(prob, [0, 2, 1, 1], ["middling", "good", "bad", "absent"])
    html = page(metrics={"val": numbers})
    table = html[html.index("By class") : html.index("What is taken")]
    assert re.findall(r'<th scope="row">(\w+)<', table) == ["bad", "middling", "good", "absent"]


def test_confusion_matrix_up_to_thirty_classes() -> None:
    numbers = scores(30)
    html = page(metrics={"val": numbers})
    cells = re.findall(r'<td class="(?:right|wrong|zero)"[^>]*>(\d+)', html)
    assert [int(cell) for cell in cells] == np.array(numbers["confusion"]).ravel().tolist()
    assert page(metrics={"val": scores(10)}).count("%</small>") > 0


def test_above_thirty_classes_the_worst_confusions_are_listed() -> None:
    numbers = scores(31)
    counts = np.zeros((31, 31), int)
    counts[3, 7], counts[5, 1], counts[3, 3] = 9, 4, 3
    numbers["confusion"] = counts.tolist()
    html = page(metrics={"val": numbers})
    assert 'class="matrix' not in html
    found = html[html.index("The 2 most frequent of 2 confusions.") :]
    rows = re.findall(
        r'row">(kind \d+)</th><td class="text">(kind \d+)</td><td>(\d+)</td><td>(.*?)<', found
    )
    assert rows == [("kind 3", "kind 7", "9", "75.0%"), ("kind 5", "kind 1", "4", "100.0%")]
    numbers["confusion"] = np.eye(31, dtype=int).tolist()
    assert "No class was taken for another." in page(metrics={"val": numbers})


def test_confusions_that_are_stored_without_zeros_are_listed() -> None:
    numbers = scores(60)
    numbers["confusion"] = {"classes": 60, "entries": [[3, 7, 9], [3, 3, 3]]}
    html = page(metrics={"val": numbers})
    assert "The 1 most frequent of 1 confusions." in html
    assert "75.0%" in html


def test_charts_need_two_epochs() -> None:
    one = page(history=epochs(1), metrics={})
    assert "<svg" not in one
    assert "History in numbers, 1 line<" in one
    two = page(history=epochs(2), metrics={})
    assert two.count("<svg") == 2
    probe = {"stage": 0, "kind": "probe", "val_accuracy": 0.9}
    assert "<svg" not in page(history=[probe, *epochs(1)], metrics={})


def test_probe_stands_where_training_starts() -> None:
    probe = {"stage": 0, "kind": "probe", "val_accuracy": 0.9, "val_loss": None}
    later = [{**line, "stage": 1} for line in epochs(2)]
    html = page(history=[probe, *later, {**later[0], "stage": 2}], metrics={})
    assert "<title>val 0: 0.9</title>" in html
    assert "stages 0, 1<" in html
    assert "stage 2<" in html
    assert "stage 0<" not in page(history=epochs(3), metrics={})


def test_a_stage_of_which_nothing_was_kept_is_marked() -> None:
    lines = epochs(2, 2, 2)
    lines[1]["kept"] = True
    lines[2]["kept"], lines[3]["kept"] = False, True
    lines[5]["kept"] = False
    html = page(history=lines, metrics={})
    assert ">stage 0<" in html
    assert ">stage 1<" in html
    assert ">stage 2 (not kept)<" in html
    assert re.findall(r"<td>(yes|no)</td>", html) == ["yes", "no", "yes", "no"]


def test_names_of_stages_close_by_do_not_overlap() -> None:
    html = page(history=epochs(1, 1, 40, 1), metrics={})
    names = re.findall(r'<text x="([\d.]+)" y="([\d.]+)" text-anchor="(\w+)">(stage \d)<', html)
    assert len(names) == 8
    boxes = [(float(x) - (42 if anchor == "end" else 0), float(y)) for x, y, anchor, _ in names[:4]]
    for (x, y), (other, row) in itertools.combinations(boxes, 2):
        assert y != row or abs(x - other) >= 42
    assert all(58 <= x <= 544 - 42 for x, _ in boxes)


def many_labels() -> dict[str, Any]:
    probabilities = [[0.9, 0.2, 0.1], [0.6, 0.7, 0.3], [0.4, 0.5, 0.2], [0.1, 0.1, 0.4]]
    has = np.array([[1, 0, 0], [0, 1, 0], [1, 0, 0], [0, 0, 0]], dtype=bool)
    return summarise_multilabel(probabilities, has, ["ant", "bee", "cat"])


def test_several_labels_have_tables_of_their_own() -> None:
    html = page(metrics={"val": many_labels()})
    text = Tree(html).text
    assert "exact match 0.500" in text
    assert "mean average precision\n" in text
    assert "What is taken for what" not in text
    assert "Can its probabilities be believed?" not in text
    assert "matrix" not in html[html.index("<main>") :]
    ranked = html[html.index("By class") : html.index("What is missed")]
    heads = re.findall(r'col"[^>]*>([^<]+)<', ranked)
    assert heads[:6] == ["class", "n", "average precision", "f1", "precision", "recall"]
    # By average precision: 5/6, 1, undefined.
    assert re.findall(r'"row">(\w+)</th><td>\d</td><td>(.*?)<', ranked) == [
        ("ant", "0.833"),
        ("bee", "1.000"),
        ("cat", "n/a"),
    ]
    counts = html[html.index("What is missed") :]
    pattern = r'"row">(\w+)</th>' + r"<td>(\d)</td>" * 4
    assert re.findall(pattern, counts) == [
        ("ant", "1", "1", "1", "1"),
        ("bee", "1", "0", "1", "2"),
        ("cat", "0", "0", "0", "4"),
    ]


def test_mistakes_of_several_labels_say_which(tmp_path: Path) -> None:
    missed = Example("/gone/1.jpg", "ant, bee", "", 0.02, "ant")
    wrong = Example("/gone/2.jpg", "", "cat", 0.9, "cat")
    text = Tree(page(mistakes=[wrong, missed])).text
    shown = re.findall(r"truth \n(.*)\npredicted \n(.*)\n(.*)\n", text)
    assert shown == [
        ("ant, bee", "none", "probability of ant 0.020"),
        ("none", "cat", "probability of cat 0.900"),
    ]


def test_mistakes_are_the_most_confident_first_and_not_endless() -> None:
    many = [Example(f"/gone/{k}.jpg", "ant", "bee", k / 100) for k in range(60)]
    text = Tree(page(mistakes=many)).text
    assert "48 of 60." in text
    assert re.findall(r"probability (\S+)", text)[:3] == ["0.590", "0.580", "0.570"]


def test_pictures_that_cannot_be_shown_are_tolerated_and_said(tmp_path: Path) -> None:
    (tmp_path / "text.jpg").write_text("not a picture")
    whole = Path(picture(tmp_path / "whole.jpg", (400, 300)))
    (tmp_path / "cut.jpg").write_bytes(whole.read_bytes()[:400])
    os.mkfifo(tmp_path / "pipe.jpg")
    names = ("text.jpg", "cut.jpg", "pipe.jpg", "gone.jpg")
    html = page(mistakes=[Example(str(tmp_path / name), "a", "b", 0.5) for name in names])
    assert html.count("The picture cannot be shown.") == 2
    assert html.count("The picture is no longer there.") == 2
    assert "<img" not in html


def test_picture_with_a_name_that_is_not_utf8_is_shown(tmp_path: Path) -> None:
    path = os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.png")
    html = page(mistakes=[Example(picture(Path(path)), "a", "b", 0.5)])
    assert 'alt="caf\\xe9.png: a, taken for b"' in html
    found = re.search(r"base64,([^\"]+)", html)
    assert found
    assert opened(base64.b64decode(found[1])).size == (40, 20)


def test_thumbnail_is_small_and_upright(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    path = picture(tmp_path / "a.jpg", (1200, 600), exif=exif)
    assert opened(thumbnail(path)).size == (120, 240)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGBA", "CMYK", "I", "I;16", "F"])
def test_thumbnail_of_any_mode(tmp_path: Path, mode: str) -> None:
    path = tmp_path / "a.tif" if mode in ("CMYK", "I", "F") else tmp_path / "a.png"
    if mode in ("I", "I;16", "F"):
        dtype = {"I": np.int32, "I;16": np.uint16, "F": np.float32}[mode]
        # Blocks of 16 pixels, so that JPEG keeps them apart.
        values = np.kron([[0, 30000], [60000, 60000]], np.ones((16, 16))).astype(dtype)
        Image.fromarray(values).save(path)
        expected = [0, 128, 255, 255]
    else:
        Image.new("RGB", (32, 32), "white").convert(mode).save(path)
        expected = [255] * 4
    got = np.asarray(opened(thumbnail(str(path))).convert("L"), dtype=int)[8::16, 8::16]
    assert np.abs(got.ravel() - expected).max() <= 3


def test_transparency_lies_on_white(tmp_path: Path) -> None:
    Image.new("RGBA", (8, 8), (0, 0, 0, 0)).save(tmp_path / "a.png")
    pixel = opened(thumbnail(str(tmp_path / "a.png"))).getpixel((0, 0))
    assert isinstance(pixel, tuple)
    assert min(pixel) >= 253


def test_huge_picture_gets_no_thumbnail(tmp_path: Path) -> None:
    path = tmp_path / "huge.png"
    Image.new("1", (10_000, 10_000)).save(path)
    with pytest.raises(ValueError, match="too large for a thumbnail"):
        thumbnail(str(path))


def test_real_photograph_becomes_a_thumbnail(assets: Path) -> None:
    photo = next(iter(sorted((assets / "data" / "ants_bees" / "val" / "ants").glob("*.jpg"))))
    data = thumbnail(str(photo))
    assert max(opened(data).size) == 240
    assert len(data) < 40_000


def test_write_is_whole_or_a_disk_error(tmp_path: Path) -> None:
    path = tmp_path / "run" / "report.html"
    write(path, page())
    assert Tree(path.read_text("utf-8")).every("h1")
    assert [p.name for p in path.parent.iterdir()] == ["report.html"]
    with pytest.raises(DiskError, match="cannot be written"):
        write(path / "report.html", page())


def test_report_needs_neither_torch_nor_matplotlib() -> None:
    code = (
        "import sys, frostline.report.page; "
        "sys.exit(str({'torch', 'timm', 'matplotlib', 'sklearn'} & set(sys.modules) or ''))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stderr.strip() == ""


def test_line_chart_is_a_standalone_svg() -> None:
    drawn = line_chart(
        [Series("val", [(0, 0.5), (1, 0.7), (2, 0.8)]), Series("a<b", [(1, 0.6), (2, 0.9)])],
        title="Accuracy <by> epoch",
        x_label="epochs",
        y_label="accuracy",
        boundaries=[(1, "stage 1"), (99, "outside")],
        y_limits=(0, 1),
    )
    root = ET.fromstring(drawn)
    assert root.tag == f"{NS}svg"
    assert root[0].tag == f"{NS}title"
    assert root[0].text == "Accuracy <by> epoch"
    assert root[1].text == "val: from 0.5 at 0 to 0.8 at 2. a<b: from 0.6 at 1 to 0.9 at 2."
    texts = [element.text for element in root.iter(f"{NS}text")]
    assert {"0", "1", "2", "epochs", "accuracy", "val", "a<b", "stage 1"} <= set(texts)
    assert "outside" not in texts
    paths = [p.get("d") for p in root.iter(f"{NS}path") if p.get("class") == "curve k0"]
    # From the left edge at 58 to the right at 544; higher values stand higher.
    (curve,) = (p for p in paths if p and "L" in p)
    xy = np.array([pair.split() for pair in re.findall(r"[ML]([\d.]+ [\d.]+)", curve)], float)
    assert xy[:, 0].tolist() == [58, 301, 544]
    assert (np.diff(xy[:, 1]) < 0).all()


def test_line_chart_breaks_where_a_value_is_not_finite() -> None:
    points = [(0, 1.0), (1, float("nan")), (2, float("inf")), (3, 0.5), (4, 0.4)]
    drawn = line_chart([Series("loss", points)], title="t", x_label="x", y_label="y")
    assert re.search(r'd="M58\.0 [\d.]+M[\d.]+ [\d.]+L[\d.]+ [\d.]+"', drawn)
    assert "nan" not in drawn
    assert "inf" not in drawn.replace("info", "")
    nothing = line_chart([Series("loss", points[1:3])], title="t", x_label="x", y_label="y")
    assert "no finite values" in nothing
    ET.fromstring(nothing)


@pytest.mark.parametrize("value", [0.0, 1.0, -3.0, 1e-9, 1e12])
def test_line_chart_of_one_flat_value(value: float) -> None:
    drawn = line_chart([Series("a", [(1, value)])], title="t", x_label="x", y_label="y")
    ET.fromstring(drawn)
    assert "nan" not in drawn


def test_many_points_get_no_dots() -> None:
    series = [Series("a", [(k, k) for k in range(500)])]
    assert "<circle" not in line_chart(series, title="t", x_label="x", y_label="y")


def test_reliability_chart() -> None:
    bins = calibration([[0.2, 0.8], [0.3, 0.7], [0.45, 0.55]], [1, 0, 1], bins=10)
    root = ET.fromstring(reliability_chart(bins, title="Reliability"))
    dots = list(root.iter(f"{NS}circle"))
    assert [dot[0].text for dot in dots] == [
        "confidence 0.50 to 0.60: accuracy 1.000, n = 1",
        "confidence 0.60 to 0.70: accuracy 0.000, n = 1",
        "confidence 0.70 to 0.80: accuracy 1.000, n = 1",
    ]
    assert len(list(root.iter(f"{NS}rect"))) == 3
    ET.fromstring(reliability_chart([], title="empty"))


@pytest.mark.parametrize(
    ("low", "high", "whole", "expected"),
    [
        (0, 1, False, [0, 0.2, 0.4, 0.6, 0.8, 1.0]),
        (0.03, 0.41, False, [0.1, 0.2, 0.3, 0.4]),
        (0, 2, True, [0, 1, 2]),
        (1, 30, True, [5, 10, 15, 20, 25, 30]),
        (-3, 3, False, [-3, -2, -1, 0, 1, 2, 3]),
    ],
)
def test_ticks_are_round(low: float, high: float, whole: bool, expected: list[float]) -> None:
    assert ticks(low, high, whole=whole) == expected


def test_escape_keeps_every_script_and_joiner() -> None:
    assert escape("黄蜂 é 👩‍🔬 می‌خواهم") == "黄蜂 é 👩‍🔬 می‌خواهم"
    assert escape("\ud800\x1b\ufffe") == "\\ud800\\x1b\\ufffe"
