"""Networks of transformers without a classifier: backbones, and the image towers of pairs.

A folder is taken for one where its configuration names no image classifier (`Dinov2Model`,
`DINOv3ViTBackbone`, `SiglipVisionModel`), or has a `vision_config` (CLIP, SigLIP): then the image
tower alone is built, and nothing of the text. What such a network gives is its own pooled output;
without one, the class token of a sequence, or the mean of a map.
"""

from typing import Any

import torch
from torch import Tensor, nn

from frostline.base.errors import BackboneError

try:
    import transformers as transformers
except ImportError as error:
    raise BackboneError(
        "transformers: is not installed. Run: pip install 'frostline[transformers]'"
    ) from error

CLASSIFIER = "features"
_ENDING = "ForImageClassification"


class ImageFeatures(nn.Module):
    """A network of transformers from images to features; `features` is where a classifier goes."""

    def __init__(self, model: nn.Module, input_shape: tuple[int, int, int]) -> None:
        """Takes over the parts of `model`, under their names."""
        super().__init__()
        # Not as a part: its own parts are parts of this network.
        self.__dict__["inner"] = model
        for name, part in model.named_children():
            self.add_module(name, part)
        for name, tensor in model.named_parameters(recurse=False):
            self.register_parameter(name, tensor)
        self.features = nn.Identity()
        was_training = model.training
        with torch.no_grad():
            self.width = int(self.eval()(torch.zeros(1, *input_shape)).shape[1])
        self.train(was_training)

    def forward(self, images: Tensor) -> Tensor:
        """Returns features [n, c] of images [n, 3, h, w], or what was put behind them."""
        given: Tensor = self.features(pooled(self.__dict__["inner"].forward(images)))
        return given


def pooled(output: Any) -> Tensor:
    """Returns features [n, c] of what a network of transformers gives."""
    own = getattr(output, "pooler_output", None)
    if own is not None:
        features: Tensor = own.flatten(1)
        return features
    last: Tensor = output.last_hidden_state
    return last.mean((2, 3)) if last.dim() == 4 else last[:, 0]


def is_classifier(config: Any) -> bool:
    """Tells whether a configuration is that of an image classifier."""
    named = [str(name) for name in getattr(config, "architectures", None) or ()]
    has_one = type(config) in transformers.MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING
    return has_one and (not named or any(name.endswith(_ENDING) for name in named))


def tower_of(config: Any) -> Any:
    """Returns the configuration of the image tower of a pair; any other one as it is."""
    return getattr(config, "vision_config", config)


def build(config: Any) -> nn.Module:
    """Builds the network of a configuration with random weights."""
    model: nn.Module = transformers.AutoModel.from_config(config)
    return model


def without_pooler(model: nn.Module, missing: set[str]) -> nn.Module | None:
    """Returns the network without its pooling layer where its weights are all that is missing."""
    if not missing or not all(name.startswith("pooler.") for name in missing):
        return None
    model.pooler = None  # type: ignore[assignment]
    return model
