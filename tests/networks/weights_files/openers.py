"""What is done with a weights file from a stranger: looking into it, opening it as a network."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np

from frostline.networks import catalog
from frostline.networks.weights_files import formats, inspection, look

# Files that hold a network, by how they are named.
NETWORKS = {
    "keras_full_h5": "keras:{}?mode=tf",
    "keras_archive": "keras:{}?mode=tf",
    # Its weights are those of a part alone.
    "tfjs_layers": "keras:{}?mode=tf&pretrained=false",
    "onnx": "onnx:{}?mode=tf",
    "onnx_external": "onnx:{}?mode=tf",
    "tf1_meta": "tf:{}?mode=tf",
    "saved_model": "tf:{}?mode=tf",
    "frozen": "tf:{}?mode=tf",
    "tfjs_graph": "tf:{}?mode=tf",
    "tflite": "tflite:{}?mode=tf",
    "tflite_int8": "tflite:{}?mode=tf",
}


def inspect(path: Path) -> None:
    """Does what `frostline weights inspect` does, and reads every tensor besides."""
    json.dumps(inspection.to_json(look.inspect(path)), allow_nan=False)
    for tensor in formats.open_file(path).tensors.values():
        if tensor.dtype not in ("string", "resource", "variant"):
            np.asarray(tensor.values()).shape  # noqa: B018


def opener(kind: str) -> Callable[[Path], None]:
    """Returns what opens a file of a kind as `summary` does, up to finding its lines.

    Set `guarded.check` to `look.inspect` before, or each file is read in one more process.
    """

    def open_network(path: Path) -> None:
        place = path / "model.json" if kind.startswith("tfjs_l") and path.is_dir() else path
        catalog.trace(catalog.find(NETWORKS[kind].format(place)))

    return open_network
