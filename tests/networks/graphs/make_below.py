"""Writes small networks with operations that are not translated, and what their runtimes give.

    pip install tensorflow-cpu onnx onnxruntime && python tests/networks/graphs/make_below.py

Of each, `files/below/NAME.npz` holds `images` [n, 3, 16, 16] and the network's `scores`.
"""

import os
from pathlib import Path

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"

import numpy as np
import onnx
import onnxruntime
import tensorflow as tf
from onnx import TensorProto, helper, numpy_helper

FOLDER = Path(__file__).resolve().parent / "files" / "below"
PX, V1 = 16, tf.compat.v1
RANDOM = np.random.default_rng(7)
IMAGES = RANDOM.normal(size=(3, 3, PX, PX)).astype(np.float32)


def noise(*shape: int) -> np.ndarray:
    return (RANDOM.normal(size=shape) * 0.4).astype(np.float32)


def node(op: str, inputs: str, output: str, **settings):
    return helper.make_node(op, inputs.split(), [output], name=output, **settings)


STEM = [
    node("Conv", "images stem_kernel stem_bias", "stem", strides=[2, 2], pads=[1, 1, 1, 1]),
    node("Relu", "stem", "stem_relu"),
]
# No operator of Frostline's.
MIXED = [*STEM, node("CumSum", "stem_relu axis", "mixed")]
HEAD = [
    node("Conv", "{} top_kernel", "top", pads=[1, 1, 1, 1]),
    node("Relu", "top", "top_relu"),
    node("GlobalAveragePool", "top_relu", "pooled_map"),
    node("Flatten", "pooled_map", "features"),
    node("Gemm", "features fc_kernel fc_bias", "scores"),
]


def head(of: str) -> list:
    found = [onnx.NodeProto.FromString(one.SerializeToString()) for one in HEAD]
    found[0].input[0] = of
    return found


# The output, the nodes, and how many pictures the file is for.
ONNX = {
    "one": ("scores", [*MIXED, *head("mixed")], "n"),
    # What lies above reads two tensors of what lies below.
    "two": (
        "scores",
        [
            *MIXED,
            node("CumSum", "mixed last_axis", "running"),
            node("Sigmoid", "mixed", "gate"),
            node("Mul", "running gate", "gated"),
            *head("gated"),
        ],
        "n",
    ),
    # For one picture alone, and nothing above what is not known.
    "last": (
        "scores",
        [
            *STEM,
            node("GlobalAveragePool", "stem_relu", "pooled_map"),
            node("Reshape", "pooled_map one_row", "row"),
            node("Gemm", "row fc_kernel", "steps"),
            node("CumSum", "steps axis", "scores"),
        ],
        1,
    ),
}
ARRAYS = {
    "stem_kernel": noise(8, 3, 3, 3),
    "stem_bias": noise(8),
    "top_kernel": noise(8, 8, 3, 3),
    "fc_kernel": noise(8, 5),
    "fc_bias": noise(5),
    "axis": np.array(1, np.int64),
    "last_axis": np.array(3, np.int64),
    "one_row": np.array([1, 8], np.int64),
}


def of_onnx(name: str) -> None:
    output, nodes, batch = ONNX[name]
    read = {one for node in nodes for one in node.input}
    graph = helper.make_graph(
        nodes,
        name,
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, [batch, 3, PX, PX])],
        [helper.make_tensor_value_info(output, TensorProto.FLOAT, [batch, 5])],
        [numpy_helper.from_array(value, key) for key, value in ARRAYS.items() if key in read],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.checker.check_model(model)
    session = onnxruntime.InferenceSession(model.SerializeToString())
    parts = [IMAGES] if batch == "n" else [IMAGES[i : i + 1] for i in range(len(IMAGES))]
    scores = np.concatenate([session.run([output], {"images": part})[0] for part in parts])
    (FOLDER / f"{name}.onnx").write_bytes(model.SerializeToString())
    np.savez_compressed(FOLDER / f"{name}_onnx.npz", images=IMAGES, scores=scores)


def endless() -> None:
    """A loop of 2 ** 62 rounds."""
    value = helper.make_tensor_value_info
    body = helper.make_graph(
        [node("Identity", "go", "more"), node("Sin", "v", "w")],
        "body",
        [
            value("i", TensorProto.INT64, []),
            value("go", TensorProto.BOOL, []),
            value("v", TensorProto.FLOAT, None),
        ],
        [value("more", TensorProto.BOOL, []), value("w", TensorProto.FLOAT, None)],
    )
    loop = helper.make_node("Loop", ["rounds", "", "images"], ["scores"], body=body)
    image = value("images", TensorProto.FLOAT, ["n", 3, PX, PX])
    graph = helper.make_graph(
        [loop],
        "endless",
        [image],
        [value("scores", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(np.array(1 << 62), "rounds")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    (FOLDER / "endless.onnx").write_bytes(model.SerializeToString())


def layers(x, stem, top, fc):
    """[n, h, w, 3] to [n, 5], with an operation that is not translated between convolutions."""
    x = tf.nn.relu(tf.nn.conv2d(x, stem, 2, "SAME"), name="stem")
    x = tf.math.cumsum(x, axis=3, name="running")
    x = tf.nn.relu(tf.nn.conv2d(x, top, 1, "SAME"), name="top")
    return tf.matmul(tf.reduce_mean(x, (1, 2)), fc, name="scores")


KERNELS = (noise(3, 3, 3, 8), noise(3, 3, 8, 8), noise(8, 5))
LAST = IMAGES.transpose(0, 2, 3, 1)


def frozen() -> None:
    with tf.Graph().as_default() as graph, V1.Session() as session:
        x = V1.placeholder(tf.float32, (None, PX, PX, 3), name="images")
        scores = session.run(layers(x, *KERNELS), {x: LAST})
        (FOLDER / "one.pb").write_bytes(graph.as_graph_def().SerializeToString(True))
    np.savez_compressed(FOLDER / "one_pb.npz", images=IMAGES, scores=scores)


class Network(tf.Module):
    def __init__(self) -> None:
        names = ("stem", "top", "fc")
        self.held = [tf.Variable(k, name=n) for k, n in zip(KERNELS, names, strict=True)]

    @tf.function(input_signature=[tf.TensorSpec((None, PX, PX, 3), tf.float32, "images")])
    def scores(self, images):
        return layers(images, *self.held)


def of_module() -> None:
    network = Network()
    scores = network.scores(LAST).numpy()
    tf.saved_model.save(network, FOLDER / "saved_model", signatures=network.scores)
    (FOLDER / "saved_model" / "fingerprint.pb").unlink()
    concrete = network.scores.get_concrete_function()
    converter = tf.lite.TFLiteConverter.from_concrete_functions([concrete], network)
    (FOLDER / "one.tflite").write_bytes(converter.convert())
    for kind in ("saved_model", "tflite"):
        np.savez_compressed(FOLDER / f"one_{kind}.npz", images=IMAGES, scores=scores)


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for name in ONNX:
        of_onnx(name)
    endless()
    frozen()
    of_module()
