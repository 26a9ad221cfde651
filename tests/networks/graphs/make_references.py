"""Writes `files/references.npz`: what TensorFlow makes of made-up inputs with real networks.

    pip install tensorflow-cpu
    PYTHONPATH=tests python tests/networks/graphs/make_references.py SHARED

SHARED is the folder with `weights/files`. The tests make the same inputs (`tests/graph_inputs.py`)
and need no TensorFlow.
"""

import os
import sys
from pathlib import Path

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"

import numpy as np
import tensorflow as tf

import graph_inputs as inputs

v1 = tf.compat.v1


def lite(file: Path, given: np.ndarray) -> dict[str, np.ndarray]:
    """Outputs of a TFLite file by name, dequantised."""
    interpreter = tf.lite.Interpreter(model_path=str(file))
    interpreter.resize_tensor_input(interpreter.get_input_details()[0]["index"], given.shape)
    interpreter.allocate_tensors()
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], given)
    interpreter.invoke()
    found = {}
    for output in interpreter.get_output_details():
        value, (scale, zero) = interpreter.get_tensor(output["index"]), output["quantization"]
        found[output["name"]] = (value.astype(np.float32) - zero) * scale if scale else value
    return found


def music_vgg(folder: Path) -> dict[str, np.ndarray]:
    with tf.Graph().as_default(), v1.Session() as session:
        meta = v1.MetaGraphDef()
        meta.ParseFromString((folder / "model.meta").read_bytes())
        for node in meta.graph_def.node:
            # TensorFlow 2 refuses the shapes that TensorFlow 1.11 wrote of its gradients.
            node.attr.pop("_output_shapes", None)
        v1.train.import_meta_graph(meta).restore(session, str(folder / "model"))
        given = {"model/Placeholder:0": inputs.spectra(), "model/Placeholder_2:0": False}
        wanted = {"tags": "model/Sigmoid:0", "relu_3": "model/3CNN/Relu:0"}
        found = session.run(wanted, given)
    return {"music_tags": found["tags"], "music_relu_3": found["relu_3"].mean((1, 2))}


def basic_pitch(folder: Path) -> dict[str, np.ndarray]:
    with tf.Graph().as_default(), v1.Session() as session:
        model = v1.saved_model.loader.load(session, ["serve"], str(folder))
        signature = model.signature_def["serving_default"]
        (given,) = signature.inputs.values()
        wanted = {name: one.name for name, one in signature.outputs.items()}
        found = session.run(wanted, {given.name: inputs.sound()})
    return {f"pitch_{name}": value[:, ::9, ::5] for name, value in found.items()}


if __name__ == "__main__":
    files = Path(sys.argv[1]) / "weights" / "files"
    (scores,) = lite(files / "yamnet_spectra_in.tflite", inputs.yamnet(files)).values()
    mobile = files / "mobilenet_v1_1.0_224_quant_embedding_extractor.tflite"
    (features,) = lite(mobile, inputs.picture()).values()
    references = {
        "yamnet_scores": scores,
        "mobilenet_features": features,
        **music_vgg(files / "music_vgg_tf1"),
        **basic_pitch(files / "basic_pitch" / "nmp"),
    }
    np.savez_compressed(Path(__file__).parent / "files" / "references.npz", **references)
