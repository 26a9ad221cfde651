"""What a search tried, as a table."""

import re

from frostline.report.search import candidates, count
from frostline.report.stages import choices, results

FOUND = {
    "rule": "the best",
    "probe": {"accuracy": 0.967, "loss": 0.109, "scaled_loss": 0.108, "count": 153},
    "candidates": [
        {
            "name": "<blocks.4>",
            "seconds": 43.46,
            "half": {"accuracy": 0.9, "loss": 0.3, "scaled_loss": None, "count": 153},
            "final": {"accuracy": 0.928, "loss": 0.191, "scaled_loss": None, "count": 153},
        },
        {"name": "rate 1", "half": None, "seconds": 1.2, "failure": "no number"},
    ],
    "chosen": 0,
}


def cells(html: str) -> list[list[str]]:
    rows = re.findall(r'<tr><th scope="row">(.*?)</tr>', html)
    return [re.split(r"</t[hd]>(?:<td>)?", row)[:-1] for row in rows]


def test_every_candidate_is_shown_with_its_scores() -> None:
    html = candidates(FOUND)
    assert "Which is taken: the best." in html
    assert cells(html) == [
        ["probe", "", "97 %", "0.108", "", ""],
        ["&lt;blocks.4&gt;", "90 %", "93 %", "0.191", "43", "yes"],
        ["rate 1", "", "", "", "1", "diverged"],
    ]
    assert cells(candidates({**FOUND, "chosen": "probe"}))[0][-1] == "yes"


def test_one_alone_has_no_half_way() -> None:
    one = {"name": "blocks.4", "seconds": 43.46, "final": FOUND["probe"]}
    html = candidates({**FOUND, "candidates": [one]})
    assert "half way" not in html
    assert cells(html)[1] == ["blocks.4", "97 %", "0.108", "43", "yes"]


def test_scores_of_a_cross_validation_are_called_that() -> None:
    one = {"name": "blocks.4", "seconds": 43.46, "cross_validated": FOUND["probe"]}
    html = candidates({**FOUND, "folds": 3, "candidates": [one]})
    assert "right in 3-fold cross-validation" in html
    assert "on validation" not in html
    assert cells(html)[1] == ["blocks.4", "97 %", "0.108", "43", "yes"]


def test_without_a_search_there_is_nothing() -> None:
    assert candidates(None) == candidates({**FOUND, "candidates": []}) == ""
    assert (count(None), count(FOUND)) == (0, 2)


def test_choosing_among_candidates_is_a_choice_on_validation() -> None:
    probe = {"stage": 0, "kind": "probe", "val_loss": 0.1, "val_accuracy": 0.9}
    said = choices(results([probe], []), {"val": 153}, count(FOUND))
    assert "which of 3 candidates is taken" in said[0]
