"""The probe in a run: features at the head, one fit, and its place in head and history."""

import time
from typing import Any

import torch
from torch import Tensor, nn

from frostline.activations.sources import image_views_of
from frostline.model.classifier import Classifier
from frostline.pipeline.examples import in_order, labelled
from frostline.pipeline.fill import Filled
from frostline.training import probe, scoring
from frostline.training.examples import Examples, Fetch, batches
from frostline.training.features import gather


def fit_probe(filled: Filled) -> dict[str, Any]:
    """Puts a fitted probe in place of the head's last layer; returns its history record.

    Raises:
        TrainingError: Where features are not finite.
    """
    begun = time.perf_counter()
    listing, validation = filled.listing, filled.validation
    model, source = filled.sources.at(-1)
    training = labelled(in_order(listing.of("train")), listing, model)
    assert training is not None
    source.need(image_views_of((*listing.of("train"), *listing.of("val"))))
    device = model.engine.device
    train = (features(model, source.fetch, training, device), training.targets.to(device))
    val = None
    if validation:
        val = (features(model, source.fetch, validation, device), validation.targets.to(device))
    found = probe.fit(train, val, len(model.labels), kind=model.targets)
    last = model.trainable.head[-1]  # type: ignore[index]
    assert isinstance(last, nn.Linear)
    with torch.no_grad():
        last.weight.copy_(found.weight)
        last.bias.copy_(found.bias)
    c, loss, accuracy = found.chosen
    scored_on = "val" if validation else "cv"
    filled.planned.prepared.request.console.say(
        f"probe: logistic regression, L2 penalty C = {c:.3g} (the best of {len(found.tried)}), "
        f"{found.chosen_on} accuracy {accuracy:.4f}"
    )
    return {
        "stage": 0,
        "kind": "probe",
        "C": c,
        f"{scored_on}_loss": loss,
        f"{scored_on}_accuracy": accuracy,
        "seconds": round(time.perf_counter() - begun, 3),
    }


@torch.inference_mode()
def features(model: Classifier, fetch: Fetch, examples: Examples, device: torch.device) -> Tensor:
    """Returns what the head's last layer takes: [n, d], in half precision where it is large."""
    pool = model.trainable.head[:-1]  # type: ignore[index]
    model.trainable.eval()
    loaded = batches(fetch, examples, range(len(examples.rows)), scoring.EVAL_BATCH)
    return gather((pool(model.trainable.top(x.to(device))) for x, _ in loaded), len(examples.rows))
