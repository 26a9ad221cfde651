"""Charts: what is drawn, where, and for whom."""

import re
import xml.etree.ElementTree as ET

import numpy as np
import pytest

from frostline.report.charts import Series, Span, line_chart, reliability_chart, ticks
from frostline.scores.metrics import calibration

NS = "{http://www.w3.org/2000/svg}"


def test_line_chart_is_a_standalone_svg() -> None:
    drawn = line_chart(
        [Series("val", [(0, 0.5), (1, 0.7), (2, 0.8)]), Series("a<b", [(1, 0.6), (2, 0.9)], 1)],
        title="Accuracy <by> epoch",
        x_label="epochs",
        y_label="accuracy",
        spans=[Span("stage 1", 1, 2), Span("outside", 99, 100)],
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
    # From the left edge at 52 to the right at 366; higher values stand higher.
    (curve,) = (p for p in paths if p and "L" in p)
    xy = np.array([pair.split() for pair in re.findall(r"[ML]([\d.]+ [\d.]+)", curve)], float)
    assert xy[:, 0].tolist() == [52, 209, 366]
    assert (np.diff(xy[:, 1]) < 0).all()


def test_line_chart_breaks_where_a_value_is_not_finite() -> None:
    points = [(0, 1.0), (1, float("nan")), (2, float("inf")), (3, 0.5), (4, 0.4)]
    drawn = line_chart([Series("loss", points)], title="t", x_label="x", y_label="y")
    assert re.search(r'd="M52\.0 [\d.]+M[\d.]+ [\d.]+L[\d.]+ [\d.]+"', drawn)
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


def test_what_was_left_out_is_shaded_and_what_was_kept_has_a_ring() -> None:
    drawn = line_chart(
        [Series("validation", [(0, 0.5), (1, 0.7), (2, 0.6)])],
        title="t",
        x_label="x",
        y_label="y",
        spans=[Span("stage 1", 0, 1), Span("stage 2", 1, 2, is_out=True)],
        rings=[(1, 0.7), (2, float("nan"))],
    )
    root = ET.fromstring(drawn)
    (shade,) = (rect for rect in root.iter(f"{NS}rect") if rect.get("class") == "out")
    assert (shade.get("x"), shade.get("width")) == ("209.0", "157.0")
    rings = [ring for ring in root.iter(f"{NS}circle") if ring.get("class") == "ring"]
    # The second one stands in the legend.
    assert [ring.findtext(f"{NS}title") for ring in rings] == ["kept: 1", None]
    assert rings[0].get("cx") == "209.0"
    assert "stage 2, left out" in drawn
    assert "Left out: stage 2." in (root[1].text or "")


def test_a_series_keeps_its_colour_without_the_others() -> None:
    drawn = line_chart(
        [Series("training", [(0, 1), (1, 2)], 1)], title="t", x_label="x", y_label="y"
    )
    assert 'class="curve k1" stroke-dasharray="6 4"' in drawn
    assert "k0" not in drawn.partition("</style>")[2]


def test_names_of_spans_close_by_do_not_overlap() -> None:
    spans = [Span(f"stage {k}", x, x + 1) for k, x in enumerate((0, 1, 2, 41))]
    points = [(float(x), 1.0) for x in range(43)]
    drawn = line_chart([Series("a", points)], title="t", x_label="x", y_label="y", spans=spans)
    found = re.findall(r'<text x="([\d.]+)" y="([\d.]+)" text-anchor="(\w+)">(stage \d)<', drawn)
    assert len(found) == 4
    boxes = [(float(x) - (49 if side == "end" else 0), float(y)) for x, y, side, _ in found]
    for first, (x, y) in enumerate(boxes):
        for other, row in boxes[first + 1 :]:
            assert y != row or abs(x - other) >= 42
    assert all(52 - 49 <= x <= 380 - 49 for x, _ in boxes)
