"""The search where images are few: candidates are compared by cross-validation.

Each candidate is trained once for each fold, on the others, from a probe that never saw the fold
either. What it says of all images, each by the network that did not see it, is scored at once. The
best candidate is then trained on the training images alone, so that the score on validation stays
one of images that nothing was fitted to.

A candidate's score is written when its last fold is done: a kill loses the one that is under way.
"""

import contextlib
import time
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from frostline.activations import engines
from frostline.base.ahead import TRY
from frostline.base.console import Bar
from frostline.base.errors import LossError
from frostline.pipeline import start_weights
from frostline.pipeline.cross_validation import FoldedProbes, fold_probes
from frostline.pipeline.examples import labelled, sorted_rows
from frostline.pipeline.fill import Filled
from frostline.pipeline.folds import FEW_HELD_OUT, Dealt, deal
from frostline.pipeline.head_probe import put
from frostline.pipeline.refine import refine
from frostline.pipeline.search import Found, leaves_nothing, with_stage
from frostline.pipeline.search_record import CROSS_VALIDATED, SearchRecord, Trained
from frostline.pipeline.stage_tasks import stage_task
from frostline.pipeline.time_limit import time_limit_of
from frostline.planner.candidates import Candidate
from frostline.run.folder import RunFolder
from frostline.training import probe, scoring, stages
from frostline.training.scoring import Score
from frostline.training.stages import StageTask
from frostline.training.state import TrainState


@dataclass(frozen=True)
class FoldStart:
    """What the candidates of each fold start from.

    Attributes:
        dealt: The images in their folds.
        probes: A probe for each fold; None where the head begins at random.
        score: The probe's, or that of the random head, over all folds.
    """

    dealt: Dealt
    probes: FoldedProbes | None
    score: Score


def fold_start(filled: Filled, count: int) -> FoldStart:
    """Deals the images, and scores what candidates start from.

    Args:
        filled: Activations, and the network that nothing but the head of was changed.
        count: How many folds.
    """
    model, source = filled.sources.at(-1)
    recipe = filled.planned.recipe
    if recipe.head.start == "probe":
        folded = fold_probes(filled, count)
        logits = folded.found.logits.cpu()
        return FoldStart(folded.dealt, folded, _score(logits, folded.dealt, model.targets))
    dealt = deal(filled.listing, model, count, recipe.seed)
    source.prepare(dealt.views)
    logits = scoring.predict(model.trainable, source.fetch, dealt.examples, model.engine.device)
    return FoldStart(dealt, None, _score(logits, dealt, model.targets))


def search_by_folds(filled: Filled, run: RunFolder, start: FoldStart) -> Found:
    """Cross-validates the candidates of the plan, and says which is the best.

    The network is left as it was: with the probe, and nothing else trained.

    Args:
        filled: Activations, the network with the probe in its head, and the plan.
        run: Where `search.json` goes.
        start: The folds, and what candidates start from in each.

    Returns:
        The best one, still to be trained.
    """
    planned, console = filled.planned, filled.planned.prepared.request.console
    listed, folds = planned.candidates, start.dealt.count
    record = SearchRecord(run, listed, start.score, folds)
    time_limit = time_limit_of(filled, record)
    weights = start_weights.take(filled)

    def train(number: int, bar: Bar, pass_s: float = 0.0) -> bool:
        if record.has(number, CROSS_VALIDATED):
            bar.advance(folds)
        elif not time_limit.admits(number, CROSS_VALIDATED, range(number), pass_s):
            return False
        else:
            candidate = time_limit.candidates[number]
            found = _trained(filled, candidate, start, weights, bar)
            time_limit.epochs_done(number, candidate.stage.epochs * folds)
            record.note(number, CROSS_VALIDATED, found)
        return True

    def attempt(number: int, candidate: Candidate, _: int, pass_s: float) -> bool:
        time_limit.add(number, candidate)
        with console.bar(folds, "trying settings", "fit", TRY) as bar:
            return train(number, bar, pass_s)

    with console.bar(len(listed) * folds, "trying settings", "fit", TRY) as bar:
        for number in range(len(listed)):
            train(number, bar)
    planned = replace(planned, candidates=tuple(time_limit.candidates))
    is_solved = leaves_nothing(record.best_score(before=len(listed)), FEW_HELD_OUT)
    every = refine(planned, record, run, is_solved, attempt)
    chosen = record.choose()
    record.tell(console, planned.recipe.head.start == "probe")
    if chosen is None:
        return Found(None)
    # The few images of validation are not to overrule what all of them say.
    best = every[chosen]
    return Found(replace(best, stage=replace(best.stage, select="end")))


def _trained(
    filled: Filled, candidate: Candidate, start: FoldStart, weights: dict[str, Tensor], bar: Bar
) -> Trained:
    begun, dealt = time.perf_counter(), start.dealt
    joined: Tensor | None = None
    for number in range(dealt.count):
        try:
            logits = _logits(filled, candidate, start, number)
        except LossError as error:
            return Trained(None, time.perf_counter() - begun, str(error))
        finally:
            start_weights.put_back(filled, weights)
        if joined is None:
            joined = torch.empty(len(dealt.rows), logits.shape[1])
        joined[dealt.fold == number] = logits
        bar.advance(1, candidate.name)
    assert joined is not None
    score = _score(joined, dealt, filled.planned.prepared.model.targets)
    return Trained(score, time.perf_counter() - begun)


def _score(logits: Tensor, dealt: Dealt, kind: str) -> Score:
    """Scores what was said of the images of all folds, [n, scores]; of sounds, their files."""
    return scoring.score_logits(logits, dealt.examples.targets, kind, dealt.examples.files)


def _logits(filled: Filled, candidate: Candidate, start: FoldStart, number: int) -> Tensor:
    """Trains without a fold, and returns what is then said of it: [images, scores].

    Raises:
        LossError: Where the loss, or what is said, is no longer a number.
    """
    task = _task(filled, candidate, start.dealt, number)
    if start.probes is not None:
        _begin_from_probe(filled, start.probes, number)
    stages.thaw(task)
    optimizer, held_out = stages.make_optimizer(task), task.validation
    assert held_out is not None
    lines = stages.training(replace(task, validation=None), optimizer, TrainState())
    with (
        stages.dropouts_kept(task),
        engines.threads(stages.threads(task)),
        contextlib.closing(lines),
    ):
        for _ in lines:
            pass
    model = task.model
    logits = scoring.predict(model.trainable, task.source.fetch, held_out, model.engine.device)
    if not bool(logits.isfinite().all()):
        raise LossError(f"fold {number + 1}: what is said of its images is no number.")
    return logits


def _task(filled: Filled, candidate: Candidate, dealt: Dealt, number: int) -> StageTask:
    listing = dealt.listing_without(filled.listing, number)
    rows = sorted_rows(dealt.held_out(number))
    held_out = labelled(rows, listing, filled.planned.prepared.model)
    inside = replace(filled, listing=listing, validation=held_out)
    return stage_task(with_stage(inside, candidate), 0)


def _begin_from_probe(filled: Filled, folded: FoldedProbes, number: int) -> None:
    model, _ = filled.sources.at(-1)
    inside = folded.dealt.fold != number
    targets = folded.dealt.examples.targets[inside].to(folded.features.device)
    split = (folded.features[inside.to(folded.features.device)], targets)
    c = folded.found.inverse_penalties[number]
    put(model, probe.fit(split, None, len(model.labels), model.targets, c))
