"""A search keeps within the time of its run, by a clock that the tests turn by hand."""

import contextlib
import io
import json
import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

import searches
from frostline import pipeline
from frostline import recipe as recipes
from frostline.base.clock import RunClock
from frostline.base.console import QUIET, Console
from frostline.base.signals import Interrupted
from frostline.frost import Line
from frostline.pipeline.search_record import (
    CROSS_VALIDATED,
    FINAL,
    HALF,
    SearchRecord,
    Trained,
)
from frostline.pipeline.time_limit import TimeLimit
from frostline.planner import measure
from frostline.planner.candidates import Candidate
from frostline.planner.measure import StepCost
from frostline.recipe import Budget, Stage
from frostline.run.folder import RunFolder
from frostline.training.scoring import Score
from searches import ends_at

LINE = Line(
    name="main",
    node="main",
    aliases=(),
    index=5,
    shape=(8, 4, 4),
    params_below=0,
    params_above=100,
    share_below=0.65,
    block=True,
)
PROBE, SOME = Score(1.0, 0.6, 100, 1.0), Score(0.8, 0.7, 100, 0.8)


@dataclass
class Hand:
    """A clock that stands still until it is moved."""

    seconds: float = 0.0

    def __call__(self) -> float:
        return self.seconds


@dataclass
class Ticks:
    """A clock that moves on by as much each time it is asked."""

    step: float
    seconds: float = 0.0

    def __call__(self) -> float:
        self.seconds += self.step
        return self.seconds


def candidates(*epochs: int) -> list[Candidate]:
    """Returns candidates whose epochs take a second."""
    stages = [Stage(line="main", epochs=count, lr=1e-3, suffix_lr=1.0) for count in epochs]
    return [Candidate(stage, LINE, float(stage.epochs)) for stage in stages]


def made(
    folder: Path, hand: Hand, *epochs: int, until_s: float = 30.0, folds: int = 0, **more: Any
) -> tuple[TimeLimit, SearchRecord]:
    """Returns the time limit of a run of `until_s` and 10 s more."""
    tried = candidates(*epochs)
    record = SearchRecord(RunFolder(folder), tried, PROBE, folds)
    given_s = until_s + 10
    clock = RunClock(0.0, hand)
    return TimeLimit(record, tried, clock, given_s, until_s, QUIET, **more), record


def written(folder: Path) -> list[dict[str, Any]]:
    facts = json.loads((folder / "search.json").read_text())
    return [{key: v for key, v in one.items() if key != "at_s"} for one in facts["decisions"]]


def test_what_fits_is_trained_as_planned(tmp_path: Path) -> None:
    hand = Hand(5.0)
    time_limit, record = made(tmp_path, hand, 10, 20)
    assert time_limit.admits(0, HALF)
    hand.seconds += 5
    time_limit.epochs_done(0, 5)
    record.note(0, HALF, Trained(SOME, 5.0))
    # 10 s for its half and 10 s for the better of both to go on are just what is left.
    assert time_limit.admits(1, HALF, [0])
    assert written(tmp_path) == []
    assert [one.stage.epochs for one in time_limit.candidates] == [10, 20]


def test_a_late_run_shortens_its_only_candidate_and_stays_with_that(tmp_path: Path) -> None:
    time_limit, record = made(tmp_path, Hand(22.0), 15)
    assert time_limit.admits(0, FINAL)
    assert time_limit.candidates[0].stage.epochs == 8
    assert time_limit.candidates[0].estimate_s == 8.0
    assert written(tmp_path) == [{"candidate": 0, "what": "shortened", "epochs": 8}]
    assert record.facts["candidates"][0]["name"] == "main, rate 0.001, 8 epochs"
    # Gone on with in a process that took no time.
    again, _ = made(tmp_path, Hand(1.0), 15)
    assert again.candidates[0].stage.epochs == 8
    assert again.admits(0, FINAL)
    assert len(written(tmp_path)) == 1


def test_what_has_no_time_at_all_is_left_out_for_good(tmp_path: Path) -> None:
    time_limit, _ = made(tmp_path, Hand(28.0), 15)
    assert not time_limit.admits(0, FINAL)
    assert written(tmp_path) == [{"candidate": 0, "what": "left out", "when": "final"}]
    again, record = made(tmp_path, Hand(0.0), 15)
    record.facts["clock"]["at_s"] = 0.0
    assert not again.admits(0, FINAL)
    assert len(written(tmp_path)) == 1


def test_a_later_candidate_keeps_half_of_its_epochs_or_is_left_out(tmp_path: Path) -> None:
    hand = Hand(0.0)
    time_limit, record = made(tmp_path, hand, 10, 20, 30)
    assert time_limit.admits(0, HALF)
    hand.seconds = 10.0
    time_limit.epochs_done(0, 5)  # At half the rate that was planned.
    record.note(0, HALF, Trained(SOME, 10.0))
    assert time_limit.admits(1, HALF, [0])
    # The rate counts with the one that was planned, as of an epoch: 10.8 s for 5.8 of them.
    assert time_limit.candidates[1].stage.epochs == 10
    assert not time_limit.admits(2, HALF, [0, 1])
    assert [one["what"] for one in written(tmp_path)] == ["shortened", "left out"]


@pytest.mark.parametrize(("fixed", "is_needed"), [(("epochs",), False), ((), True)])
def test_what_was_asked_for_is_kept_and_a_random_head_is_trained(
    tmp_path: Path, fixed: tuple[str, ...], is_needed: bool
) -> None:
    time_limit, _ = made(tmp_path, Hand(29.5), 15, fixed=fixed, is_needed=is_needed)
    assert time_limit.admits(0, FINAL) == is_needed
    assert time_limit.candidates[0].stage.epochs == (3 if is_needed else 15)


def test_a_candidate_that_would_be_late_by_far_ends_early(tmp_path: Path) -> None:
    hand = Hand(10.0)
    time_limit, _ = made(tmp_path, hand, 15)
    assert time_limit.admits(0, FINAL)
    ended = []
    for epoch in range(1, 16):
        hand.seconds += 3.0
        ended.append(time_limit.ends(0, epoch))
        if ended[-1]:
            break
    assert hand.seconds <= 30.0 < hand.seconds + 3.0
    assert written(tmp_path) == [{"candidate": 0, "what": "ended", "epoch": len(ended)}]
    # Gone on with from a checkpoint two epochs before, on a fast machine.
    again, _ = made(tmp_path, Hand(0.0), 15)
    assert again.admits(0, FINAL)
    assert [again.ends(0, at) for at in range(len(ended) - 2, len(ended) + 1)] == [0, 0, 1]


def test_a_candidate_that_is_a_little_late_goes_on(tmp_path: Path) -> None:
    hand = Hand(14.0)
    time_limit, _ = made(tmp_path, hand, 15)
    assert time_limit.admits(0, FINAL)
    for epoch in range(1, 16):
        hand.seconds += 1.2
        assert not time_limit.ends(0, epoch)
    assert hand.seconds == pytest.approx(32.0)


def test_of_those_that_go_on_the_best_one_does_in_any_case(tmp_path: Path) -> None:
    hand = Hand(0.0)
    time_limit, record = made(tmp_path, hand, 10, 10, 10)
    others: list[int] = []
    for number in range(3):
        assert time_limit.admits(number, HALF, others)
        record.note(number, HALF, Trained(SOME, 5.0))
        others.append(number)
    hand.seconds = 28.0
    assert time_limit.admits(2, FINAL)
    assert not time_limit.admits(0, FINAL, [2])


def test_a_refinement_is_not_shortened_and_its_pass_counts(tmp_path: Path) -> None:
    (more,) = candidates(12)
    for folder, hand, pass_s, is_admitted in (
        ("fits", Hand(17.0), 1.0, True),
        ("a long pass", Hand(17.0), 2.0, False),
        ("late", Hand(20.0), 0.0, False),
    ):
        time_limit, record = made(tmp_path / folder, hand, 10)
        record.add(1, more, 0)
        time_limit.add(1, more)
        assert time_limit.admits(1, HALF, (), pass_s) == is_admitted
        assert time_limit.candidates[1] == more


def test_cross_validation_counts_all_folds_and_the_last_training(tmp_path: Path) -> None:
    # 5 folds of 5 epochs: 20 s and once more 5 s.
    assert made(tmp_path / "a", Hand(5.0), 5, folds=5)[0].admits(0, CROSS_VALIDATED)
    time_limit, _ = made(tmp_path / "b", Hand(9.0), 5, folds=5)
    assert time_limit.admits(0, CROSS_VALIDATED)
    assert time_limit.candidates[0].stage.epochs == 4


def test_a_pass_that_took_long_tells_of_the_rate_to_come(tmp_path: Path) -> None:
    time_limit, _ = made(tmp_path, Hand(10.0), 15, slowness=2.0)
    assert time_limit.admits(0, FINAL)
    assert time_limit.candidates[0].stage.epochs == 10


def test_without_a_time_nothing_is_done_or_written(tmp_path: Path) -> None:
    time_limit, record = made(tmp_path, Hand(1e9), 15, until_s=math.inf)
    assert time_limit.admits(0, FINAL)
    assert not time_limit.ends(0, 1)
    time_limit.keep_clock()
    assert not (tmp_path / "search.json").exists()
    assert "decisions" not in record.facts


def test_a_clock_goes_on_from_what_was_written_down() -> None:
    hand = Hand(100.0)
    clock = RunClock(90.0, hand)
    assert clock.elapsed_s() == 10.0
    clock.go_on_from(25.0)
    hand.seconds += 5.0
    assert clock.elapsed_s() == 30.0


# Whole runs.

RECIPE = replace(
    searches.recipe(replace(searches.STAGE, epochs=6), candidates=2), budget=Budget(time_min=10.0)
)


@pytest.fixture(scope="module")
def hard(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return searches.make_hard(tmp_path_factory.mktemp("hard"))


def train(
    photos: Path, run: Path, cache: Path, tick_s: float, ends: int = 10**6, stream: Any = None
) -> RunFolder:
    """Trains by a clock that moves on with each look at it, and may end at a checkpoint."""
    console = Console(stream, verbose=True) if stream else QUIET
    with ends_at(ends) as patched, contextlib.suppress(Interrupted):
        patched.setattr(measure, "step", lambda *_: StepCost(0.05, 0.0))
        pipeline.train(photos, run, RECIPE, cache, console, RunClock(now=Ticks(tick_s)))
    return RunFolder(run)


def facts_of(run: RunFolder) -> dict[str, Any]:
    """Returns what must be the same, all but seconds of the machine."""
    searched = run.read_search()
    assert searched is not None
    for one in searched["candidates"]:
        one.pop("seconds", None)
    history = [{k: v for k, v in one.items() if k != "seconds"} for one in run.read_history()]
    return {
        "metrics": run.read_metrics(),
        "history": history,
        "decisions": [{**one, "at_s": None} for one in searched["decisions"]],
        "candidates": searched["candidates"],
        "weights": (run.model / "model.safetensors").read_bytes(),
    }


def test_a_slow_run_ends_early_and_so_does_one_that_is_killed(hard: Path, tmp_path: Path) -> None:
    cache, stream = tmp_path / "cache", io.StringIO()
    whole = train(hard, tmp_path / "whole", cache, tick_s=18.0, stream=stream)
    wanted = facts_of(whole)
    assert stream.getvalue().count("Slower than planned, so less is tried to end in time") == 1
    assert wanted["decisions"]
    for number in (3, 8):
        run = tmp_path / str(number)
        killed = train(hard, run, cache, tick_s=18.0, ends=number)
        assert not killed.is_finished()
        assert facts_of(train(hard, run, cache, tick_s=18.0)) == wanted


def test_a_winner_that_ended_early_is_made_again_from_its_recipe(
    hard: Path, tmp_path: Path
) -> None:
    cache = tmp_path / "cache"
    run = train(hard, tmp_path / "run", cache, tick_s=32.0)
    (ended,) = (one for one in facts_of(run)["decisions"] if one["what"] == "ended")
    recipe = recipes.read(run.recipe)
    (stage,) = recipe.stages
    assert (stage.stop_after, stage.epochs) == (ended["epoch"], 6)
    again = RunFolder(tmp_path / "again")
    pipeline.train(hard, again.path, recipe, cache, QUIET)
    assert again.read_metrics() == run.read_metrics()
    weights = (again.model / "model.safetensors").read_bytes()
    assert weights == facts_of(run)["weights"]


def test_a_far_too_slow_run_ends_with_the_probe(hard: Path, tmp_path: Path) -> None:
    stream = io.StringIO()
    run = train(hard, tmp_path / "run", tmp_path / "cache", tick_s=160.0, stream=stream)
    searched = run.read_search()
    assert searched is not None
    assert searched["chosen"] == "probe"
    said = stream.getvalue()
    assert said.count("Training more layers: no time for it (give more with --time)") == 1
    assert [one["what"] for one in searched["decisions"]] == ["left out"]
    assert [one["kind"] for one in run.read_history()] == ["probe"]


def test_a_run_in_time_is_that_of_the_plan(hard: Path, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    run = train(hard, tmp_path / "run", cache, tick_s=0.001)
    assert facts_of(run)["decisions"] == []
    found = json.loads(run.plan.read_text())["search"]
    parts = found["time"]
    assert parts["given_s"] == 600.0
    left_s = 600 - sum(parts[key] for key in ("begun_s", "pass_s", "probe_s", "finish_s"))
    assert found["budget_s"] == pytest.approx(0.9 * left_s, abs=0.1)
