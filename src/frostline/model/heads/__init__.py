"""A head's specification, as text or as a list of layers, and the layers it stands for."""

from frostline.model.heads.build import build, channels_axis, features, initialise, last_layer
from frostline.recipe import INITS
from frostline.recipe.head import KINDS, HeadSpec, describe, from_facts, parse, to_facts
from frostline.recipe.head_layers import LAYERS, LayerSpec, layers_from

__all__ = [
    "INITS",
    "KINDS",
    "LAYERS",
    "HeadSpec",
    "LayerSpec",
    "build",
    "channels_axis",
    "describe",
    "features",
    "from_facts",
    "initialise",
    "last_layer",
    "layers_from",
    "parse",
    "to_facts",
]
