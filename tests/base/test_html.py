"""HTML for notebooks."""

import re
from html.parser import HTMLParser

from frostline.base import html


class Checked(HTMLParser):
    """Raises where tags do not close in turn."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: object) -> None:
        if tag not in ("br", "img", "wbr"):
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: object) -> None:
        pass

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


NASTY = "<script>alert(1)</script>&\"'\x1b[31m\u202e"


def test_all_that_comes_from_outside_is_escaped() -> None:
    shown = html.block(
        html.lead(NASTY),
        html.say(NASTY),
        html.dim(NASTY),
        html.table((NASTY, NASTY), [(NASTY, NASTY)]),
        html.facts([(NASTY, NASTY)]),
        html.folded(NASTY, ""),
        html.curve([(0, 1), (1, 2)], 0.5, NASTY),
    )
    Checked(shown)
    assert "<script" not in shown
    assert "\x1b" not in shown
    assert "\u202e" not in shown


def test_every_rule_of_the_style_stays_inside() -> None:
    style = re.search(r"<style>(.*)</style>", html.block(), re.DOTALL)
    assert style is not None
    selectors = re.findall(r"([^{}]+)\{", style[1])
    assert len(selectors) > 20
    assert all(one.startswith(".frostline") for each in selectors for one in each.split(","))


def test_a_curve_leaves_out_what_is_not_finite() -> None:
    drawn = html.curve([(0, 1), (1, float("nan")), (2, 3)], 1, "losses")
    assert drawn.count(",") == 2
    assert "nan" not in drawn
    assert html.curve([(0, 1)], 0, "one point") == ""
