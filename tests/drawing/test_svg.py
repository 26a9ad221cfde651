"""The drawn graph: every layer once, nothing overlaps, and the frost line parts it."""

import itertools
import re
from xml.etree import ElementTree

import pytest

from conftest import FinishedRun
from frostline.base.errors import LineError
from frostline.cli import main
from frostline.drawing.boxes import Box, boxes_of
from frostline.drawing.layout import place
from frostline.drawing.network import svg_of
from frostline.networks import catalog
from frostline.networks.opening import open_bare

SPACE = "{http://www.w3.org/2000/svg}"
Rect = tuple[float, float, float, float]


def drawn(svg: str) -> tuple[dict[str, Rect], dict[str, str], float]:
    """The rectangles by title (frozen or trained by title as well), and where the line lies."""
    rects, kinds = {}, {}
    root = ElementTree.fromstring(svg)
    for number, group in enumerate(root.iter(f"{SPACE}g")):
        rect = group.find(f"{SPACE}rect")
        texts = [text.text or "" for text in group.iter(f"{SPACE}text")]
        assert rect is not None
        at = {key: float(rect.attrib[key]) for key in ("x", "y", "width", "height")}
        name = texts[0] if texts[0] not in rects else f"{texts[0]} {number}"
        rects[name] = (at["x"], at["y"], at["x"] + at["width"], at["y"] + at["height"])
        kinds[name] = rect.attrib["class"]
    (line,) = (one for one in root.iter(f"{SPACE}line") if one.attrib["class"] == "line")
    return rects, kinds, float(line.attrib["y1"])


@pytest.mark.parametrize(
    ("name", "line", "boxes"),
    [
        ("keras:VGG16?weights=none", "block4_pool", 23),
        ("keras:InceptionV3?weights=none", "mixed7", 125),
        ("timm:test_resnet", "layer2", 27),
        ("timm:test_vit", "blocks.0", 0),
    ],
)
def test_boxes_do_not_overlap_and_the_line_parts_them(name: str, line: str, boxes: int) -> None:
    rects, kinds, line_y = drawn(svg_of(name, line))
    assert boxes in (0, len(rects))
    found = sorted(rects.values(), key=lambda rect: (rect[1], rect[0]))
    for one, other in itertools.pairwise(found):
        assert one[2] < other[0] or one[3] < other[1]
    assert {name for name, rect in rects.items() if rect[3] < line_y} == {
        name for name, kind in kinds.items() if kind == "frozen"
    }
    assert all(rect[1] > line_y for name, rect in rects.items() if kinds[name] == "trained")


def test_every_convolution_has_its_box() -> None:
    opened = open_bare("keras:InceptionV3?weights=none")
    svg = svg_of("keras:InceptionV3?weights=none", "mixed7")
    names = set(re.findall(r'class="name"[^>]*>([^<]+)<', svg))
    layers = {path.partition(".")[0] for path, _ in opened.module.named_modules()}
    assert {path for path in layers if path.startswith("conv2d")} <= names
    assert {f"mixed{number}" for number in range(11)} <= names


def test_boxes_say_what_happens_in_them() -> None:
    traced = catalog.trace(open_bare("keras:MobileNet?weights=none"))
    boxes = {box.title: box for box in boxes_of(traced, traced.find("conv_dw_6_relu"))}
    first, deep = boxes["conv1"], boxes["conv_dw_6"]
    assert (first.does, first.shape) == ("conv 3 × 3 / 2 + norm + ReLU6", (32, 112, 112))
    assert (deep.does, deep.is_above) == ("depthwise conv 3 × 3 / 2 + norm + ReLU6", False)
    assert boxes["conv_pw_6"].is_above
    assert "conv1_bn" in first.details


def test_blocks_are_a_chain() -> None:
    rects, kinds, _ = drawn(svg_of("timm:resnet50", "layer3", blocks=True))
    assert list(rects)[:3] == ["pixels", "act1", "maxpool"]
    assert len({rect[0] + rect[2] for rect in rects.values()}) == 1
    assert [kinds[name] for name in ("layer3", "layer4", "pooled")] == [
        *("frozen", "trained", "trained")
    ]


def test_a_run_has_its_own_line(finished_run: FinishedRun) -> None:
    svg = svg_of(str(finished_run.path))
    assert "frost line: pooled" in svg


def test_a_skip_goes_round_what_it_skips() -> None:
    widths = dict.fromkeys("abcd", 100.0)
    edges = [("a", "b"), ("b", "c"), ("a", "d"), ("c", "d")]
    placed = place("abcd", edges, widths, frozenset("d"))
    assert placed.rank == {"a": 0, "b": 1, "c": 2, "d": 3}
    way = placed.routes["a", "d"]
    assert len(way) == 2
    assert all(abs(x - placed.x[name]) > 50 for x, name in zip(way, "bc", strict=True))
    assert placed.routes["a", "b"] == ()


def test_what_lies_above_the_line_is_drawn_below_it() -> None:
    # `c` could stand beside `b`.
    edges = [("a", "b"), ("a", "c"), ("b", "d"), ("c", "d")]
    placed = place("abcd", edges, dict.fromkeys("abcd", 10.0), frozenset("cd"))
    assert placed.rank["c"] > placed.rank["b"]


def test_names_are_escaped() -> None:
    from frostline.drawing.svg import Titles, draw

    traced = catalog.trace(open_bare("timm:test_resnet"))
    box = Box("x", "a<b>&\x1b[1m", "", (1,), False, ("<script>",), ())
    svg = draw([box], traced.lines[0], Titles("<&>", "", ""))
    ElementTree.fromstring(svg)
    assert "<script>" not in svg
    assert "\x1b" not in svg


def test_the_command_line(tmp_path, capsys: pytest.CaptureFixture[str]) -> None:  # type: ignore[no-untyped-def]
    out = tmp_path / "sub" / "net.svg"
    assert main(["draw", "timm:test_resnet", "--line", "layer2", "-o", str(out)]) == 0
    assert out.read_text("utf-8").startswith("<svg")
    assert main(["draw", "timm:test_resnet", "-o", "net.pdf"]) == 2
    assert "--out: net.pdf must end in .svg." in capsys.readouterr().err
    with pytest.raises(LineError, match="Did you mean layer2"):
        svg_of("timm:test_resnet", "layr2")
