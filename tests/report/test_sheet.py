"""The page of new pictures."""

import re
from pathlib import Path

from PIL import Image

from frostline.model.predict import Prediction
from frostline.report import sheet
from frostline.report.sheet import render


def said(path: str, *labels: str, sureness: float = 0.9, top: int = 1) -> Prediction:
    shown = [(labels or ("ants",))[0], "other"][:top]
    chances = tuple((label, sureness / (k + 1)) for k, label in enumerate(shown))
    return Prediction(path, chances, "", labels, sureness)


def test_unsure_ones_stand_first_then_classes_by_size(tmp_path: Path) -> None:
    Image.new("RGB", (8, 8)).save(tmp_path / "1.png")
    listed = [
        said(str(tmp_path / "1.png"), "bees"),
        said("/gone/2.png", "ants", sureness=0.8),
        said("/gone/3.png", "ants", sureness=0.9),
        said("/gone/4.png", "ants", sureness=0.55),
        Prediction("/gone/<5>.png", (), "damaged & cut"),
    ]
    html = render(listed, "Pictures", ["today"])
    heads = re.findall(r"<h2>(.*?) <span class=\"dim\">(\d)</span>", html)
    assert heads == [
        ("Unsure: under 70&nbsp;%", "1"),
        ("ants", "2"),
        ("bees", "1"),
        ("Not read", "1"),
    ]
    names = re.findall(r'class="name">([^<]*)<', html)
    assert [name.rpartition("/")[2] for name in names] == ["4.png", "2.png", "3.png", "1.png"]
    assert "<b>5 pictures</b> ants 3, bees 1; 1 under 70&nbsp;% sure" in html
    assert "&lt;5&gt;.png: damaged &amp; cut" in html
    assert html.count("<img") == 1
    assert re.findall(r'href="([^"]*)"', html) == ["#part-0", "#part-1", "#part-2"]


def test_the_threshold_can_be_another() -> None:
    html = render([said("/gone/1", "ants", sureness=0.9)], "x", unsure=0.95)
    assert "Unsure: under 95&nbsp;%" in html


def test_several_labels_and_further_guesses_are_told() -> None:
    html = render([said("/d/1", "ants", "bees"), said("/d/2"), said("/d/3", "ants", top=2)], "x")
    assert "<h2>ants, bees " in html
    assert "<h2>none of the classes " in html
    assert "<b>ants 90&nbsp;%</b><br>other 45&nbsp;%<br>" in html
    assert "<b>ants, bees</b><br>ants 90&nbsp;%" in html


def test_it_is_not_endless(monkeypatch: object) -> None:
    listed = [said(f"/gone/{k}", "ants", sureness=0.7 + k / 1e4) for k in range(sheet.MOST + 3)]
    html = render(listed, "x")
    assert html.count("<figure>") == sheet.MOST
    assert "The 3 surest pictures are left out here." in html
