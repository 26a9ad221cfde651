"""Frostline: transfer learning on images that never computes a frozen layer twice.

    import frostline

    run = frostline.train("photos/")
    run.metrics["val"]["accuracy"]
    run.predict("new.jpg")

    network = frostline.backbone("timm:resnet50", pretrained=False)
    prefix, suffix = network.cut("layer3")

Nothing heavy is imported until a name is used.
"""

import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from frostline.api import activations, backbone, lr_find, open_run, plan, train
    from frostline.base.errors import FrostlineError
    from frostline.frost.sizes import output_size
    from frostline.images.preprocessing import Preprocessing
    from frostline.interactive.finished_run import Run
    from frostline.model.backbone import Backbone

__version__ = "0.1.0"

_HOMES = {
    "Backbone": "frostline.model.backbone",
    "FrostlineError": "frostline.base.errors",
    "Preprocessing": "frostline.images.preprocessing",
    "Run": "frostline.interactive.finished_run",
    "activations": "frostline.api",
    "backbone": "frostline.api",
    "lr_find": "frostline.api",
    "open_run": "frostline.api",
    "output_size": "frostline.frost.sizes",
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
    "output_size",
    "plan",
    "train",
]


class _Package(ModuleType):
    """Keeps public names: importing the folder `activations` would replace the function."""

    def __setattr__(self, name: str, value: Any) -> None:
        if name not in _HOMES or not isinstance(value, ModuleType):
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        import_module("frostline.interactive.notebook").keep_tqdm_quiet()
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'frostline' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
