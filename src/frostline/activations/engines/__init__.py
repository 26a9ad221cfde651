"""Running a prefix fast.

`prepare` makes the engine that is available everywhere. `make` makes others of the same network, of
which the planner chooses by measurement. `agreement` tells whether an engine is accurate enough.
"""

from frostline.activations.engines.by_name import NAMES, candidates, make
from frostline.activations.engines.devices import pick_device, pick_precision, threads
from frostline.activations.engines.eager import Engine, Normalise, exact, fold_batch_norm, prepare
from frostline.activations.engines.tolerance import TOLERANCE, Agreement, agreement

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
