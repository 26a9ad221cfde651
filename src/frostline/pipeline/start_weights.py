"""The weights that all candidates of a search start from: taken once, and put back after each."""

import copy

from torch import Tensor

from frostline.pipeline.fill import Filled


def take(filled: Filled) -> dict[str, Tensor]:
    """Returns copies of all weights of backbone and head."""
    model, _ = filled.sources.at(-1)
    parts = {"module": model.module, "head": model.trainable.head}
    return {
        f"{part}.{name}": value
        for part, module in parts.items()
        for name, value in copy.deepcopy(module.state_dict()).items()
    }


def put_back(filled: Filled, weights: dict[str, Tensor]) -> None:
    """Puts the weights of `take` back into backbone and head."""
    model, _ = filled.sources.at(-1)
    for part, module in (("module", model.module), ("head", model.trainable.head)):
        start = f"{part}."
        module.load_state_dict(
            {k.removeprefix(start): v for k, v in weights.items() if k.startswith(start)}
        )
