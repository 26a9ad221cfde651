"""A search that is interrupted goes on to the same result, to the last bit."""

import contextlib
import json
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import searches
from frostline import pipeline
from frostline import recipe as recipes
from frostline.base.console import QUIET
from frostline.base.paths import cache_folder
from frostline.base.signals import Interrupted
from frostline.pipeline import fit, fold_search
from frostline.pipeline.fill import Filled
from frostline.pipeline.search import Found
from frostline.planner import candidates
from frostline.planner.candidates import Candidate
from frostline.recipe import Budget, Data, Recipe, Search
from frostline.run.folder import RunFolder
from searches import ends_at

RECIPE = searches.recipe(searches.STAGE, candidates=3)


@pytest.fixture(scope="module")
def hard(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return searches.make_hard(tmp_path_factory.mktemp("hard"))


@pytest.fixture(scope="module")
def whole(hard: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A run that nothing interrupted, and its cache."""
    root = tmp_path_factory.mktemp("whole")
    pipeline.train(hard, root / "run", RECIPE, root / "cache", QUIET)
    return root / "run", root / "cache"


def facts_of(run: Path) -> dict[str, Any]:
    """Returns what must be the same: scores, history and search, but for seconds."""
    folder = RunFolder(run)
    searched = json.loads(folder.search.read_text())
    searched.pop("clock", None)
    for one in searched["candidates"]:
        one.pop("seconds", None)
        one.pop("estimate_s", None)
    history = [{k: v for k, v in one.items() if k != "seconds"} for one in folder.read_history()]
    return {"metrics": folder.read_metrics(), "history": history, "search": searched}


@pytest.mark.parametrize("number", [0, 1, 3, 8, 13, 18, 21])
def test_an_interrupted_search_ends_with_the_same_result(
    hard: Path, whole: tuple[Path, Path], tmp_path: Path, number: int
) -> None:
    run, cache = whole
    with ends_at(number), contextlib.suppress(Interrupted):
        pipeline.train(hard, tmp_path / "run", RECIPE, cache, QUIET)
    assert not RunFolder(tmp_path / "run").is_finished()
    pipeline.train(hard, tmp_path / "run", RECIPE, cache, QUIET)
    assert facts_of(tmp_path / "run") == facts_of(run)
    weights = "model/model.safetensors"
    assert (tmp_path / "run" / weights).read_bytes() == (run / weights).read_bytes()
    assert not list((tmp_path / "run" / "checkpoints").iterdir())


def test_the_recipe_of_the_winner_makes_the_run_again_without_a_search(
    hard: Path, whole: tuple[Path, Path], tmp_path: Path
) -> None:
    run, cache = whole
    found = json.loads((run / "search.json").read_text())
    made = RunFolder(run)
    wanted = recipes.read(made.recipe)
    assert not wanted.search.enabled
    assert len(wanted.stages) == (0 if found["chosen"] == "probe" else 1)
    pipeline.train(hard, tmp_path / "run", wanted, cache, QUIET)
    assert_same(RunFolder(tmp_path / "run"), made)
    assert not RunFolder(tmp_path / "run").search.exists()


def assert_same(again: RunFolder, made: RunFolder) -> None:
    """Compares scores and weights, bit by bit."""
    assert again.read_metrics() == made.read_metrics()
    weights = [(run.model / "model.safetensors").read_bytes() for run in (again, made)]
    assert weights[0] == weights[1]


def test_what_a_search_derived_from_a_lower_line_is_derived_again(
    hard: Path, tmp_path: Path
) -> None:
    # In bf16 the activations at a line differ by rounding, from pixels or from a line below.
    wanted = searches.recipe(replace(searches.STAGE, line="auto", epochs=3), candidates=3)
    compute = replace(wanted.compute, precision="bf16")
    wanted = replace(wanted, compute=compute, search=replace(wanted.search, fixed=("epochs",)))
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(candidates, "FEW_IMAGES", 1)
        made = pipeline.train(hard, tmp_path / "run", wanted, tmp_path / "cache", QUIET)
    recipe, plan = recipes.read(made.recipe), json.loads(made.plan.read_text())
    lines = [stage.line for stage in recipe.stages] or ["pooled"]
    assert plan["line"] not in lines
    assert recipe.compute.pass_line == plan["line"]
    again = pipeline.train(hard, tmp_path / "again", recipe, tmp_path / "other", QUIET)
    assert_same(again, made)


def test_a_run_that_ends_with_its_winner_written_goes_on_with_another_head(
    hard: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The checkpoint there has the head that the search began with."""

    def mlp_wins(filled: Filled, *_: Any) -> Found:
        line = filled.sources.at(0)[0].line
        return Found(Candidate(replace(searches.STAGE, select="end"), line, 1.0, head="mlp:8"))

    monkeypatch.setattr(fit, "search", mlp_wins)
    whole = pipeline.train(hard, tmp_path / "whole", RECIPE, tmp_path / "cache", QUIET)
    write = recipes.write

    def ends(recipe: Recipe, path: Path) -> None:
        write(recipe, path)
        if not recipe.search.enabled:
            raise Interrupted(signal.SIGKILL)

    with monkeypatch.context() as patched:
        patched.setattr(recipes, "write", ends)
        with pytest.raises(Interrupted):
            pipeline.train(hard, tmp_path / "run", RECIPE, tmp_path / "cache", QUIET)
    run = pipeline.train(hard, tmp_path / "run", RECIPE, tmp_path / "cache", QUIET)
    assert_same(run, whole)


def test_choosing_and_reporting_are_the_same_computation(whole: tuple[Path, Path]) -> None:
    run, _ = whole
    found = json.loads((run / "search.json").read_text())
    chosen = found["chosen"]
    best = found["probe"] if chosen == "probe" else found["candidates"][chosen]["final"]
    val = RunFolder(run).read_metrics()["val"]
    assert val["accuracy"] == best["accuracy"]
    assert val["log_loss"] == pytest.approx(best["loss"], rel=1e-9)


def test_without_validation_images_the_recipe_is_kept(hard: Path, tmp_path: Path) -> None:
    wanted = replace(RECIPE, data=Data(val=0.0))
    run = pipeline.train(hard, tmp_path / "run", wanted, cache_folder(), QUIET)
    assert not run.search.exists()
    assert [one["kind"] for one in run.read_history()].count("train") == 4


# With time for whatever there is to refine, and an end to it by number.
REFINED = replace(
    RECIPE,
    budget=Budget(time_min=600.0),
    search=Search(enabled=True, candidates=6, folds=1),
)


@pytest.fixture(scope="module")
def refined(hard: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A run with refinements that nothing interrupted, and its cache."""
    root = tmp_path_factory.mktemp("refined")
    pipeline.train(hard, root / "run", REFINED, root / "cache", QUIET)
    return root / "run", root / "cache"


@pytest.mark.parametrize("number", [24, 33, 41, 52])
def test_an_interrupted_refinement_ends_with_the_same_result(
    hard: Path, refined: tuple[Path, Path], tmp_path: Path, number: int
) -> None:
    run, cache = refined
    found = json.loads((run / "search.json").read_text())["candidates"]
    assert [one["when"] for one in found].count("refining") >= 2
    # Both have an interruption behind them: in the list, and in what follows it.
    for at in (number, 9):
        with ends_at(at), contextlib.suppress(Interrupted):
            pipeline.train(hard, tmp_path / "run", REFINED, cache, QUIET)
        assert not RunFolder(tmp_path / "run").is_finished()
    pipeline.train(hard, tmp_path / "run", REFINED, cache, QUIET)
    assert facts_of(tmp_path / "run") == facts_of(run)
    weights = "model/model.safetensors"
    assert (tmp_path / "run" / weights).read_bytes() == (run / weights).read_bytes()
    assert not list((tmp_path / "run" / "checkpoints").iterdir())


def test_an_interrupted_refinement_by_folds_ends_with_the_same_result(
    hard: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = replace(REFINED, search=Search(enabled=True, candidates=4, folds=2))
    pipeline.train(hard, tmp_path / "whole", wanted, cache_folder(), QUIET)
    real, count = fold_search._trained, [0]

    def ends(*arguments: Any) -> Any:
        count[0] += 1
        if count[0] == 4:
            raise Interrupted(signal.SIGKILL)
        return real(*arguments)

    with monkeypatch.context() as patched:
        patched.setattr(fold_search, "_trained", ends)
        with pytest.raises(Interrupted):
            pipeline.train(hard, tmp_path / "run", wanted, cache_folder(), QUIET)
    pipeline.train(hard, tmp_path / "run", wanted, cache_folder(), QUIET)
    assert facts_of(tmp_path / "run") == facts_of(tmp_path / "whole")
