"""The report's page: what stands on it, in which order, safe from whatever comes in."""

import io
import itertools
import re
import subprocess
import sys
import xml.etree.ElementTree as ET
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from frostline.base.errors import DiskError
from frostline.report.examples import Example
from frostline.report.page import Page, SplitPart, render, write
from frostline.report.stages import results
from frostline.scores.metrics import calibration, summarise, summarise_multilabel

VOID = {"meta", "img", "br", "wbr"}


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
            self.text += data.replace("\xa0", " ") + "\n"

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
        {
            "stage": s,
            "kind": "train",
            "epoch": e,
            "train_loss": 1 / e,
            "val_loss": 1.2 / e,
            "val_accuracy": 1 - 0.5 / e,
        }
        for s, count in enumerate(stages, start=1)
        for e in range(1, count + 1)
    ]


BASE = Page(
    title="ants",
    parts=(SplitPart("val", scores()),),
    history=epochs(3),
    facts=(("network", "dir:weights"), ("frost line", "pooled")),
)


def example(name: str = "a.png", folder: str = "/gone", **changes: Any) -> Example:
    given = {"truth": "ants", "predicted": "bees", "probability": 0.9, **changes}
    return Example(path=f"{folder}/{name}", name=name, **given)


def picture(path: Path) -> str:
    Image.new("RGB", (40, 20), (200, 30, 30)).save(path)
    return str(path.parent)


def page(**changes: Any) -> str:
    return render(replace(BASE, **changes))


def part(found: dict[str, Any], name: str = "val", **changes: Any) -> tuple[SplitPart, ...]:
    return (SplitPart(name, found, **changes),)


def test_page_is_well_formed_and_loads_nothing(tmp_path: Path) -> None:
    shown = [example(folder=picture(tmp_path / "a.png"))]
    parts = (*part(scores(), by_class={"kind 0": shown}), *part(scores(40), "test"))
    html = page(mistakes=shown, parts=parts, views=_jpeg())
    tree = Tree(html)
    assert html.startswith("<!DOCTYPE html>")
    names = {name for name, _ in tree.tags}
    assert not names & {"script", "link", "iframe", "object", "base", "form"}
    images = tree.every("img")
    assert len(images) == 3
    assert all((x["src"] or "").startswith("data:image/jpeg;base64,") for x in images)
    assert set(re.findall(r"https?://[^\s\"<]+", html)) == {"http://www.w3.org/2000/svg"}
    assert "url(" not in html
    assert "@import" not in html
    assert "default-src 'none'" in html
    assert "prefers-color-scheme:dark" in html


def _jpeg() -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (30, 20)).save(buffer, "JPEG")
    return buffer.getvalue()


def test_what_a_reader_came_for_stands_first() -> None:
    html = page(mistakes=[example()], views=_jpeg())
    heads = re.findall(r"<h2>(.*?)</h2>", html)
    assert heads == [
        *("What it gets wrong", "What is taken for what", "Class by class"),
        *("How training went", "What the network was shown", "Facts"),
    ]
    assert html.index("<h1>") < html.index(" right (") < html.index("<h2>")


def test_links_lead_to_sections_of_the_page_only() -> None:
    html = page(parts=(*part(scores()), *part(scores(), "test")))
    tree = Tree(html)
    ids = {f"#{attrs['id']}" for attrs in tree.every("section")}
    assert len(ids) == len(tree.every("section"))
    assert {attrs["href"] for attrs in tree.every("a")} == ids
    assert "#confusion-test" in ids


def test_page_can_be_read_without_seeing_it(tmp_path: Path) -> None:
    shown = [example(folder=picture(tmp_path / "a.png"))]
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
    scale = next(attrs for attrs in tree.every("div") if attrs.get("role") == "img")
    assert (scale["aria-label"] or "").startswith("From ")


def test_the_sentence_leads() -> None:
    numbers = {**scores(), "n": 1530, "accuracy": 0.94771, "accuracy_ci95": [0.9004, 0.9733]}
    text = Tree(page(parts=part(numbers))).text
    assert "1,450 of 1,530 right (95 %)\n The truth may lie between 90 % and 97 %;" in text
    assert "Lower is better: log-loss, calibration error, Brier score." in text
    numbers = {key: value for key, value in numbers.items() if key not in ("ece", "brier")}
    assert "Lower is better: log-loss." in Tree(page(parts=part(numbers))).text
    assert "top-5" not in text
    assert "top-5 accuracy" in Tree(page(parts=part(scores(6)))).text


def test_splits_are_named_where_there_are_several() -> None:
    both = Tree(page(parts=(*part(scores()), *part(scores(), "test")))).text
    assert "On val\n" in both
    assert "On test\n" in both
    assert "Class by class on test" in both
    assert "On val" not in Tree(page()).text


def test_doubts_and_warnings_stand_before_everything_else() -> None:
    prob = np.eye(3)[[0, 0, 0, 1, 0]]
    numbers = summarise(prob, [0, 0, 0, 1, 2], ["ants", "bees", "wasps"])
    html = page(parts=part(numbers), warnings=["Beware."], remarks=["By the way."])
    notes = html[html.index("<aside") : html.index("</aside>")]
    assert "cannot be told from guessing" in notes
    assert "The only picture of &#x27;wasps&#x27; was not recognised." in notes
    assert "Beware." in notes
    assert "By the way." not in notes
    assert html.index("<aside") < html.index("<h2>") < html.index("By the way.")


def test_everything_from_outside_is_escaped() -> None:
    evil = "<b>x</b>\"'&\udce9\x00\u202e"
    safe = "<b>x</b>\"'&\\xe9\\x00\\u202e"
    shown = [example(evil.replace("\x00", ""), truth=evil, predicted=evil)]
    html = page(
        title=evil,
        byline=[evil],
        facts=[(evil, evil)],
        warnings=[evil],
        remarks=[evil],
        parts=part(scores(2, names=[evil, "bee"]), evil, by_class={evil: shown}),
        history=[{"stage": evil, "kind": evil, evil: evil}, *epochs(2)],
        mistakes=shown,
        trained={evil: 3},
    )
    html.encode("utf-8")
    tree = Tree(html)
    assert "<b>x" not in html
    assert tree.text.count(safe) >= 12
    for svg in re.findall(r"<svg.*?</svg>", html, re.DOTALL):
        ET.fromstring(svg)


def test_empty_run_is_said_not_failed() -> None:
    text = Tree(page(facts=[], parts=(), history=[])).text
    assert "Nothing was evaluated." in text
    assert "How training went" not in text


def test_where_all_is_right_it_is_said() -> None:
    numbers = summarise(np.eye(2), [0, 1], ["ant", "bee"])
    assert "Nothing: all 2 pictures are right." in Tree(page(parts=part(numbers))).text


def test_undefined_numbers_are_named() -> None:
    numbers = summarise([[0.9, 0.1, 0.0], [0.2, 0.8, 0.0]], [0, 1], ["ant", "bee", "wasp"])
    text = Tree(page(parts=part(numbers))).text
    assert "n/a: no such picture, or never predicted." in text
    assert "nan" not in text.lower()
    assert "Can its percentages be believed?" not in text


def test_classes_stand_worst_first_and_absent_ones_last() -> None:
    prob = np.eye(4)[[0, 0, 1, 1]]
    numbers = summarise(prob, [0, 2, 1, 1], ["middling", "good", "bad", "absent"])
    html = page(parts=part(numbers), trained={"good": 7, "bad": 2})
    table = html[html.index("<h2>Class by class<") :].partition("</table>")[0]
    rows = re.findall(r'<th scope="row">(\w+)</th><td>(.*?)</td><td>(.*?)</td>', table)
    assert rows == [
        ("bad", "2", "0 of 1"),
        ("middling", "0", "1 of 1"),
        ("good", "7", "2 of 2"),
        ("absent", "0", "n/a"),
    ]


def test_confusion_matrix_up_to_thirty_classes() -> None:
    numbers = scores(30)
    html = page(parts=part(numbers))
    cells = re.findall(r'<td class="(?:right|wrong|zero)"[^>]*>(\d*)', html)
    assert [int(cell or 0) for cell in cells] == np.array(numbers["confusion"]).ravel().tolist()
    assert '<td class="zero"></td>' in html, "zeros would hide what is there"
    few = page(parts=part(scores(2, 20, ["ant", "bee"])))
    assert few.count(" %</small>") > 0
    whole = summarise(np.eye(2), [0, 1], ["ant", "bee"])
    assert '<td class="zero">0</td>' in page(parts=part(whole))


def test_above_thirty_classes_the_worst_confusions_are_listed() -> None:
    numbers = scores(31)
    counts = np.zeros((31, 31), int)
    counts[3, 7], counts[5, 1], counts[3, 3] = 9, 4, 3
    numbers["confusion"] = counts.tolist()
    html = page(parts=part(numbers))
    assert 'class="matrix' not in html
    found = html[html.index("The 2 most frequent of 2 confusions.") :]
    rows = re.findall(
        r'row">(kind \d+)</th><td class="text">(kind \d+)</td><td>(\d+)</td><td>(.*?)<', found
    )
    assert rows == [("kind 3", "kind 7", "9", "75 %"), ("kind 5", "kind 1", "4", "100 %")]
    numbers["confusion"] = np.eye(31, dtype=int).tolist()
    assert "No class was taken for another." in page(parts=part(numbers))


def test_confusions_that_are_stored_without_zeros_are_listed() -> None:
    numbers = scores(60)
    numbers["confusion"] = {"classes": 60, "entries": [[3, 7, 9], [3, 3, 3]]}
    html = page(parts=part(numbers))
    assert "The 1 most frequent of 1 confusions." in html
    assert ">75 %<" in html


def test_charts_need_two_epochs() -> None:
    one = page(history=epochs(1), parts=())
    assert "<svg" not in one
    assert "Every epoch in numbers, 1 line<" in one
    two = page(history=epochs(2), parts=())
    assert two.count("<svg") == 2
    probe = {"stage": 0, "kind": "probe", "val_accuracy": 0.9}
    assert "<svg" not in page(history=[probe, *epochs(1)], parts=())


def test_probe_stands_where_training_starts() -> None:
    probe = {"stage": 0, "kind": "probe", "val_accuracy": 0.9, "val_loss": None}
    html = page(history=[probe, *epochs(2, 1)], parts=())
    assert "<title>validation 0: 0.9</title>" in html
    assert html.count(">stage 1<") == html.count(">stage 2<") == 2
    assert "stage 0<" not in html
    assert ">stage 1<" not in page(history=epochs(3), parts=()), "the only one needs no name"


def test_stages_that_were_left_out_are_marked() -> None:
    probe = {"stage": 0, "kind": "probe", "val_accuracy": 0.9, "val_loss": 0.3}
    history = [probe, *epochs(2, 2)]
    proofs = [
        {"stage": 1, "line": "top", "kept": False, "best_epoch": 0, "val_accuracy": 0.9},
        {"stage": 2, "line": "blocks.5", "kept": True, "best_epoch": 2, "val_accuracy": 0.95},
    ]
    html = page(history=history, parts=(), stages=results(history, proofs))
    assert html.count(">stage 1, left out<") == 2
    assert html.count("<title>kept: 4</title>") == 2
    table = html[html.index("How training went") :].partition("</table>")[0]
    rows = re.findall(
        r'<th scope="row">(.*?)</th><td class="text">(.*?)</td><td class="text">(.*?)<', table
    )
    assert rows == [
        ("probe", "the last layer, fitted at once", "kept"),
        ("stage 1", "above top", "left out"),
        ("stage 2", "above blocks.5", "epoch 2 of 2"),
    ]


def many_labels() -> dict[str, Any]:
    probabilities = [[0.9, 0.2, 0.1], [0.6, 0.7, 0.3], [0.4, 0.5, 0.2], [0.1, 0.1, 0.4]]
    has = np.array([[1, 0, 0], [0, 1, 0], [1, 0, 0], [0, 0, 0]], dtype=bool)
    return summarise_multilabel(probabilities, has, ["ant", "bee", "cat"])


def test_several_labels_have_tables_of_their_own() -> None:
    html = page(parts=part(many_labels()))
    text = Tree(html).text
    assert "2 of 4 with every label right (50 %)" in text
    assert "exact match\n" in text
    assert "mean average precision\n" in text
    assert "What is taken for what" not in text
    assert "Can its percentages be believed?" not in text
    assert "matrix" not in html[html.index("<main>") :]
    counts = html[html.index("<h2>What is missed") : html.index("<h2>Class by class")]
    pattern = r'"row">(\w+)</th>' + r"<td>(\d)</td>" * 4
    assert re.findall(pattern, counts) == [
        ("ant", "1", "1", "1", "1"),
        ("bee", "1", "0", "1", "2"),
        ("cat", "0", "0", "0", "4"),
    ]
    ranked = html[html.index("<h2>Class by class") :].partition("</table>")[0]
    heads = re.findall(r'col"[^>]*>([^<]+)<', ranked)
    assert heads == [
        *("class", "found", "recall", "95 % interval", "precision", "f1", "average precision")
    ]
    # By average precision: 5/6, 1, undefined.
    assert re.findall(r'"row">(\w+)</th>.*?<td>([^<]*)</td></tr>', ranked) == [
        *(("ant", "83 %"), ("bee", "100 %"), ("cat", "n/a"))
    ]


def test_mistakes_of_several_labels_say_which() -> None:
    missed = example("1.jpg", truth="ant, bee", predicted="", probability=0.02, about="ant")
    wrong = example("2.jpg", truth="", predicted="cat", probability=0.9, about="cat", split="val")
    text = " ".join(Tree(page(mistakes=[missed, wrong])).text.split())
    assert "said none is ant, bee ant 2 % , missed 1.jpg" in text
    assert "said cat is none cat 90 % , said wrongly 2.jpg (val)" in text


def test_mistakes_are_not_endless() -> None:
    many = [example(f"{k}.jpg") for k in range(60)]
    html = page(mistakes=many)
    assert html.count("<figcaption>") == 24
    assert "60 pictures of 90, those it is surest of first." in html
    assert "<summary>12 more</summary>" in html
    assert "And 36 more, all in the table." in html
    assert re.findall(r'class="name">(\d+)', html)[:3] == ["0", "1", "2"]


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
