"""The probe's cross-validated score, over all images of train and val."""

from dataclasses import dataclass
from typing import Any

from torch import Tensor

from frostline.model import classifier as classifiers
from frostline.pipeline.fill import Filled
from frostline.pipeline.folds import OF_PROBE, Dealt, deal, fold_count
from frostline.pipeline.head_probe import features
from frostline.scores import evaluation, pooling
from frostline.scores.sentences import cross_validated
from frostline.sound import windows
from frostline.training.cross_validation import CrossValidated, cross_validate

# What is told of the joined predictions; the rest is in the scores of val and test.
_KEYS = ("n", "groups", "accuracy", "accuracy_ci95", "log_loss", "macro_f1")


@dataclass(frozen=True)
class FoldedProbes:
    """A probe for each fold, fitted on the others.

    Attributes:
        dealt: The images in their folds.
        features: [n, d], what the probes take, of the `center` views.
        found: What they say of the images that they never saw.
    """

    dealt: Dealt
    features: Tensor
    found: CrossValidated


def fold_probes(filled: Filled, count: int) -> FoldedProbes:
    """Fits a probe without each fold, on the activations that are kept.

    Args:
        filled: The network as it was opened, with its activations.
        count: How many folds.

    Raises:
        TrainingError: Where features are not finite.
    """
    model, source = filled.sources.at(-1)
    dealt = deal(filled.listing, model, count, filled.planned.recipe.seed)
    source.prepare(dealt.views)
    device = model.engine.device
    held = features(model, source.fetch, dealt.examples, device)
    targets = dealt.examples.targets.to(device)
    seed, several = filled.planned.recipe.seed, dealt.stay_together
    found = cross_validate(
        held, targets, len(model.labels), model.targets, count, several, seed, dealt.examples.files
    )
    return FoldedProbes(dealt, held, found)


def probe_facts(filled: Filled) -> dict[str, Any] | None:
    """Returns the probe's cross-validated score and says it; None where there is to be none.

    Returns:
        What `metrics.json` holds under `cross_validation`.
    """
    asked = filled.planned.recipe.search.folds
    count = fold_count(filled.listing, asked, OF_PROBE)
    if not count:
        return None
    folded = fold_probes(filled, count)
    facts = _facts(filled, folded)
    filled.planned.prepared.request.console.detail(cross_validated(facts, filled.listing.noun))
    return facts


def _facts(filled: Filled, folded: FoldedProbes) -> dict[str, Any]:
    model, several = filled.planned.prepared.model, filled.listing.several
    logits = pooling.logits(folded.found.logits.cpu(), folded.dealt.examples.files, model.targets)
    rows = windows.files_of_rows(folded.dealt.rows, filled.files)
    probabilities = classifiers.probabilities(logits, model.targets)
    scored = evaluation.scored("cross-validation", rows, probabilities, model.labels, several)
    mean, deviation = folded.found.accuracy
    return {
        "of": "probe",
        "folds": folded.dealt.count,
        "several": several,
        **{key: scored.metrics[key] for key in _KEYS if key in scored.metrics},
        "fold_accuracy_mean": mean,
        "fold_accuracy_std": deviation,
    }
