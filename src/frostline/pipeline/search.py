"""The search: candidates are trained on cached activations, half of them to the end.

Each candidate starts from the probe. At half of its epochs it is scored by its averaged weights;
the better half goes on (successive halving with one cut: Jamieson and Talwalkar, "Non-stochastic
Best Arm Identification and Hyperparameter Optimization", AISTATS 2016). The first one decides which
others are tried at all: gentler ones where it is behind the probe at its half, by more than noise,
bolder ones where it is not. Where varied views helped the probe, none of the list is tried without
them. The probe takes part to the end. Which candidates there are was settled with the plan, from
measurements, and all else is decided by scores; so a search that is interrupted goes on to the same
result.
"""

import contextlib
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from frostline import planner
from frostline.activations import engines
from frostline.base import signals as interrupt
from frostline.base.ahead import TRY
from frostline.base.console import Bar
from frostline.base.errors import LossError
from frostline.pipeline import start_weights
from frostline.pipeline.fill import Filled
from frostline.pipeline.prepare import head_spec_of
from frostline.pipeline.refine import refine
from frostline.pipeline.search_record import FINAL, HALF, SearchRecord, Trained
from frostline.pipeline.stage_tasks import stage_task
from frostline.pipeline.time_limit import TimeLimit, time_limit_of
from frostline.planner.candidates import Candidate, survivor_count, taking_part
from frostline.recipe import Recipe
from frostline.run.folder import RunFolder
from frostline.training import checkpoint, loop, stages
from frostline.training.checkpoint import Checkpoint, CheckpointClock
from frostline.training.scoring import Score
from frostline.training.stages import StageTask
from frostline.training.state import TrainState

# With so few errors of the probe, and no time given, no candidate is tried.
NEARLY_ALL = 0.985
LEAST_VALIDATION = 100
# Nor where, on fewer images, it is right in all and so sure that no candidate could be told better:
# log-loss after temperature scaling, in nats.
SURE_LOSS = 0.01
LEAST_SURE = 40


@dataclass(frozen=True)
class Found:
    """What a search came to.

    Attributes:
        candidate: The best one; None where the probe is.
        checkpoint: Its finished training.
        history: Its epochs.
    """

    candidate: Candidate | None
    checkpoint: Checkpoint | None = None
    history: tuple[dict[str, Any], ...] = ()


def is_solved(filled: Filled, probe: Score, least: int = LEAST_VALIDATION) -> bool:
    """Says whether the probe leaves nothing worth a search, where no time was given.

    Args:
        filled: Whose recipe says whether there is time.
        probe: Its score.
        least: On how many images it must be for that.
    """
    has_time = filled.planned.recipe.budget.time_min is not None
    return leaves_nothing(probe, least) and not has_time


def leaves_nothing(score: Score, least: int = LEAST_VALIDATION) -> bool:
    """Says whether a score on at least so many images is one that nothing could be told from."""
    few_errors = score.accuracy >= NEARLY_ALL and score.count >= least
    is_sure = score.scaled_loss is not None and score.scaled_loss < SURE_LOSS
    none_wrong = score.accuracy == 1 and is_sure and score.count >= LEAST_SURE
    return few_errors or none_wrong


def with_stage(filled: Filled, candidate: Candidate | None, probe_views: int = 0) -> Filled:
    """Returns the same with the candidate as the recipe's only stage; with none for the probe.

    Args:
        filled: With the recipe of the search.
        candidate: Which one; None for none.
        probe_views: Varied views that the probe was fitted on, from which all candidates start.
    """
    planned = filled.planned
    recipe = replace(
        planned.recipe,
        head=replace(planned.recipe.head, probe_views=probe_views),
        stages=(candidate.stage,) if candidate else (),
        search=replace(planned.recipe.search, enabled=False),
    )
    lines, sources = (candidate.line,) if candidate else (), filled.sources
    base, lowest = sources.base.line, candidate.line if candidate else sources.base.top
    if planned.plan.keep and recipe.compute.derive and base.index < lowest.index:
        recipe = replace(recipe, compute=replace(recipe.compute, pass_line=base.name))
    if candidate is not None:
        recipe = _with_views(recipe, candidate)
        sources = sources.with_lines(lines, recipe.views.live)
    if candidate is not None and candidate.head:
        other = replace(recipe.head, spec=candidate.head, start="random", probe_views=0)
        recipe = replace(recipe, head=other)
        sources = sources.with_head(head_spec_of(recipe), recipe.seed)
    planned = replace(planned, plan=replace(planned.plan, recipe=recipe), lines=lines)
    return replace(filled, planned=planned, sources=sources)


def _with_views(recipe: Recipe, candidate: Candidate) -> Recipe:
    if candidate.views:
        recipe = planner.with_preset(recipe, candidate.views)
    if not candidate.live:
        return recipe
    # Views that are new in every epoch are not kept; the others are, where that is possible.
    compute = replace(recipe.compute, cache="auto")
    return replace(recipe, compute=compute, views=replace(recipe.views, live=True))


def search(filled: Filled, run: RunFolder, probe: Score, views_helped: bool) -> Found:
    """Trains the candidates of the plan, and says which is the best.

    The network is left as it was: with the probe, and nothing else trained.

    Args:
        filled: Activations, the network with the probe in its head, and the plan.
        run: Where `search.json` and the candidates' checkpoints go.
        probe: The probe's score on validation.
        views_helped: Whether it was fitted on varied views, for it is better so.

    Raises:
        Interrupted: After a checkpoint, where a signal asked to end.
    """
    planned, console = filled.planned, filled.planned.prepared.request.console
    listed = planned.candidates
    record = SearchRecord(run, listed, probe)
    time_limit = time_limit_of(filled, record)
    start = start_weights.take(filled)

    def train(number: int, when: str, others: Sequence[int], bar: Bar, pass_s: float = 0.0) -> bool:
        if record.has(number, when):
            return True
        if not time_limit.admits(number, when, others, pass_s):
            return False
        candidate = time_limit.candidates[number]
        trial = _Trial(filled, run, number, candidate, time_limit)
        record.note(number, when, trial.train(_until(candidate.stage.epochs, when), bar))
        start_weights.put_back(filled, start)
        return True

    def attempt(number: int, candidate: Candidate, winner: int, pass_s: float) -> bool:
        time_limit.add(number, candidate)
        with console.bar(candidate.stage.epochs, "trying settings", "epoch", TRY) as bar:
            if not train(number, HALF, (), bar, pass_s):
                return False
            if record.goes_on(number, winner):
                train(number, FINAL, (), bar)
        return True

    with console.bar(_epoch_count(listed, views_helped), "trying settings", "epoch", TRY) as bar:

        def train_listed(number: int, when: str, others: Sequence[int]) -> bool:
            return train(number, when, others, bar)

        is_raced = len(listed) > 1
        numbers: Sequence[int] = range(len(listed))
        if is_raced:
            numbers = _halves(listed, views_helped, record, train_listed)
        for place, number in enumerate(numbers):
            train_listed(number, FINAL, numbers[:place])
    planned = replace(planned, candidates=tuple(time_limit.candidates))
    is_solved = leaves_nothing(record.best_score(before=len(listed)))
    every = refine(planned, record, run, is_solved, attempt)
    chosen = record.choose()
    record.tell(console, planned.recipe.head.start == "probe")
    if chosen is None:
        return Found(None)
    found = checkpoint.read(run.candidate(chosen))
    assert found is not None
    won = every[chosen]
    stage = replace(won.stage, stop_after=time_limit.ended_at(chosen))
    return Found(replace(won, stage=stage), found, tuple(found.facts["history"]))


def _epoch_count(candidates: Sequence[Candidate], views_helped: bool) -> int:
    """Returns how many epochs a search takes at most."""
    if len(candidates) < 2:
        return sum(one.stage.epochs for one in candidates)
    counts = []
    for is_behind in (False, True):
        tried = taking_part(candidates, is_behind, views_helped)
        epochs = [candidates[at].stage.epochs for at in tried]
        halves = sum(_until(one, HALF) for one in epochs)
        rest = sum(epochs) - halves
        counts.append(halves + round(rest * survivor_count(len(epochs)) / len(epochs)))
    return max(counts)


def _until(epochs: int, when: str) -> int:
    """Returns at which epoch a candidate is scored."""
    return epochs if when == FINAL else max(1, epochs // 2)


def _halves(
    candidates: Sequence[Candidate],
    views_helped: bool,
    record: SearchRecord,
    train: Callable[[int, str, Sequence[int]], bool],
) -> list[int]:
    """Trains to the halves, and returns who goes on, best first; none where time is too short."""
    if not train(0, HALF, ()):
        return []
    numbers: list[int] = []
    for number in taking_part(candidates, record.is_behind(0, HALF), views_helped):
        if train(number, HALF, numbers):
            numbers.append(number)
    return record.best_at(HALF, survivor_count(len(numbers)), numbers)


@dataclass(frozen=True)
class _Trial:
    """One candidate's training, in pieces."""

    filled: Filled
    run: RunFolder
    number: int
    candidate: Candidate
    time_limit: TimeLimit

    def train(self, until: int, bar: Bar) -> Trained:
        """Trains from the start, or from its checkpoint, to the end of epoch `until`.

        Raises:
            Interrupted: After a checkpoint, where a signal asked to end.
        """
        begun = time.perf_counter()
        task = stage_task(with_stage(self.filled, self.candidate), 0)
        path = self.run.candidate(self.number)
        stages.thaw(task)
        optimizer = stages.make_optimizer(task)
        found = checkpoint.read(path)
        state = checkpoint.unpack(found, task.model.trainable, optimizer) if found else TrainState()
        history = list(found.facts["history"]) if found else []
        if state.epoch > until or state.finished:
            return Trained(state.last or _last_score(history, task), 0.0)
        self.time_limit.epoch_begins()
        with interrupt.deferred() as request, stages.dropouts_kept(task):
            clock = CheckpointClock()
            try:
                with engines.threads(stages.threads(task)):
                    for line in self._lines(task, optimizer, state, bar):
                        if line is not None:
                            history.append({"stage": 1, "kind": "train", **line})
                            if (
                                self.time_limit.ends(self.number, line["epoch"])
                                and not state.finished
                            ):
                                select = task.stage.select
                                loop.end_early(task.model.trainable, state, select)
                        is_over = line is not None and (state.epoch > until or state.finished)
                        if is_over or request.number or clock.is_due():
                            _save(path, task, optimizer, state, history, clock)
                            self.time_limit.keep_clock()
                        request.obey()
                        if is_over:
                            break
            except LossError as error:
                path.unlink(missing_ok=True)
                return Trained(None, time.perf_counter() - begun, str(error))
        return Trained(state.last or _last_score(history, task), time.perf_counter() - begun)

    def _lines(
        self, task: StageTask, optimizer: Any, state: TrainState, bar: Bar
    ) -> Iterator[dict[str, Any] | None]:
        lines = stages.training(task, optimizer, state)
        with contextlib.closing(lines):
            for line in lines:
                if line is not None:
                    bar.advance(1, self.candidate.name)
                yield line


def _save(
    path: Path,
    task: StageTask,
    optimizer: Any,
    state: TrainState,
    history: list[dict[str, Any]],
    clock: CheckpointClock,
) -> None:
    begun = time.perf_counter()
    facts, tensors = checkpoint.pack(task.model.trainable, optimizer, state)
    checkpoint.write(path, {**facts, "stage": 0, "history": history}, tensors)
    clock.wrote(time.perf_counter() - begun)


def _last_score(history: list[dict[str, Any]], task: StageTask) -> Score | None:
    assert task.validation is not None
    last = history[-1]
    return Score(
        last["val_loss"],
        last["val_accuracy"],
        task.validation.count,
        last["val_scaled_loss"],
    )
