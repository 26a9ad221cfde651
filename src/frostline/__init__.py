"""Frostline: transfer learning on images that never computes a frozen layer twice.

    import frostline

    run = frostline.train("photos/", out="runs/photos")
    run.metrics["val"]["accuracy"]
    run.predict(["new.jpg"])

    network = frostline.backbone("timm:resnet50", pretrained=False)
    prefix, suffix = network.cut("layer3")

Nothing heavy is imported until a name is used.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from frostline.api import Backbone, Run, activations, backbone, lr_find, open_run, plan, train
    from frostline.base.errors import FrostlineError
    from frostline.images.preprocessing import Preprocessing

__version__ = "0.1.0"

_HOMES = {
    "Backbone": "frostline.api",
    "FrostlineError": "frostline.base.errors",
    "Preprocessing": "frostline.images.preprocessing",
    "Run": "frostline.api",
    "activations": "frostline.api",
    "backbone": "frostline.api",
    "lr_find": "frostline.api",
    "open_run": "frostline.api",
    "plan": "frostline.api",
    "train": "frostline.api",
}

__all__ = [
    "Backbone",
    "FrostlineError",
    "Preprocessing",
    "Run",
    "__version__",
    "activations",
    "backbone",
    "lr_find",
    "open_run",
    "plan",
    "train",
]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'frostline' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
