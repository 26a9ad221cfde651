"""Running a prefix fast.

`prepare` makes the engine that can be had everywhere; `make` gives others of the same network, for
the faster to be chosen by measurement; `agreement` says whether one may be trusted.
"""

from frostline.activations.engines.agree import TOLERANCE, Agreement, agreement
from frostline.activations.engines.choice import NAMES, candidates, make
from frostline.activations.engines.eager import Engine, Normalise, exact, fold_batch_norm, prepare
from frostline.activations.engines.where import pick_device, pick_precision, threads

__all__ = [
    "NAMES",
    "TOLERANCE",
    "Agreement",
    "Engine",
    "Normalise",
    "agreement",
    "candidates",
    "exact",
    "fold_batch_norm",
    "make",
    "pick_device",
    "pick_precision",
    "prepare",
    "threads",
]
