"""Writes the small files of `files/` with the frameworks that own the formats.

    pip install tensorflow-cpu onnx && python tests/networks/weights_files/make_files.py

The tests need none of these frameworks: they read what was written here, and compare it with
`expected.npz`, which the frameworks read back.
"""

import json
import os
import shutil
from pathlib import Path

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"

import keras
import numpy as np
import onnx
import tensorflow as tf
from onnx import TensorProto, helper, numpy_helper

FOLDER = Path(__file__).resolve().parent / "files"
PX, CLASSES = 8, 3


def arrays() -> dict[str, np.ndarray]:
    """The weights of one small network: a convolution, a depthwise one, and a dense layer."""
    rng = np.random.default_rng(0)
    shapes = {"conv/kernel": (3, 3, 3, 4), "conv/bias": (4,), "dw/kernel": (3, 3, 4, 1)}
    shapes |= {"fc/kernel": (4, CLASSES), "fc/bias": (CLASSES,)}
    return {name: rng.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}


def forward(x, w):
    """The network, in TensorFlow."""
    x = tf.nn.conv2d(x, w["conv/kernel"], 2, "SAME") + w["conv/bias"]
    x = tf.nn.relu6(tf.nn.depthwise_conv2d(x, w["dw/kernel"], (1, 1, 1, 1), "SAME"))
    return tf.matmul(tf.reduce_mean(x, (1, 2)), w["fc/kernel"]) + w["fc/bias"]


class Network(tf.Module):
    """The network with variables of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.w = {name: tf.Variable(value, name=name) for name, value in arrays().items()}

    @tf.function(input_signature=[tf.TensorSpec((None, PX, PX, 3), tf.float32, name="pixels")])
    def __call__(self, x):
        return {"scores": forward(x, self.w)}


def tensorflow_1() -> None:
    """A checkpoint with its meta graph, and a frozen graph."""
    v1 = tf.compat.v1
    with tf.Graph().as_default() as graph, v1.Session() as session:
        pixels = v1.placeholder(tf.float32, (None, PX, PX, 3), name="pixels")
        w = {}
        for name, value in arrays().items():
            w[name] = v1.get_variable(name, initializer=value, use_resource=False)
        tf.identity(forward(pixels, w), name="scores")
        session.run(v1.global_variables_initializer())
        (FOLDER / "tf1").mkdir()
        v1.train.Saver().save(session, str(FOLDER / "tf1" / "model"), write_state=True)
        frozen = v1.graph_util.convert_variables_to_constants(
            session, graph.as_graph_def(), ["scores"]
        )
    state = FOLDER / "tf1" / "checkpoint"
    state.write_text('model_checkpoint_path: "model"\nall_model_checkpoint_paths: "model"\n')
    (FOLDER / "frozen.pb").write_bytes(frozen.SerializeToString(deterministic=True))


def tensorflow_2() -> None:
    """A SavedModel, a checkpoint of objects, and TFLite in float32 and in 8 bits."""
    network = Network()
    tf.saved_model.save(network, str(FOLDER / "saved_model"))
    (FOLDER / "saved_model" / "fingerprint.pb").unlink(missing_ok=True)
    shutil.rmtree(FOLDER / "saved_model" / "assets", ignore_errors=True)
    tf.train.Checkpoint(network=network).write(str(FOLDER / "tf2" / "ckpt"))
    concrete = network.__call__.get_concrete_function()
    converter = tf.lite.TFLiteConverter.from_concrete_functions([concrete], network)
    (FOLDER / "float.tflite").write_bytes(converter.convert())
    converter = tf.lite.TFLiteConverter.from_concrete_functions([concrete], network)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    rng = np.random.default_rng(1)
    samples = [[rng.normal(size=(1, PX, PX, 3)).astype(np.float32)] for _ in range(8)]
    converter.representative_dataset = lambda: iter(samples)
    (FOLDER / "int8.tflite").write_bytes(converter.convert())


def keras_files() -> None:
    """A model in all three forms of Keras 3."""
    keras.utils.set_random_seed(0)
    layers = keras.layers
    model = keras.Sequential(
        [
            keras.Input((PX, PX, 3)),
            layers.Conv2D(4, 3, strides=2, padding="same", name="conv"),
            layers.BatchNormalization(name="bn"),
            layers.ReLU(6.0, name="relu"),
            layers.GlobalAveragePooling2D(name="pool"),
            layers.Dense(CLASSES, activation="softmax", name="fc"),
        ],
        name="small",
    )
    model.save(FOLDER / "model.keras")
    model.save(FOLDER / "model.h5")
    model.save_weights(FOLDER / "model.weights.h5")
    np.savez(FOLDER / "keras_expected.npz", **{w.path: w.numpy() for w in model.weights})


def onnx_files() -> None:
    """The network in ONNX: arrays raw, as lists of numbers, and in a file of their own."""
    w = arrays()
    kernels = {
        "conv/kernel": w["conv/kernel"].transpose(3, 2, 0, 1),
        "dw/kernel": w["dw/kernel"].transpose(2, 3, 0, 1),
    }
    w |= {name: np.ascontiguousarray(value) for name, value in kernels.items()}
    raw = [numpy_helper.from_array(w[name], name) for name in ("conv/kernel", "dw/kernel")]
    listed = [
        helper.make_tensor(name, TensorProto.FLOAT, w[name].shape, w[name].reshape(-1).tolist())
        for name in ("conv/bias", "fc/kernel", "fc/bias")
    ]
    nodes = [
        helper.make_node(
            "Conv",
            ["pixels", "conv/kernel", "conv/bias"],
            ["a"],
            strides=[2, 2],
            auto_pad="SAME_UPPER",
        ),
        helper.make_node("Conv", ["a", "dw/kernel"], ["b"], group=4, auto_pad="SAME_UPPER"),
        helper.make_node("Relu", ["b"], ["c"]),
        helper.make_node("GlobalAveragePool", ["c"], ["d"]),
        helper.make_node("Flatten", ["d"], ["e"]),
        helper.make_node("Gemm", ["e", "fc/kernel", "fc/bias"], ["scores"], alpha=1.0),
    ]
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        nodes,
        "small",
        [value("pixels", TensorProto.FLOAT, ["n", 3, PX, PX])],
        [value("scores", TensorProto.FLOAT, ["n", CLASSES])],
        [*raw, *listed],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    (FOLDER / "model.onnx").write_bytes(model.SerializeToString(deterministic=True))
    (FOLDER / "external").mkdir()
    onnx.save_model(
        model,
        FOLDER / "external" / "model.onnx",
        save_as_external_data=True,
        location="model.bin",
        size_threshold=0,
    )


def tfjs_files() -> None:
    """TensorFlow.js of both kinds, as its converter writes them; arrays in 16, 8 and 32 bits."""
    w = arrays()
    low, high = float(w["fc/kernel"].min()), float(w["fc/kernel"].max())
    scale = (high - low) / 255
    stored = np.round((w["fc/kernel"] - low) / scale).astype(np.uint8)
    entries = [
        {"name": "conv/kernel", "shape": list(w["conv/kernel"].shape), "dtype": "float32"},
        {
            "name": "fc/kernel",
            "shape": list(w["fc/kernel"].shape),
            "dtype": "float32",
            "quantization": {"dtype": "uint8", "scale": scale, "min": low},
        },
        {
            "name": "conv/bias",
            "shape": [4],
            "dtype": "float32",
            "quantization": {"dtype": "float16", "original_dtype": "float32"},
        },
    ]
    data = w["conv/kernel"].tobytes() + stored.tobytes() + w["conv/bias"].astype("<f2").tobytes()
    shards = {"group1-shard1of2.bin": data[:300], "group1-shard2of2.bin": data[300:]}
    manifest = [{"paths": list(shards), "weights": entries}]
    layers = keras.models.load_model(FOLDER / "model.keras").to_json()
    nodes = [
        {"name": "pixels", "op": "Placeholder", "attr": {"dtype": {"type": "DT_FLOAT"}}},
        {"name": "conv/kernel", "op": "Const", "attr": {"dtype": {"type": "DT_FLOAT"}}},
        {
            "name": "conv",
            "op": "Conv2D",
            "input": ["pixels", "conv/kernel"],
            "attr": {
                "strides": {"list": {"i": ["1", "2", "2", "1"]}},
                "padding": {"s": "U0FNRQ=="},
            },
        },
    ]
    nodes[0]["attr"]["shape"] = {"shape": {"dim": [{"size": str(s)} for s in (-1, PX, PX, 3)]}}
    kinds = {
        "layers": {"format": "layers-model", "modelTopology": {"model_config": json.loads(layers)}},
        "graph": {"format": "graph-model", "modelTopology": {"node": nodes, "library": {}}},
    }
    for kind, model in kinds.items():
        folder = FOLDER / f"tfjs_{kind}"
        folder.mkdir()
        whole = {**model, "generatedBy": "keras", "weightsManifest": manifest}
        (folder / "model.json").write_text(json.dumps(whole))
        for name, part in shards.items():
            (folder / name).write_bytes(part)


if __name__ == "__main__":
    shutil.rmtree(FOLDER, ignore_errors=True)
    FOLDER.mkdir()
    np.savez(FOLDER / "expected.npz", **arrays())
    tensorflow_1()
    tensorflow_2()
    keras_files()
    onnx_files()
    tfjs_files()
