"""What a search says that it came to."""

import io
from dataclasses import replace
from pathlib import Path

import pytest

from frostline.base.console import Console
from frostline.frost import Line
from frostline.pipeline.search_record import FINAL, SearchRecord, Trained
from frostline.planner.candidates import Candidate
from frostline.recipe import Stage
from frostline.run.folder import RunFolder
from frostline.training.scoring import Score

MAP = Line(
    name="blocks.4",
    node="blocks_4",
    aliases=(),
    index=5,
    shape=(8, 4, 4),
    params_below=0,
    params_above=100,
    share_below=0.65,
    block=True,
)
TOP = replace(MAP, name="pooled", shape=(8,))
PROBE = Score(0.5, 0.9, 60, 0.5)


def said(folder: Path, line: Line, scores: list[Score | None], listed: int = 2) -> str:
    """Returns the sentence about candidates with these scores; None for one that was not tried."""
    stage = Stage(line=line.name, epochs=15, lr=1e-3)
    record = SearchRecord(RunFolder(folder), [Candidate(stage, line, 1.0)] * listed, PROBE)
    for number, score in enumerate(scores):
        if score is not None:
            record.note(number, FINAL, Trained(score, 1.0))
    record.choose()
    stream = io.StringIO()
    record.tell(Console(stream), has_probe=True)
    (sentence,) = stream.getvalue().splitlines()
    return sentence


BETTER, SURER, FEWER = (Score(0.3, right / 60, 60, 0.3) for right in (57, 54, 53))
WORSE = Score(0.9, 0.7, 60, 0.9)


@pytest.mark.parametrize(
    ("line", "scores", "words"),
    [
        (MAP, [WORSE, None], "Training more layers: no better with 1 setting, so they stay frozen"),
        (MAP, [WORSE] * 2, "Training more layers: no better with 2 settings, so they stay frozen"),
        (TOP, [WORSE] * 2, "Training the head: no better with 2 settings, so it stays"),
        (MAP, [None] * 2, "Training more layers: no time for it (give more with --time)"),
        (TOP, [None] * 2, "Training the head: no time for it (give more with --time)"),
        (
            MAP,
            [BETTER, WORSE],
            "Training more layers, all above blocks.4, best of 2 settings: 57 of 60 right (95 %)",
        ),
        (
            MAP,
            [BETTER, None],
            "Training more layers, all above blocks.4: 57 of 60 right (95 %)",
        ),
        (TOP, [BETTER, WORSE], "Training the head, best of 2 settings: 57 of 60 right (95 %)"),
        (
            MAP,
            [SURER, None],
            (
                "Training more layers, all above blocks.4: 54 of 60 right (90 %), as many, but "
                "with a lower log-loss"
            ),
        ),
        (
            MAP,
            [FEWER, None],
            (
                "Training more layers, all above blocks.4: 53 of 60 right (88 %), fewer, but "
                "with a lower log-loss"
            ),
        ),
    ],
)
def test_what_it_came_to_is_said_in_a_sentence(
    tmp_path: Path, line: Line, scores: list[Score | None], words: str
) -> None:
    assert said(tmp_path, line, scores) == words


def test_a_search_without_candidates_had_no_time(tmp_path: Path) -> None:
    words = "Training more layers: no time for it (give more with --time)"
    assert said(tmp_path, MAP, [], listed=0) == words
