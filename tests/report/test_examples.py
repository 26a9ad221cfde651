"""Which pictures are wrong, unsure and right, and how they are shown."""

import re

from frostline.report import gallery
from frostline.report.examples import Example, by_class, mistakes, sort_out


def row(
    path: str, label: str, predicted: str, split: str = "val", **chances: float
) -> dict[str, str]:
    shares = {f"p:{name}": str(chance) for name, chance in chances.items()}
    return {"split": split, "path": path, "label": label, "predicted": predicted, **shares}


ROWS = [
    row("/d/1", "ants", "ants", ants=0.9, bees=0.1),
    row("/d/2", "ants", "bees", ants=0.4, bees=0.6),
    row("/d/3", "ants", "ants", ants=0.55, bees=0.45),
    row("/d/4", "ants", "bees", ants=0.1, bees=0.9),
    row("/d/5", "bees", "bees", ants=0.01, bees=0.99),
    row("/d/6", "ants", "ants", ants=0.65, bees=0.35),
]
NAMES = {f"/d/{k}": f"{k}" for k in range(1, 7)}


def test_mistakes_stand_the_surest_first() -> None:
    found = mistakes(ROWS, NAMES, several=False)
    assert [(one.name, one.probability, one.split) for one in found] == [
        ("4", 0.9, ""),
        ("2", 0.6, ""),
    ]
    both = [*ROWS, row("/t", "bees", "ants", "test", ants=0.7, bees=0.3)]
    assert [one.split for one in mistakes(both, {}, several=False)] == ["val", "test", "val"]


def test_each_class_has_right_unsure_and_wrong_ones() -> None:
    found = by_class(ROWS, NAMES, ["bees", "ants", "wasps"], several=False)
    assert list(found) == ["bees", "ants"]
    sorted_out = sort_out(found["ants"], most=4)
    names = [
        [one.name for one in kind]
        for kind in (sorted_out.right, sorted_out.unsure, sorted_out.wrong)
    ]
    assert names == [["1"], ["3", "6"], ["4", "2"]]
    assert sort_out(found["ants"], most=1).unsure[0].name == "3", "the least sure one"


def test_of_several_labels_each_is_judged_by_itself() -> None:
    rows = [
        row("/0", "blue;red", "red", blue=0.3, red=0.8),
        row("/1", "", "red", blue=0.1, red=0.6),
        row("/2", "red", "blue;red", blue=0.9, red=0.7),
    ]
    found = mistakes(rows, {}, several=True)
    assert [(one.path, one.about, one.truth, one.predicted) for one in found] == [
        ("/2", "blue", "red", "blue, red"),
        ("/0", "blue", "blue, red", "red"),
        ("/1", "red", "", "red"),
    ]
    classes = by_class(rows, {}, ["blue", "red"], several=True)
    assert [(one.path, one.is_right) for one in classes["blue"]] == [("/0", False), ("/2", False)]
    assert [(one.path, one.is_right) for one in classes["red"]] == [
        *(("/0", True), ("/1", False), ("/2", True))
    ]


def test_a_label_that_was_not_said_is_as_sure_as_its_absence() -> None:
    missed = Example("/x", "x", "ant", "", 0.02, "ant")
    assert (missed.sureness, missed.has_it, missed.is_right) == (0.98, True, False)


def test_the_gallery_shows_each_kind_and_says_what_a_wrong_one_was_taken_for() -> None:
    found = by_class(ROWS, NAMES, ["ants", "bees"], several=False)
    html = gallery.classes(
        found, {"ants": {"n": 5, "recall": 0.6}, "bees": {"n": 1, "recall": 1.0}}
    )
    assert re.findall(r"<details open><summary><b>(\w+)</b> <span class=\"dim\">(.*?)<", html) == [
        ("ants", "3 of 5 found"),
        ("bees", "1 of 1 found"),
    ]
    assert re.findall(r'kind is-(\w+)"', html) == ["right", "unsure", "wrong", "right"]
    assert re.findall(r"<span>(\d+)&nbsp;%</span> <b>(\w+)</b>", html) == [
        ("90", "bees"),
        ("60", "bees"),
    ]


def test_of_many_classes_fewer_pictures_are_shown_and_none_stands_open() -> None:
    rows = [
        row(f"/{c}/{k}", f"c{c}", f"c{c}", **{f"c{c}": 0.9}) for c in range(81) for k in range(5)
    ]
    html = gallery.classes(by_class(rows, {}, [f"c{c}" for c in range(81)], several=False), {})
    assert html.count("<li") == 81
    assert "<details open" not in html
