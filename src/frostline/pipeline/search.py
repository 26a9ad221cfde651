"""The search: candidates are trained on cached activations, half of them to the end.

Each candidate starts from the probe. At half of its epochs it is scored by its averaged weights;
the better half goes on (successive halving with one cut: Jamieson and Talwalkar, "Non-stochastic
Best Arm Identification and Hyperparameter Optimization", AISTATS 2016). The probe takes part to the
end. Which candidates there are was settled with the plan, from measurements; so a search that is
interrupted goes on to the same result.
"""

import contextlib
import copy
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from torch import Tensor

from frostline.activations import engines
from frostline.base import files
from frostline.base import signals as interrupt
from frostline.base.errors import LossError
from frostline.pipeline.fill import Filled
from frostline.pipeline.stage_tasks import stage_task
from frostline.planner.candidates import Candidate, survivor_count
from frostline.run.folder import RunFolder
from frostline.training import checkpoint, loop, schedules, scoring, stages
from frostline.training.checkpoint import Checkpoint, CheckpointClock
from frostline.training.loop import TrainState
from frostline.training.scoring import Score
from frostline.training.stages import StageTask

# With so few errors of the probe, and no time given, no candidate is tried.
NEARLY_ALL = 0.985
LEAST_VALIDATION = 100


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


def is_solved(filled: Filled, probe: Score) -> bool:
    """Says whether the probe leaves nothing worth a search, where no time was given."""
    has_time = filled.planned.recipe.budget.time_min is not None
    few_errors = probe.accuracy >= NEARLY_ALL and probe.count >= LEAST_VALIDATION
    return few_errors and not has_time


def with_stage(filled: Filled, candidate: Candidate | None) -> Filled:
    """Returns the same with the candidate as the recipe's only stage; with none for the probe."""
    planned = filled.planned
    recipe = replace(
        planned.recipe,
        stages=(candidate.stage,) if candidate else (),
        search=replace(planned.recipe.search, enabled=False),
    )
    lines = (candidate.line,) if candidate else ()
    planned = replace(planned, plan=replace(planned.plan, recipe=recipe), lines=lines)
    return replace(filled, planned=planned, sources=filled.sources.with_lines(lines))


def search(filled: Filled, run: RunFolder, probe: Score) -> Found:
    """Trains the candidates of the plan, and says which is the best.

    The network is left as it was: with the probe, and nothing else trained.

    Args:
        filled: Activations, the network with the probe in its head, and the plan.
        run: Where `search.json` and the candidates' checkpoints go.
        probe: The probe's score on validation.

    Raises:
        Interrupted: After a checkpoint, where a signal asked to end.
    """
    candidates = filled.planned.candidates
    record = _Record(run, candidates, probe)
    trials = [_Trial(filled, run, number, one) for number, one in enumerate(candidates)]
    start = _weights(filled)
    cut = survivor_count(len(trials))
    for trial in trials:
        if len(trials) > 1 and not record.has(trial.number, "half"):
            half = max(1, trial.candidate.stage.epochs // 2)
            record.note(trial.number, "half", trial.train(half))
            _reset(filled, start)
    survivors = record.best_at("half", cut) if len(trials) > 1 else range(len(trials))
    for number in survivors:
        if not record.has(number, "final"):
            trial = trials[number]
            record.note(number, "final", trial.train(trial.candidate.stage.epochs))
            _reset(filled, start)
    chosen = record.choose()
    _tell(filled, record, chosen)
    if chosen is None:
        return Found(None)
    found = checkpoint.read(run.candidate(chosen))
    assert found is not None
    return Found(candidates[chosen], found, tuple(found.facts["history"]))


class _Record:
    """`search.json`: every candidate with its cost and its scores."""

    def __init__(self, run: RunFolder, candidates: tuple[Candidate, ...], probe: Score) -> None:
        self._path = run.search
        self._probe = probe
        self.facts: dict[str, Any] = run.read_search() or {
            "rule": "of those within half a standard error of the best accuracy, the least "
            "log-loss after temperature scaling",
            "probe": vars(probe),
            "candidates": [
                {"name": one.name, "line": one.line.name, "estimate_s": round(one.estimate_s, 3)}
                for one in candidates
            ],
        }

    def has(self, number: int, when: str) -> bool:
        return when in self.facts["candidates"][number]

    def score(self, number: int, when: str) -> Score | None:
        found = self.facts["candidates"][number].get(when)
        return Score(**found) if found else None

    def note(self, number: int, when: str, trained: "_Trained") -> None:
        facts = self.facts["candidates"][number]
        facts[when] = vars(trained.score) if trained.score else None
        facts["seconds"] = round(facts.get("seconds", 0.0) + trained.seconds, 3)
        if trained.failure:
            facts["failure"] = trained.failure
        files.write_json(self._path, self.facts)

    def best_at(self, when: str, count: int) -> list[int]:
        """Returns the positions of the best ones, best first; diverged ones are left out."""
        scores = {
            number: score
            for number in range(len(self.facts["candidates"]))
            if (score := self.score(number, when)) is not None
        }
        ranked: list[int] = []
        while scores and len(ranked) < count:
            numbers = list(scores)
            best = numbers[scoring.best_of([scores[number] for number in numbers])]
            ranked.append(best)
            del scores[best]
        return ranked

    def choose(self) -> int | None:
        """Returns the best of the finished candidates; None for the probe."""
        finished = [
            number
            for number in range(len(self.facts["candidates"]))
            if self.score(number, "final") is not None
        ]
        scores = [self._probe, *(self.score(number, "final") for number in finished)]
        at = scoring.best_of([score for score in scores if score is not None])
        chosen = None if at == 0 else finished[at - 1]
        self.facts["chosen"] = "probe" if chosen is None else chosen
        files.write_json(self._path, self.facts)
        return chosen


@dataclass(frozen=True)
class _Trained:
    """How a candidate stands; no score where its loss is no longer a number."""

    score: Score | None
    seconds: float
    failure: str = ""


@dataclass(frozen=True)
class _Trial:
    """One candidate's training, in pieces."""

    filled: Filled
    run: RunFolder
    number: int
    candidate: Candidate

    def train(self, until: int) -> _Trained:
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
            return _Trained(_last_score(history, task), 0.0)
        with interrupt.held_back() as request, stages.dropouts_kept(task):
            clock = CheckpointClock()
            try:
                with engines.threads(stages.threads(task)):
                    for line in self._lines(task, optimizer, state):
                        if line is not None:
                            history.append({"stage": 1, "kind": "train", **line})
                        is_over = line is not None and (state.epoch > until or state.finished)
                        if is_over or request.number or clock.is_due():
                            _save(path, task, optimizer, state, history, clock)
                        request.obey()
                        if is_over:
                            break
            except LossError as error:
                path.unlink(missing_ok=True)
                return _Trained(None, time.perf_counter() - begun, str(error))
        return _Trained(_last_score(history, task), time.perf_counter() - begun)

    def _lines(
        self, task: StageTask, optimizer: Any, state: TrainState
    ) -> Iterator[dict[str, Any] | None]:
        stage, model = task.stage, task.model
        lines = loop.train(
            model.trainable,
            optimizer,
            partial(schedules.factor, warmup=stage.warmup, schedule=stage.schedule),
            task.source.fetch,
            task.examples_of,
            task.validation,
            stages.train_settings(task),
            model.engine.device,
            state,
        )
        steps = loop.step_count(task.images, stages.train_settings(task))
        console = self.filled.planned.prepared.request.console
        shown = console.bar(steps - state.step, f"trying {self.candidate.name}", "step")
        with contextlib.closing(lines), shown as bar:
            for line in lines:
                if line is None:
                    bar.advance(1, f"loss {state.loss_sum / state.seen:.4f}")
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
        len(task.validation.rows),
        last["val_scaled_loss"],
    )


def _weights(filled: Filled) -> dict[str, Tensor]:
    """Returns copies of all weights of backbone and head."""
    model, _ = filled.sources.at(-1)
    parts = {"module": model.module, "head": model.trainable.head}
    return {
        f"{part}.{name}": value
        for part, module in parts.items()
        for name, value in copy.deepcopy(module.state_dict()).items()
    }


def _reset(filled: Filled, weights: dict[str, Tensor]) -> None:
    model, _ = filled.sources.at(-1)
    for part, module in (("module", model.module), ("head", model.trainable.head)):
        start = f"{part}."
        module.load_state_dict(
            {k.removeprefix(start): v for k, v in weights.items() if k.startswith(start)}
        )


def _tell(filled: Filled, record: _Record, chosen: int | None) -> None:
    console = filled.planned.prepared.request.console
    rows = [["candidate", "half", "end", "seconds", ""]]
    probe = Score(**record.facts["probe"])
    rows.append(["probe", "", _shown(probe), "", "<- best" if chosen is None else ""])
    for number, facts in enumerate(record.facts["candidates"]):
        mark = "<- best" if number == chosen else "diverged" if facts.get("failure") else ""
        scores = [_shown(record.score(number, when)) for when in ("half", "final")]
        rows.append([facts["name"], *scores, f"{facts['seconds']:.1f}", mark])
    console.say("search: accuracy and scaled log-loss on validation")
    console.table(rows)


def _shown(score: Score | None) -> str:
    if score is None:
        return "-"
    loss = score.loss if score.scaled_loss is None else score.scaled_loss
    return f"{score.accuracy:.4f} {loss:.3f}"
