"""What a weights file is, in one sentence, and how to open it."""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from frostline.networks.weights_files import families, keras_config
from frostline.networks.weights_files.records import Graph, Port, WeightsFile

_WORDS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
_OUTPUT = re.compile(
    r"(?:^|[./])(?:fc|classifier|head|predictions|logits|probs|output|linear|dense(?:_\d+)?|"
    r"classifier\.\d|head\.fc)(?:[./](?:bias(?::0)?|\w+_b(?:_\d)?:0))$",
    re.IGNORECASE,
)
_YAMNET = ((96, 64), 521)
_TIMM_CONFIG = "config.json"
_MOST_CONFIG_BYTES = 4 << 20

# By format: what follows "open it with", where {} is the path.
_OPENERS = {
    "keras": "keras:{}",
    "keras_h5": "keras:{}",
    "onnx": "onnx:{}",
    "tflite": "tflite:{}",
    "saved_model": "tf:{}",
    "meta_graph": "tf:{}",
    "graph_def": "tf:{}",
}
_WEIGHTS = "--weights {}"


def describe(found: WeightsFile) -> str:
    """Returns one sentence: format and age, network, size of its input, classes, how to open it.

    What is not known is left out.
    """
    parts = [_kind(found), _network(found)]
    classes = classes_of(found)
    if classes is not None:
        parts.append(f"{_number(classes)} {'class' if classes == 1 else 'classes'}")
    told = ", ".join(part for part in parts if part)
    way = opens_with(found)
    return f"{told}; open it with {way}" if way else told


def opens_with(found: WeightsFile) -> str:
    """Returns the words of the command line that open a file as a network, or take its weights.

    Empty where neither makes sense.
    """
    if found.format == "npy" and set(found.tensors) == {"array"}:
        return ""
    if _timm(found) and found.path.is_file():
        return f"dir:{found.path.parent}"
    if _timm(found):
        return f"dir:{found.path}"
    if found.format == "keras_h5" and "model_config" not in found.metadata:
        return _WEIGHTS.format(found.path)
    if found.format == "tfjs":
        layers = found.metadata.get("kind") == "layers-model"
        return f"{'keras' if layers else 'tf'}:{found.path}"
    return _OPENERS.get(found.format, _WEIGHTS).format(found.path)


def classes_of(found: WeightsFile) -> int | None:
    """Returns how many classes a file's network tells apart, or None where that is not known."""
    timm = _timm(found).get("num_classes")
    if type(timm) is int and timm > 0:
        return timm
    config = found.metadata.get("model_config")
    if config is not None:
        return _last_units(config)
    if found.graph and found.graph.outputs:
        shapes = [port.shape for port in found.graph.outputs if port.shape]
        if len(found.graph.outputs) == 1 and shapes and len(shapes[0]) == 2:
            return shapes[0][1]
    ends = [t for t in found.tensors.values() if len(t.shape) == 1 and _OUTPUT.search(t.name)]
    return ends[-1].shape[0] if ends else None


def _kind(found: WeightsFile) -> str:
    said = found.metadata
    if found.format in ("keras", "keras_h5"):
        version = str(said.get("keras_version") or "")
        age = " ".join(("Keras", ".".join(version.split(".")[:2]))).strip()
        if not version and found.format == "keras_h5":
            age = _age_without_version(found)
        return f"{age} {'full model' if said.get('model_config') else 'weights'}"
    if found.format == "torch":
        old = "before" in str(said.get("container"))
        kind = "checkpoint" if len(said) > 1 else "weights"
        return f"PyTorch {kind}{' from before the zip format' if old else ''}"
    if found.format == "safetensors":
        timm = _timm(found).get("architecture")
        return f"timm model folder ({timm})" if timm else "safetensors weights"
    if found.format == "onnx":
        opset = said.get("opset", {}).get("ai.onnx")
        maker = f", by {said['producer']}" if said.get("producer") else ""
        return f"ONNX model (opset {opset}{maker})"
    if found.format == "tfjs":
        return f"TensorFlow.js {said.get('kind')}"
    if found.format == "tflite":
        return f"TFLite model{_precision(found)}"
    version = str(said.get("tensorflow_version") or "")
    titles = {
        "saved_model": f"TensorFlow {version} SavedModel",
        "meta_graph": f"TensorFlow {version} meta graph with its checkpoint",
        "graph_def": "frozen TensorFlow graph",
        "tf_checkpoint": f"TensorFlow {2 if said.get('objects') else 1} checkpoint",
        "npy": "NumPy array" if "array" in found.tensors else "NumPy file with a pickle of arrays",
        "npz": "NumPy archive",
        "pickle": "pickle of arrays",
    }
    return " ".join(titles[found.format].split())


def _age_without_version(found: WeightsFile) -> str:
    names = list(found.tensors)
    if any(name.startswith("layer_") and "/param_" in name for name in names):
        return "Keras 1"
    if any("running_std" in name for name in names):
        return "Keras 1"
    return "Keras 3" if any("/vars/" in name for name in names) else "Keras"


def _precision(found: WeightsFile) -> str:
    kinds = [t for t in found.tensors.values() if t.quantisation is not None]
    if not kinds:
        return ""
    per_channel = any(t.quantisation and t.quantisation.axis is not None for t in kinds)
    bits = "8-bit" if any(t.dtype in ("int8", "uint8") for t in kinds) else kinds[0].dtype
    return f", {bits} {'per channel' if per_channel else 'per tensor'}"


def _network(found: WeightsFile) -> str:
    names = list(found.tensors)
    if found.graph:
        names += [node.name for node in found.graph.nodes]
    config = found.metadata.get("model_config")
    names += [keras_config.name_of(layer) for layer in keras_config.walk(config)]
    family = families.name_of(names, [(t.name, t.shape) for t in found.tensors.values()])
    side = _input(found)
    if (side, classes_of(found)) == _YAMNET:
        family = "YAMNet"
    if not side:
        return family
    square = len(side) == 2 and side[0] == side[1]
    shown = f"{side[0]} px" if square else " × ".join(map(str, side))
    return f"{family} at {shown}" if family else f"input of {shown}"


def _input(found: WeightsFile) -> tuple[int, ...]:
    """Returns the height and width of its input, without batch and channels."""
    timm = _timm(found).get("pretrained_cfg")
    if isinstance(timm, Mapping) and isinstance(timm.get("input_size"), list):
        return tuple(int(one) for one in timm["input_size"][1:3])
    config = found.metadata.get("model_config")
    for layer in keras_config.walk(config):
        settings = layer.get("config")
        shape = keras_config.input_shape(settings) if isinstance(settings, Mapping) else None
        if shape is not None:
            return _sides(shape)
    ports = _images(found.graph) if found.graph else []
    return _sides(ports[0].shape or ()) if ports else ()


def _images(graph: Graph) -> list[Port]:
    return [port for port in graph.inputs if port.shape and len(port.shape) >= 3]


def _sides(shape: Sequence[int | None]) -> tuple[int, ...]:
    """Takes batch and channels off; channels are 1 to 4, last or first."""
    inner = list(shape[1:])
    if len(inner) == 3 and inner[-1] in (1, 2, 3, 4):
        inner = inner[:-1]
    elif len(inner) == 3 and inner[0] in (1, 2, 3, 4):
        inner = inner[1:]
    elif len(inner) == 2 and inner[-1] == 1:
        inner = inner[:-1]
    return tuple(inner) if all(inner) else ()  # type: ignore[arg-type]


def _last_units(config: Any) -> int | None:
    """Returns the units of a Keras model's last dense layer, where that ends it."""
    last = None
    for layer in keras_config.walk(config):
        settings = layer.get("config")
        if layer.get("class_name") == "Dense" and isinstance(settings, Mapping):
            last = settings.get("units", settings.get("output_dim"))
    return last if type(last) is int else None


def _timm(found: WeightsFile) -> Mapping[str, Any]:
    """Returns the description that lies beside a timm model's weights; empty where none does."""
    if found.format != "safetensors":
        return {}
    file = found.files[0].parent / _TIMM_CONFIG
    if not file.is_file() or file.stat().st_size > _MOST_CONFIG_BYTES:
        return {}
    try:
        said = json.loads(file.read_bytes())
    except ValueError:
        return {}
    return said if isinstance(said, dict) and "architecture" in said else {}


def _number(count: int) -> str:
    return _WORDS[count] if count < len(_WORDS) else f"{count:,}"
