"""Writes the small graphs of `files/` with TensorFlow and ONNX, and what these make of noise.

    pip install tensorflow-cpu onnx onnxruntime && python tests/networks/graphs/make_files.py

The tests need neither: they read what was written here. `operations.*` compute one operation, or
a few, for each output.
"""

import json
import os
from collections.abc import Callable
from pathlib import Path

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"

import numpy as np
import onnx
import onnxruntime
import tensorflow as tf
from google.protobuf import json_format
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

FOLDER = Path(__file__).resolve().parent / "files"
v1, nn = tf.compat.v1, tf.nn
H, W, C = 8, 6, 4


def noise(*shape: int) -> np.ndarray:
    seed = sum(ord(letter) for letter in str(shape))
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def rows(x):
    """[n, h·w, c]"""
    return tf.reshape(x, (tf.shape(x)[0], H * W, C))


def flat(x):
    """[n, h·w·c]"""
    return tf.reshape(x, (-1, H * W * C))


def in_batch(x, convolve):
    """A convolution of 3 × 3 with gaps of 2, as TensorFlow 1 writes it."""
    y = tf.space_to_batch(x, (2, 2), ((2, 2), (2, 4)))
    return tf.batch_to_space(convolve(y), (2, 2), ((0, 0), (0, 2)))


KERNEL, DEEP, STEPS = noise(3, 3, C, 5), noise(3, 2, C, 2), (1, 2, 2, 1)
OPERATIONS: dict[str, Callable] = {
    "conv_same_2": lambda x: nn.conv2d(x, KERNEL, 2, "SAME"),
    "conv_valid": lambda x: nn.conv2d(x, noise(2, 3, C, 3), (1, 2, 1, 1), "VALID"),
    "conv_dilated": lambda x: nn.conv2d(x, KERNEL, 1, "SAME", dilations=2),
    "conv_padded": lambda x: nn.conv2d(x, KERNEL, 2, [[0, 0], [1, 0], [0, 2], [0, 0]]),
    "conv_bias_relu": lambda x: nn.relu6(nn.bias_add(nn.conv2d(x, KERNEL, 1, "SAME"), noise(5))),
    "conv_add": lambda x: nn.conv2d(x, KERNEL, 1, "SAME") + noise(5),
    "conv_add_map": lambda x: nn.conv2d(x, KERNEL, 1, "SAME") + noise(H, W, 5),
    "depthwise": lambda x: nn.depthwise_conv2d(x, DEEP, STEPS, "SAME"),
    "depthwise_1": lambda x: nn.depthwise_conv2d(x, DEEP[..., :1], (1, 1, 1, 1), "VALID"),
    "grouped": lambda x: nn.conv2d(x, noise(3, 3, 2, 6), 1, "SAME"),
    "max_same": lambda x: nn.max_pool2d(x, 3, 2, "SAME"),
    "max_valid": lambda x: nn.max_pool2d(x, (2, 3), (2, 1), "VALID"),
    "mean_same": lambda x: nn.avg_pool2d(x, 3, 2, "SAME"),
    "mean_valid": lambda x: nn.avg_pool2d(x, 2, 2, "VALID"),
    "mean_whole": lambda x: nn.avg_pool2d(x, (H, W), 1, "VALID"),
    "elu": nn.elu,
    "relu": nn.relu,
    "leaky": lambda x: nn.leaky_relu(x, 0.3),
    "sigmoid": nn.sigmoid,
    "tanh": nn.tanh,
    "softmax": nn.softmax,
    "log_softmax": nn.log_softmax,
    "softplus": nn.softplus,
    "softsign": nn.softsign,
    "selu": nn.selu,
    "gelu": lambda x: nn.gelu(x, approximate=True),
    "functions": lambda x: tf.sqrt(tf.exp(-tf.abs(x))) + tf.math.log(tf.square(x) + 1.0),
    "more_functions": lambda x: tf.floor(x) - tf.math.ceil(x) + tf.math.rsqrt(x * x + 1.0),
    "reciprocal": lambda x: tf.math.reciprocal(x + 10.0),
    "numbers": lambda x: (1.5 - x) * 3.0 / 4.0 - 2.0 + 0.5 / (x + 9.0),
    "by_channel": lambda x: (noise(C) - x) * noise(C) / (2.0 + noise(C) ** 2),
    "by_place": lambda x: x * noise(H, W, 1) + noise(W, C),
    "between": lambda x: x * x - tf.maximum(x, x[:, ::-1]) + tf.minimum(x, 0.25),
    "spread": lambda x: x * tf.reduce_mean(x, (1, 2), keepdims=True) + tf.reduce_max(x, 3, True),
    "spread_rank": lambda x: x * x[:, 0, 0][:, tf.newaxis, tf.newaxis] + x[:, :1, :1],
    "power": lambda x: tf.pow(tf.abs(x), 1.7) + tf.math.squared_difference(x, 2.0),
    "no_nan": lambda x: tf.math.divide_no_nan(x, nn.relu(x - 0.5)),
    "choice": lambda x: tf.where(x > 0.2, x, tf.zeros_like(x) + 3.0 * x),
    "mean": lambda x: tf.reduce_mean(x, (1, 2)),
    "mean_kept": lambda x: tf.reduce_mean(x, (1, 2), keepdims=True),
    "sum_rows": lambda x: tf.reduce_sum(x, 1),
    "max_channels": lambda x: tf.reduce_max(x, -1, keepdims=True),
    "min_all": lambda x: tf.reduce_min(x, (1, 2, 3)),
    "joined": lambda x: tf.concat([x, x[:, :, :, :2], nn.relu(x)], 3),
    "joined_rows": lambda x: tf.concat([x, -x], 1),
    "stacked": lambda x: tf.reduce_sum(tf.stack([rows(x), rows(x) * 2.0], 2), 2),
    "apart": lambda x: tf.add_n([a * (i + 1.0) for i, a in enumerate(tf.split(x, 2, 3))]),
    "apart_uneven": lambda x: tf.split(x, (1, 5), 2)[1],
    "unstacked": lambda x: tf.unstack(x, axis=3)[2],
    "slice": lambda x: tf.slice(x, (0, 1, 2, 0), (-1, 3, -1, 2)),
    "strides": lambda x: x[:, 6:1:-2, 1::2],
    "new_axis": lambda x: tf.squeeze(x[:, 2, ..., tf.newaxis, 1:], 2),
    "gather": lambda x: tf.gather(x, (3, 0, 0), axis=3),
    "padded": lambda x: tf.pad(x, ((0, 0), (1, 2), (0, 3), (0, 0))),
    "padded_channels": lambda x: tf.pad(x, ((0, 0), (0, 0), (0, 0), (1, 1)), constant_values=2.0),
    "mirrored": lambda x: tf.pad(x, ((0, 0), (2, 1), (0, 3), (0, 0)), "REFLECT"),
    "mirrored_whole": lambda x: tf.pad(x, ((0, 0), (2, 1), (0, 3), (0, 0)), "SYMMETRIC"),
    "flat": flat,
    "rows": rows,
    "dense": lambda x: tf.matmul(flat(x), noise(H * W * C, 3)) + noise(3),
    "dense_turned": lambda x: tf.matmul(flat(x), noise(3, H * W * C), transpose_b=True),
    "dense_rows": lambda x: tf.matmul(rows(x), noise(1, C, 3)[0]),
    "attention": lambda x: tf.matmul(rows(x), rows(x), transpose_b=True),
    "turned": lambda x: tf.transpose(x, (0, 2, 3, 1)),
    "turned_twice": lambda x: tf.transpose(tf.transpose(x, (0, 3, 1, 2)), (0, 2, 3, 1)) + 1.0,
    "turned_rows": lambda x: tf.transpose(rows(x), (0, 2, 1)),
    "by_batch": lambda x: tf.transpose(tf.transpose(rows(x), (1, 0, 2)) * 2.0, (1, 0, 2)),
    "across": lambda x: tf.reshape(tf.reshape(x, (-1, C)) * noise(C), tf.shape(x)),
    "truths": lambda x: tf.where((x < 1.0) & ((x >= -1.0) | ~(x <= 0.3)), x, -2.0 * x),
    "equals": lambda x: tf.where(tf.equal(tf.floor(x), 0.0), x, 3.0 * x),
    "unequals": lambda x: tf.where(tf.not_equal(tf.floor(x), 0.0), x, 3.0 * x),
    "whole_times": lambda x: tf.math.floordiv(x, 0.3),
    "ones": lambda x: x * 2.0 + tf.ones_like(x),
    "deeper": lambda x: tf.squeeze(tf.expand_dims(x, 1) * 2.0, 1),
    "twice_as_large": lambda x: tf.image.resize(x, (2 * H, 3 * W), "nearest"),
    "smoothly": lambda x: tf.image.resize(x, (2 * H, 2 * W), "bilinear"),
    "smoothly_else": lambda x: tf.image.resize(x, (5, 9), "bilinear"),
    "nearest_else": lambda x: tf.image.resize(x, (5, 9), "nearest"),
    "corners": lambda x: v1.image.resize_bilinear(x, (5, 9), align_corners=True),
    "corners_nearest": lambda x: v1.image.resize_nearest_neighbor(x, (5, 9), align_corners=True),
    "as_before": lambda x: v1.image.resize_bilinear(x, (2 * H, 9)),
    "shallower": lambda x: tf.nn.depth_to_space(x, 2),
    "deeper_maps": lambda x: tf.nn.space_to_depth(x, 2),
    "repeated": lambda x: tf.tile(x, (1, 2, 1, 3)),
    "waves": lambda x: tf.sin(x) + 2.0 * tf.cos(x),
    "rounded": lambda x: tf.round(x * 3.0) + tf.sign(x),
    "unit_length": lambda x: tf.nn.l2_normalize(x, -1, 1e-12),
    "gaps": lambda x: in_batch(x, lambda y: nn.conv2d(y, KERNEL, 1, "VALID")),
    "gaps_biased": lambda x: in_batch(
        x, lambda y: nn.relu(nn.bias_add(nn.conv2d(y, KERNEL, 1, "VALID"), noise(5)))
    ),
    "gaps_depthwise": lambda x: in_batch(
        x, lambda y: nn.depthwise_conv2d(y, noise(3, 3, C, 1), (1, 1, 1, 1), "VALID")
    ),
}
# TensorFlow alone; TFLite has no such operation, or writes it as something else that is not known.
NO_LITE = (
    "grouped",
    "conv_padded",
    "by_batch",
    "twice_as_large",
    "smoothly",
    "softplus",
    "softsign",
)


def outputs(x) -> dict:
    found = {name: operation(x) for name, operation in OPERATIONS.items()}
    mean, variance = noise(C), noise(C) ** 2 + 0.5
    found["norm"] = v1.nn.fused_batch_norm(
        x, noise(C), noise(C) * 2, mean, variance, 0.01, is_training=False
    )[0]
    raw = tf.raw_ops
    found["ranged"] = x * tf.cast(tf.range(C), tf.float32) + tf.fill((1, C), 2.0)
    found["tiled"] = x + tf.tile(noise(1, C), (W, 1)) * tf.cast(raw.Rank(input=x), tf.float32)
    found["sized"] = tf.reshape(x, (-1, tf.reduce_prod(tf.shape(x)[1:])))
    found["kept"] = raw.PreventGradient(input=tf.stop_gradient(raw.Snapshot(input=x))) + 1.0
    found["select"] = raw.Select(condition=x > 0.0, x=x, y=raw.OnesLike(x=x))
    found["default"] = v1.placeholder_with_default(3.0, ()) * raw.Inv(x=x + 9.0)
    found["old"] = raw.Div(x=raw.Add(x=x, y=x), y=tf.square(x) + 9.0)
    found["bounded"] = tf.quantization.fake_quant_with_min_max_args(x, -0.5, 0.4, 16)
    found["bounded_by"] = raw.FakeQuantWithMinMaxVars(inputs=x, min=-0.1, max=0.6, num_bits=16)
    found["bounded_each"] = raw.FakeQuantWithMinMaxVarsPerChannel(
        inputs=x, min=[-0.1, -0.2, -0.3, 0.0], max=[0.1, 0.2, 0.3, 0.4], num_bits=16
    )
    found["of_eight_bits"] = x * raw.FakeQuantWithMinMaxVars(inputs=noise(C), min=-0.4, max=0.9)
    found["clipped"] = raw.ClipByValue(t=x, clip_value_min=-0.3, clip_value_max=0.7)
    found["erf"] = tf.math.erf(x) + tf.math.rint(x)
    found["products"] = tf.einsum("nic,njc->nij", rows(x), rows(x) * 0.5)
    found["local_norm"] = nn.local_response_normalization(x, 1, 1.5, 0.3, 0.7)
    return found


def tensorflow(images: np.ndarray) -> None:
    """A frozen graph with an output for every operation."""
    with tf.Graph().as_default() as graph, v1.Session() as session:
        x = v1.placeholder(tf.float32, (None, H, W, C), name="images")
        given = {name: tf.identity(value, name=f"out/{name}") for name, value in outputs(x).items()}
        np.savez_compressed(FOLDER / "operations_pb.npz", **session.run(given, {x: images}))
        (FOLDER / "operations.pb").write_bytes(graph.as_graph_def().SerializeToString(True))


def lite(images: np.ndarray) -> None:
    """The same as TFLite, in float32; its outputs are told apart by their tensors' names."""
    names = [name for name in OPERATIONS if name not in NO_LITE]
    found = {}
    for name in names:
        function = tf.function(OPERATIONS[name], input_signature=[tf.TensorSpec((None, H, W, C))])
        concrete = function.get_concrete_function()
        converter = tf.lite.TFLiteConverter.from_concrete_functions([concrete])
        model = converter.convert()
        interpreter = tf.lite.Interpreter(model_content=model)
        interpreter.resize_tensor_input(0, images.shape)
        interpreter.allocate_tensors()
        interpreter.set_tensor(interpreter.get_input_details()[0]["index"], images)
        interpreter.invoke()
        found[name] = (model, interpreter.get_tensor(interpreter.get_output_details()[0]["index"]))
    models = {name: np.frombuffer(model, np.uint8) for name, (model, _) in found.items()}
    np.savez_compressed(FOLDER / "operations_tflite_files.npz", **models)
    values = {name: value for name, (_, value) in found.items()}
    np.savez_compressed(FOLDER / "operations_tflite.npz", **values)


def tfjs(images: np.ndarray) -> None:
    """A graph-model of TensorFlow.js, with operations fused as its converter does."""
    held = {"k": KERNEL, "b": noise(5), "m": noise(5, 3), "c": noise(3), "axes": np.array([1, 2])}
    with tf.Graph().as_default() as graph, v1.Session() as session:
        v1.placeholder(tf.float32, (None, H, W, C), name="images")
        for name, value in held.items():
            tf.constant(value.astype(np.int32) if name == "axes" else value, name=name)
        plain = graph.as_graph_def()
    steps = [
        ("conv", "_FusedConv2D", ("images", "k", "b"), (b"BiasAdd", b"Relu6")),
        ("mean", "Mean", ("conv", "axes"), ()),
        ("scores", "_FusedMatMul", ("mean", "m", "c"), (b"BiasAdd",)),
    ]
    for name, op, given, fused in steps:
        made = plain.node.add(name=name, op=op, input=given)
        made.attr["T"].type = 1
        if op == "_FusedConv2D":
            made.attr["strides"].list.i.extend((1, 2, 2, 1))
            made.attr["padding"].s = b"SAME"
            made.attr["TArgs"].list.type.append(1)
        if op == "Mean":
            made.attr["Tidx"].type = 3
        if fused:
            made.attr["fused_ops"].list.s.extend(fused)
            made.attr["num_args"].i = 1
    with tf.Graph().as_default(), v1.Session() as session:
        tf.import_graph_def(plain, name="")
        scores = session.run("scores:0", {"images:0": images})
    folder = FOLDER / "tfjs"
    folder.mkdir(exist_ok=True)
    np.save(folder / "scores.npy", scores)
    weights, data = [], b""
    for one in plain.node:
        if one.op == "Const":
            value = held[one.name].astype(np.int32 if one.name == "axes" else np.float32)
            kind = {"f": "float32", "i": "int32"}[value.dtype.kind]
            weights.append({"name": one.name, "shape": list(value.shape), "dtype": kind})
            data += value.tobytes()
            del one.attr["value"]
    (folder / "group1-shard1of1.bin").write_bytes(data)
    model = {
        "format": "graph-model",
        "modelTopology": json_format.MessageToDict(plain),
        "weightsManifest": [{"paths": ["group1-shard1of1.bin"], "weights": weights}],
    }
    (folder / "model.json").write_text(json.dumps(model))


def node(op: str, inputs: str = "images", **settings):
    return (op, ["" if name == "_" else name for name in inputs.split()], settings)


ONNX: dict[str, tuple] = {
    "conv": node("Conv", "images k5", strides=[2, 2], pads=[1, 1, 1, 1]),
    "conv_uneven": node("Conv", "images k5 b5", strides=[2, 1], pads=[0, 1, 1, 0]),
    "conv_upper": node("Conv", "images k5", strides=[2, 2], auto_pad="SAME_UPPER"),
    "conv_lower": node("Conv", "images k5", strides=[2, 2], auto_pad="SAME_LOWER"),
    "conv_grouped": node("Conv", "images k_grouped", group=2),
    "conv_depthwise": node("Conv", "images k_depth", group=4, dilations=[2, 2]),
    "norm": node("BatchNormalization", "images b4 c4 d4 v4", epsilon=0.01),
    "layer_norm": node("LayerNormalization", "images b6 c6", axis=-1),
    "local_norm": node("LRN", size=3, alpha=0.3, beta=0.7, bias=1.5),
    "max": node("MaxPool", kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1]),
    "max_uneven": node("MaxPool", kernel_shape=[2, 3], strides=[2, 2], pads=[0, 0, 1, 1]),
    "max_ceil": node("MaxPool", kernel_shape=[3, 3], strides=[2, 2], ceil_mode=1),
    "mean": node("AveragePool", kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1]),
    "mean_counted": node(
        "AveragePool", kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1], count_include_pad=1
    ),
    "global_mean": node("GlobalAveragePool"),
    "global_max": node("GlobalMaxPool"),
    "relu": node("Relu"),
    "relu6": node("Clip", "images zero six"),
    "clip": node("Clip", "images low high"),
    "clip_below": node("Clip", "images low"),
    "leaky": node("LeakyRelu", alpha=0.2),
    "elu": node("Elu", alpha=0.7),
    "slopes": node("PRelu", "images p4"),
    "selu": node("Selu"),
    "sigmoid": node("Sigmoid"),
    "hard_sigmoid": node("HardSigmoid"),
    "hard_sigmoid_6": node("HardSigmoid", alpha=1 / 6),
    "hard_swish": node("HardSwish"),
    "gelu": node("Gelu"),
    "gelu_tanh": node("Gelu", approximate="tanh"),
    "mish": node("Mish"),
    "erf": node("Erf"),
    "softmax": node("Softmax", axis=1),
    "log_softmax": node("LogSoftmax", axis=-1),
    "add": node("Add", "images p4"),
    "subtract": node("Sub", "six images"),
    "multiply": node("Mul", "images b6"),
    "divide": node("Div", "images v6"),
    "divided": node("Div", "six e"),
    "power": node("Pow", "e low_power"),
    "most": node("Max", "images zero t"),
    "sum": node("Sum", "images images t"),
    "choice": node("Where", "mask images t"),
    "absolute": node("Abs"),
    "ceiling": node("Ceil"),
    "floor": node("Floor"),
    "logarithm": node("Log", "e"),
    "negative": node("Neg"),
    "inverse": node("Reciprocal", "e"),
    "root": node("Sqrt", "e"),
    "softplus": node("Softplus"),
    "softsign": node("Softsign"),
    "least": node("Min", "images zero t"),
    "same": node("Identity"),
    "kept": node("Dropout"),
    "plus_constant": node("Add", "images constant"),
    "plus_ones": node("Add", "images filled"),
    "dequantised": node("Mul", "images wide_weights"),
    "truths": node("Where", "truth images t"),
    "largest": node("ReduceMax", "images axes_1"),
    "smallest": node("ReduceMin", "images axes_23", keepdims=0),
    "reduced": node("ReduceMean", "images axes_23", keepdims=0),
    "summed": node("ReduceSum", "images axes_1", keepdims=1),
    "flat": node("Flatten"),
    "gemm": node("Gemm", "flat_images g b5", alpha=0.5, beta=2.0),
    "gemm_turned": node("Gemm", "flat_images g_turned", transB=1),
    "product": node("MatMul", "images m"),
    "reshaped": node("Reshape", "images copy_shape"),
    "turned": node("Transpose", perm=[0, 2, 3, 1]),
    "wide": node("Unsqueeze", "flat_images axes_1"),
    "narrow": node("Squeeze", "pooled axes_23"),
    "joined": node("Concat", "images t", axis=1),
    "slice": node("Slice", "images starts ends axes_23 steps"),
    "padded": node("Pad", "images pads six"),
    "mirrored": node("Pad", "images pads_small", mode="reflect"),
    "edges": node("Pad", "images pads_small", mode="edge"),
    "gather": node("Gather", "images picks", axis=1),
    "expanded": node("Expand", "pooled big"),
    "larger": node(
        "Resize",
        "images _ scales",
        mode="nearest",
        coordinate_transformation_mode="asymmetric",
        nearest_mode="floor",
    ),
    "smoothly": node("Resize", "images _ scales", mode="linear"),
    # Of these onnxruntime tells what they give.
    **(
        FURTHER := {
            "corners": node(
                "Resize",
                "images _ _ sizes",
                mode="linear",
                axes=[2, 3],
                coordinate_transformation_mode="align_corners",
            ),
            "smaller": node("Resize", "images _ _ sizes", mode="nearest", axes=[2, 3]),
            "smaller_ceil": node(
                "Resize",
                "images _ _ sizes",
                mode="nearest",
                axes=[2, 3],
                coordinate_transformation_mode="asymmetric",
                nearest_mode="ceil",
            ),
            "from_edge": node(
                "Resize",
                "images _ _ sizes",
                mode="linear",
                axes=[2, 3],
                coordinate_transformation_mode="asymmetric",
            ),
            "sine": node("Sin"),
            "cosine": node("Cos"),
            "sign": node("Sign"),
            "round": node("Round"),
            "hard_sigmoid_else": node("HardSigmoid", alpha=0.3, beta=0.4),
            "lengths": node("ReduceL2", "images axes_1"),
            "sizes_1": node("ReduceL1", "images axes_23", keepdims=0),
            "deeper": node("SpaceToDepth", blocksize=2),
            "shallower": node("DepthToSpace", blocksize=2),
            "shuffled": node("DepthToSpace", blocksize=2, mode="CRD"),
            "by_instance": node("InstanceNormalization", "images b4 c4", epsilon=0.01),
            "by_group": node("GroupNormalization", "images b2 c2", num_groups=2),
            "sums_of_products": node("Einsum", "images images", equation="nchw,ndhw->ncd"),
            "mixed": node("Einsum", "images mixing", equation="nchw,cd->ndhw"),
            "picked": node("GatherND", "by_place one_place"),
            "tabled": node("Gather", "images table", axis=3),
            "tiled": node("Tile", "images times"),
            "with_constant": node("Concat", "maps images", axis=1),
            "stretches": node("Col2Im", "columns image block", strides=[1, 2], pads=[1, 0, 1, 0]),
            "triangle": node("Mul", "images triangles"),
            "scattered": node("Mul", "images scattered_1"),
            "of_kernel": node("Conv", "images normed_kernel"),
            "of_constants": node("Mul", "images conved"),
            "no_nan": node("Where", "is_nan zero roots"),
            "by_height": node("Reshape", "images height_first"),
            "all_places": node("Gather", "in_a_row row_places"),
        }
    ),
}


def onnx_files(images: np.ndarray) -> None:
    """A model in ONNX with an output for every operation."""
    integers = {
        "axes_23": [2, 3],
        "axes_1": [1],
        "copy_shape": [0, 2, -1],
        "starts": [6, 0],
        "ends": [-9, 100],
        "steps": [-2, 1],
        "pads": [0, 1, 0, 2, 0, 0, 3, 1],
        "pads_small": [0, 0, 1, 2, 0, 0, 3, 1],
        "picks": [2, 0, 2],
        "big": [1, C, H, W],
        "sizes": [5, 9],
        "one_place": [1],
        "table": [[0, 2], [5, 1]],
        "times": [1, 2, 1, 3],
        "image": [4, 16],
        "block": [1, 2],
        "spots": [[0], [3]],
    }
    numbers = {
        "zero": 0.0,
        "six": 6.0,
        "low": -0.4,
        "high": 0.9,
        "low_power": 1.5,
    }
    held = {
        "k5": noise(5, C, 3, 3),
        "k_grouped": noise(6, 2, 3, 3),
        "k_depth": noise(C, 1, 3, 2),
        **{
            f"{letter}{n}": noise(n, 1, ord(letter))[:, 0, 0] for letter in "bcd" for n in (4, 5, 6)
        },
        "v4": noise(4) ** 2 + 0.5,
        "v6": noise(6) ** 2 + 0.5,
        "p4": noise(C, 1, 1),
        "g": noise(H * W * C, 5),
        "g_turned": noise(3, H * W * C),
        "m": noise(W, 3),
        "b2": noise(2),
        "c2": noise(2),
        "mixing": noise(C, 3),
        "constant_map": noise(1, 2, H, W),
        "square": noise(H, W),
        "rows_2": noise(2, W),
        "plain_map": noise(1, C, H, W),
        "k_same": noise(C, C, 1, 1),
        "ones_4": np.ones(4, np.float32),
        "scales": np.array([1, 1, 2, 2], np.float32),
        **{name: np.array(value, np.float32) for name, value in numbers.items()},
        **{name: np.array(value, np.int64) for name, value in integers.items()},
    }
    nodes = [
        helper.make_node("Tanh", ["images"], ["t"], name="/t/Tanh"),
        helper.make_node("Exp", ["images"], ["e"]),
        helper.make_node("Greater", ["images", "zero"], ["mask"]),
        helper.make_node("Flatten", ["images"], ["flat_images"]),
        helper.make_node("GlobalAveragePool", ["images"], ["pooled"]),
        helper.make_node("Split", ["images"], ["first", "second"], axis=1, num_outputs=2),
        helper.make_node("Sub", ["first", "second"], ["apart"]),
        helper.make_node("Shape", ["images"], ["shape"]),
        helper.make_node("Gather", ["shape", "zero_index"], ["count"]),
        helper.make_node("Concat", ["count", "rest"], ["target"], axis=0),
        helper.make_node("Reshape", ["images", "target"], ["by_shape"]),
        helper.make_node("Constant", [], ["constant"], value_float=1.5),
        helper.make_node("ConstantOfShape", ["axes_23"], ["filled_2_3"]),
        helper.make_node("ReduceSum", ["filled_2_3"], ["nought"]),
        helper.make_node("Add", ["nought", "six"], ["filled"]),
        helper.make_node(
            "DequantizeLinear", ["bytes", "scales_4", "zeros_4"], ["wide_weights"], axis=1
        ),
        helper.make_node("Less", ["images", "high"], ["is_less"]),
        helper.make_node("GreaterOrEqual", ["images", "low"], ["is_more"]),
        helper.make_node("And", ["is_less", "is_more"], ["both"]),
        helper.make_node("Equal", ["floor", "zero"], ["is_zero"]),
        helper.make_node("Not", ["is_zero"], ["is_other"]),
        helper.make_node("LessOrEqual", ["images", "zero"], ["is_low"]),
        helper.make_node("Or", ["is_low", "is_other"], ["either"]),
        helper.make_node("And", ["both", "either"], ["truth"]),
        helper.make_node("Transpose", ["images"], ["by_place"], perm=[2, 0, 1, 3]),
        helper.make_node("Reshape", ["images", "as_columns"], ["columns"]),
        helper.make_node("Concat", ["count", "map_rest"], ["map_shape"], axis=0),
        helper.make_node("Expand", ["constant_map", "map_shape"], ["maps"]),
        helper.make_node("Trilu", ["square"], ["triangles"]),
        helper.make_node("Sqrt", ["images"], ["roots"]),
        helper.make_node("IsNaN", ["roots"], ["is_nan"]),
        helper.make_node("Shape", ["images"], ["middle"], start=1, end=3),
        helper.make_node("Concat", ["count", "middle", "last"], ["height_first"], axis=0),
        helper.make_node("Reshape", ["images", "last"], ["in_a_row"]),
        helper.make_node("Shape", ["in_a_row"], ["row_size"]),
        helper.make_node("Squeeze", ["row_size", "zero_index"], ["row_count"]),
        helper.make_node("Range", ["start_0", "row_count", "step_1"], ["row_numbers"]),
        helper.make_node("Reshape", ["row_numbers", "as_rows"], ["row_places"]),
        helper.make_node("ScatterND", ["square", "spots", "rows_2"], ["scattered_1"]),
        helper.make_node(
            "BatchNormalization",
            ["k_same", "b4", "c4", "ones_4", "ones_4"],
            ["normed_kernel", "normed_mean", "normed_variance"],
            training_mode=1,
        ),
        helper.make_node("Conv", ["plain_map", "k_same"], ["conved"]),
    ]
    held |= {
        "bytes": np.arange(-8, 8, dtype=np.int8).reshape(1, C, 1, 4)[..., :1],
        "scales_4": np.array([0.1, 0.2, 0.3, 0.4], np.float32),
        "zeros_4": np.array([0, 1, -1, 2], np.int8),
    }
    # [n, 2 · 1 · 2, 48]: two channels of stretches of 1 × 2.
    held |= {"as_columns": np.array([0, 4, -1])}
    held |= {
        "zero_index": np.array([0]),
        "rest": np.array([-1, W]),
        "map_rest": np.array([2, H, W]),
    }
    held |= {"last": np.array([-1]), "as_rows": np.array([-1, H * W * C])}
    held |= {"start_0": np.array(0), "step_1": np.array(1)}
    made = [helper.make_node(op, given, [name], **how) for name, (op, given, how) in ONNX.items()]
    # ONNX wants each operation after what it reads.
    late = [one for one in made if one.output[0] == "truths"]
    first = [one for one in made if one.output[0] == "floor"]
    nodes = [*first, *nodes, *(one for one in made if one not in (*first, *late)), *late]
    names = [*ONNX, "apart", "by_shape"]
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        nodes,
        "operations",
        [value("images", TensorProto.FLOAT, ["n", C, H, W])],
        [value(name, TensorProto.FLOAT, None) for name in names],
        [numpy_helper.from_array(array, name) for name, array in held.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)
    onnx.save(model, FOLDER / "operations.onnx")
    plain = [name for name in names if name not in FURTHER]
    given = ReferenceEvaluator(model).run(plain, {"images": images})
    found = dict(zip(plain, given, strict=True))
    session = onnxruntime.InferenceSession(model.SerializeToString())
    found |= dict(zip(FURTHER, session.run(list(FURTHER), {"images": images}), strict=True))
    # By the standard's own formula, from which the evaluator differs.
    around = np.pad(images**2, ((0, 0), (1, 1), (0, 0), (0, 0)))
    sums = around[:, :-2] + around[:, 1:-1] + around[:, 2:]
    found["local_norm"] = images / (1.5 + 0.3 / 3 * sums) ** 0.7
    np.savez_compressed(FOLDER / "operations_onnx.npz", **found)


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    pictures = noise(2, H, W, C)
    np.save(FOLDER / "images.npy", pictures)
    tensorflow(pictures)
    lite(pictures)
    tfjs(pictures)
    onnx_files(np.ascontiguousarray(pictures.transpose(0, 3, 1, 2)))
