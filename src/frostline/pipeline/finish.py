"""The last step: scores, and everything that a finished run holds."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from frostline.activations import extraction
from frostline.activations.cut_network import prefix_digest
from frostline.activations.sources import ImageViews, Source, image_views_of
from frostline.base import files
from frostline.images.listing import Listing
from frostline.model import classifier as classifiers
from frostline.model.classifier import Classifier
from frostline.pipeline import messages, seeds
from frostline.pipeline.examples import labelled, sorted_rows
from frostline.pipeline.fill import Filled
from frostline.pipeline.fit import Trained
from frostline.planner.views import policy_of
from frostline.report import views_sheet
from frostline.run.folder import RunFolder
from frostline.scores import evaluation, pooling
from frostline.scores.evaluation import ScoredSplit
from frostline.scores.sentences import over_seeds
from frostline.sound import windows
from frostline.training import scoring
from frostline.training.progress import RunProgress


def finish(
    trained: Trained,
    run: RunFolder,
    content: str,
    took_s: float,
    others: Mapping[int, Mapping[str, Any]],
) -> None:
    """Scores the network and writes what is left of the run; the scores come last.

    Args:
        trained: The network and its history.
        run: The run folder.
        content: The digest of the images with their labels and splits.
        took_s: Seconds from the first image to the end of training.
        others: The scores of the same run with other seeds.
    """
    filled, progress = trained.filled, trained.progress
    console = filled.planned.prepared.request.console
    # Where the last stages changed nothing, the network is cut where what it is was chosen.
    model, source = filled.sources.at(_last_kept(progress))
    scored = _score(model, source, filled)
    passes = filled.sources.facts()
    messages.passes(passes, console)
    from_pixels = [one for one in passes if one["from"] == "pixels"]
    facts = {
        "passes": passes,
        "rows_computed": sum(one["rows_computed"] for one in from_pixels),
        "rows_kept": sum(one["rows_kept"] for one in from_pixels),
        "share_below": model.line.share_below,
        "frozen": {"unchanged": filled.sources.frozen == prefix_digest(filled.sources.base)},
        "measured": _measured(passes, progress, took_s),
        "checkpoints": {
            "written": progress.clock.count,
            "seconds": round(progress.clock.spent_s, 3),
        },
        "listing": content,
        "pictures": _of_pictures(filled.listing),
    }
    files.write_json(run.plan, {**filled.planned.plan.facts, **facts})
    policy = policy_of(filled.planned.recipe)
    views_sheet.write(run.views, filled.listing.of("train"), model.preprocessing, policy)
    classifiers.save(model, run.model)
    evaluation.write_predictions(run.predictions, model.labels, scored.values())
    metrics = {name: result.metrics for name, result in scored.items()}
    more = _beside(metrics, trained, others)
    run.write_metrics({**metrics, "stages": progress.proofs, **more})
    run.remove_checkpoints()


def _of_pictures(listing: Listing) -> dict[str, Any]:
    """Returns what `listing.csv` does not tell: what was assumed, and what was passed over."""
    root = listing.root.rstrip("/\\")
    # Notes go into the report, which must not tell where things lie on this machine.
    name = Path(root).name
    return {
        "notes": [note.replace(root, name) if name else note for note in listing.notes],
        "hidden": listing.skipped_hidden,
        "other": listing.skipped_other,
    }


def _beside(
    metrics: Mapping[str, Any], trained: Trained, others: Mapping[int, Mapping[str, Any]]
) -> dict[str, Any]:
    """Returns what stands beside the scores of the splits: other ways to score the same."""
    more: dict[str, Any] = {}
    if trained.progress.cross_validation:
        more["cross_validation"] = trained.progress.cross_validation
    if others:
        planned = trained.filled.planned
        more["seeds"] = seeds.facts_of({planned.recipe.seed: metrics, **others})
        for line in over_seeds(more["seeds"]):
            planned.prepared.request.console.detail(line)
    return more


def _last_kept(progress: RunProgress) -> int:
    """Returns the last stage that changed the network, from 0; -1 where none did."""
    kept = [number for number, proof in enumerate(progress.proofs) if proof["kept"]]
    return kept[-1] if kept else -1


def _score(model: Classifier, source: Source, filled: Filled) -> dict[str, ScoredSplit]:
    """Scores val, and test once, from the same activations that training used."""
    listing, console = filled.listing, filled.planned.prepared.request.console
    scored = {}
    for name in ("val", "test"):
        # In the order in which they were scored when the network was chosen.
        rows = sorted_rows(listing.of(name))
        examples = labelled(rows, listing, model)
        if examples is not None:
            wanted = image_views_of(rows)
            source.prepare(wanted)
            logits = scoring.predict(model.trainable, source.fetch, examples, model.engine.device)
            logits = pooling.logits(logits, examples.files, model.targets)
            probabilities = classifiers.probabilities(logits, model.targets)
            if model.flip:
                probabilities = (probabilities + _mirrored_probabilities(model, wanted)) / 2
            files = windows.files_of_rows(rows, filled.files)
            scored[name] = evaluation.scored(
                name, files, probabilities, model.labels, listing.several
            )
            console.detail(evaluation.summary(name, scored[name].metrics))
        elif name == "val":
            console.say(
                f"val: no {listing.noun}s, so nothing tells how right the model is; see --val"
            )
    return scored


def _mirrored_probabilities(model: Classifier, wanted: ImageViews) -> Tensor:
    """Returns the probabilities of the mirror images, which are not kept."""

    def run(pixels: Tensor) -> Tensor:
        return model.engine(pixels.flip(-1))

    made = extraction.activations(
        list(wanted.values()), model.preprocessing, run, model.engine.on_cpu
    )
    return torch.cat([model.score(part) for _, part, _ in made if part is not None])


def _measured(
    passes: Sequence[Mapping[str, Any]], progress: RunProgress, took_s: float
) -> dict[str, float]:
    """Returns what the plan estimated, as it came out: passes, a mean epoch, and all together.

    Where a run is gone on with, `total_s` is of this time alone.
    """
    passed = sum(one.get("seconds", 0.0) for one in passes)
    epochs = [line["seconds"] for line in progress.history if line["kind"] == "train"]
    return {
        "passes_s": round(passed, 3),
        "epoch_s": round(sum(epochs) / max(len(epochs), 1), 3),
        "total_s": round(took_s, 3),
    }
