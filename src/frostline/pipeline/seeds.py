"""The same run with several seeds: how far its scores depend on chance."""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from frostline.recipe import Budget, Recipe, Watch


def recipes_of(settled: Recipe) -> dict[int, Recipe]:
    """Returns the recipe of each further seed.

    Args:
        settled: The run's, with every choice made: what a search came to is not searched again.
    """
    search = replace(settled.search, enabled=False)
    alike = replace(settled, seeds=1, search=search, watch=Watch(), budget=Budget())
    seeds = range(settled.seed + 1, settled.seed + settled.seeds)
    return {seed: replace(alike, seed=seed) for seed in seeds}


def facts_of(by_seed: Mapping[int, Mapping[str, Any]]) -> dict[str, Any]:
    """Returns mean and spread of the accuracies of `val` and `test`.

    Args:
        by_seed: The scores of each seed, as `metrics.json` holds them.

    Returns:
        What `metrics.json` holds under `seeds`.
    """
    facts: dict[str, Any] = {"seeds": list(by_seed)}
    for split in ("val", "test"):
        each = [scores[split]["accuracy"] for scores in by_seed.values() if split in scores]
        if each:
            facts[split] = _spread(each)
    return facts


def _spread(each: Sequence[float]) -> dict[str, Any]:
    std = statistics.stdev(each) if len(each) > 1 else 0.0
    return {"accuracy": list(each), "mean": statistics.fmean(each), "std": std}
