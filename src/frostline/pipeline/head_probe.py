"""The probe in a run: features at the head, a fit, and its place in head and history."""

import copy
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from frostline.activations.cache.key import row_id
from frostline.activations.sources import image_views_of
from frostline.base.memory import Parts
from frostline.images.augment import CENTER, View
from frostline.model.classifier import Classifier
from frostline.pipeline.examples import labelled, sorted_rows
from frostline.pipeline.fill import Filled
from frostline.pipeline.folds import fold_count
from frostline.training import probe, scoring
from frostline.training.examples import Examples, Fetch, batches
from frostline.training.features import gather
from frostline.training.probe import Probe, Split
from frostline.training.scoring import Score


@dataclass(frozen=True)
class FittedProbe:
    """A probe with its score as the whole network gives it.

    Attributes:
        probe: Weights and what was tried.
        views: Of each training image: 1 for the `center` view alone.
        score: On validation; None where there are no validation images.
    """

    probe: Probe
    views: int
    score: Score | None


def fit_probe(filled: Filled, views: Sequence[View] = ()) -> dict[str, Any]:
    """Puts a fitted probe in place of the head's last layer; returns its history record.

    Args:
        filled: Activations, and the network cut at its top.
        views: Varied views of the training images; it is fitted on these and the `center` views.

    Raises:
        TrainingError: Where features are not finite.
    """
    return _put_best(filled, [[CENTER, *views]])


def choose_probe(filled: Filled, views: Sequence[View]) -> dict[str, Any]:
    """Fits one on the `center` views alone and one on varied views too; takes the better one.

    Args:
        filled: Activations, with validation images to choose by; else it is the first one.
        views: Varied views of the training images; none for the first one alone.

    Returns:
        Its history record.

    Raises:
        TrainingError: Where features are not finite.
    """
    both = [[CENTER], [CENTER, *views]] if views and filled.validation else [[CENTER]]
    return _put_best(filled, both)


def choose_probe_again(
    filled: Filled, views: Sequence[View], before: Mapping[str, Any]
) -> dict[str, Any]:
    """Fits one on more views, and keeps the one that is in the head where that is no worse.

    Args:
        filled: Activations, and the network with a probe in its head.
        views: Varied views of the training images.
        before: The history record of the probe in the head.

    Returns:
        The history record of the better one, with the seconds of both.

    Raises:
        TrainingError: Where features are not finite.
    """
    begun = time.perf_counter()
    last = _last_layer(filled.sources.at(-1)[0])
    kept = copy.deepcopy(last.state_dict())
    found = _fit(filled, [CENTER, *views])
    assert found.score is not None
    if scoring.best_of([probe_score(before, found.score.count), found.score]) == 0:
        last.load_state_dict(kept)
        record = dict(before)
    else:
        record = _record(found)
    console, row = filled.planned.prepared.request.console, filled.listing.nouns.row
    console.detail(f"probe, on {len(views) + 1} views of each {row} too: {_told(record)}")
    seconds = before["seconds"] + time.perf_counter() - begun
    return {**record, "seconds": round(seconds, 3)}


def _put_best(filled: Filled, choices: Sequence[Sequence[View]]) -> dict[str, Any]:
    """Fits a probe on each choice of views, and puts the best into the head."""
    begun = time.perf_counter()
    fitted = [_fit(filled, views) for views in choices]
    scores = [one.score for one in fitted if one.score is not None]
    best = fitted[scoring.best_of(scores)] if scores else fitted[0]
    put(filled.sources.at(-1)[0], best.probe)
    record = _record(best)
    console = filled.planned.prepared.request.console
    several = (
        f", on {best.views} views of each {filled.listing.nouns.row}" if best.views > 1 else ""
    )
    console.detail(
        f"probe: logistic regression{several}, L2 penalty C = {best.probe.inverse_penalty:.3g} "
        f"(the best of {len(best.probe.tried)} on {_chosen_on(best.probe)}), {_told(record)}"
    )
    return {**record, "seconds": round(time.perf_counter() - begun, 3)}


def _chosen_on(found: Probe) -> str:
    within = "" if found.chosen_on == "val" else " within train"
    return f"{found.chosen_on}{within}"


def _told(record: dict[str, Any]) -> str:
    on = "val" if "val_accuracy" in record else "cv"
    return f"{on} accuracy {record[f'{on}_accuracy']:.4f}"


def probe_score(record: Mapping[str, Any], count: int) -> Score:
    """Returns the score that a history record of the probe tells."""
    return Score(record["val_loss"], record["val_accuracy"], count, record.get("val_scaled_loss"))


def _record(best: FittedProbe) -> dict[str, Any]:
    record: dict[str, Any] = {"stage": 0, "kind": "probe", "C": best.probe.inverse_penalty}
    record["views"] = best.views
    if best.score is None:
        chosen = best.probe.chosen
        return {**record, "cv_loss": chosen.loss, "cv_accuracy": chosen.accuracy}
    return {
        **record,
        "val_loss": best.score.loss,
        "val_accuracy": best.score.accuracy,
        "val_scaled_loss": best.score.scaled_loss,
    }


def _fit(filled: Filled, views: Sequence[View]) -> FittedProbe:
    listing, validation = filled.listing, filled.validation
    model, source = filled.sources.at(-1)
    rows = sorted_rows(listing.of("train"))
    center = labelled(rows, listing, model)
    assert center is not None
    source.prepare(image_views_of(listing.of("train"), views))
    source.prepare(image_views_of(listing.of("val")))
    device = model.engine.device
    ids = tuple(row_id(row.digest, view.name) for view in views for row in rows)
    targets = torch.cat([center.targets] * len(views))
    training = Examples(ids, targets, _files_of_views(center.files, len(views)))
    train = _split(model, source.fetch, training, device)
    val = _split(model, source.fetch, validation, device) if validation else None
    groups = [row.group or row.digest for row in rows] * len(views)
    # A few images of validation choose by chance, and tell more where they chose nothing.
    is_few = fold_count(listing, filled.planned.recipe.search.folds, probe.FOLDS) > 0
    chosen_on = None if is_few else val
    found = probe.fit(train, chosen_on, len(model.labels), kind=model.targets, groups=groups)
    if validation is None:
        return FittedProbe(found, len(views), None)
    # Scored as the finished network is, so that what chooses is what is told in the end.
    put(model, found)
    score = scoring.score(model.trainable, source.fetch, validation, device, model.targets)
    return FittedProbe(found, len(views), score)


def _files_of_views(files: Tensor | None, views: int) -> Tensor | None:
    """Returns the files of all views, one after the other; another view is another file."""
    if files is None:
        return None
    return torch.cat([files + view * (int(files.max()) + 1) for view in range(views)])


def _split(model: Classifier, fetch: Fetch, examples: Examples, device: torch.device) -> Split:
    held = features(model, fetch, examples, device)
    return held, examples.targets.to(device), examples.files


def put(model: Classifier, found: Probe) -> None:
    """Puts a probe in place of the head's last layer."""
    last = _last_layer(model)
    with torch.no_grad():
        last.weight.copy_(found.weight)
        last.bias.copy_(found.bias)


def _last_layer(model: Classifier) -> nn.Linear:
    last = model.trainable.head[-1]  # type: ignore[index]
    assert isinstance(last, nn.Linear)
    return last


@torch.inference_mode()
def features(model: Classifier, fetch: Fetch, examples: Examples, device: torch.device) -> Tensor:
    """Returns what the head's last layer takes: [n, d], in half precision where it is large."""
    pool = model.trainable.head[:-1]  # type: ignore[index]
    model.trainable.eval()
    loaded = batches(fetch, examples, range(len(examples.rows)), scoring.EVAL_BATCH)
    parts = Parts()

    def pooled(x: Tensor) -> Tensor:
        found: Tensor = pool(model.trainable.top(x.to(device)))
        return found

    made = (few for x, _ in loaded for few in parts.through(pooled, x))
    return gather(made, len(examples.rows))
