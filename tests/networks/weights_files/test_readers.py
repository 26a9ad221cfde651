"""Every format gives the arrays that its own framework wrote, read when they are asked for."""

import json
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from frostline.networks.weights_files.formats import FORMATS, format_of, open_file
from frostline.networks.weights_files.records import Graph, WeightsFile
from networks.weights_files import wire
from networks.weights_files.makers import FILES, MAKERS, expected, make

FORMAT_OF = {
    "safetensors": "safetensors",
    **dict.fromkeys(("torch_zip", "torch_legacy"), "torch"),
    **dict.fromkeys(("npz", "npz_compressed"), "npz"),
    "npy": "npy",
    "pickle": "pickle",
    **dict.fromkeys(("keras_1", "keras_2", "keras_full_h5", "keras_weights_h5"), "keras_h5"),
    "keras_archive": "keras",
    **dict.fromkeys(("onnx", "onnx_external"), "onnx"),
    **dict.fromkeys(("tf1_checkpoint", "tf2_checkpoint"), "tf_checkpoint"),
    "tf1_meta": "meta_graph",
    "saved_model": "saved_model",
    "frozen": "graph_def",
    **dict.fromkeys(("tflite", "tflite_int8"), "tflite"),
    **dict.fromkeys(("tfjs_layers", "tfjs_graph"), "tfjs"),
}
# Kinds that hold all arrays of `expected`, as they are.
WHOLE = (
    *("safetensors", "torch_zip", "torch_legacy", "npz", "npz_compressed", "pickle", "keras_2"),
    *("tf1_checkpoint", "tf1_meta", "tf2_checkpoint", "saved_model", "frozen"),
)


def opened(kind: str, tmp_path: Path) -> WeightsFile:
    return open_file(make(kind, tmp_path / kind))


def by_plain_name(found: WeightsFile) -> dict[str, np.ndarray]:
    """Arrays by the names of `expected`, whatever the format puts around them."""
    plain = {}
    for name, tensor in found.tensors.items():
        name = str(tensor.attributes.get("full_name") or name)
        name = name.removeprefix("state_dict.").removesuffix(":0")
        parts = name.split("/")
        plain["/".join(parts[-2:])] = tensor.array()
    return plain


def test_every_kind_is_tried_and_every_format_is_met() -> None:
    assert set(FORMAT_OF) == set(MAKERS)
    assert set(FORMAT_OF.values()) == {kind.name for kind in FORMATS}


@pytest.mark.parametrize("kind", MAKERS)
def test_a_file_is_told_by_what_is_in_it(kind: str, tmp_path: Path) -> None:
    path = make(kind, tmp_path / kind)
    assert format_of(path).name == FORMAT_OF[kind]
    if path.is_file() and kind not in ("tf1_meta", "onnx_external", "tfjs_layers", "tfjs_graph"):
        renamed = path.rename(path.with_name("nameless"))
        assert format_of(renamed).name == FORMAT_OF[kind]


@pytest.mark.parametrize("kind", WHOLE)
def test_arrays_are_those_that_were_written(kind: str, tmp_path: Path) -> None:
    found = by_plain_name(opened(kind, tmp_path))
    for name, value in expected().items():
        assert found[name].dtype == value.dtype
        np.testing.assert_array_equal(found[name], value)


@pytest.mark.parametrize("kind", MAKERS)
def test_a_record_tells_what_its_array_is(kind: str, tmp_path: Path) -> None:
    found = opened(kind, tmp_path)
    assert found.tensors
    for name, tensor in found.tensors.items():
        assert tensor.name == name
        assert tensor.stored_bytes > 0
        if tensor.dtype != "string":
            array = tensor.array()
            assert array.shape == tensor.shape
            assert array.dtype.name == tensor.dtype
            assert array.size == tensor.size
            assert tensor.values().shape == tensor.shape
    assert all(file.is_file() for file in found.files)


@pytest.mark.parametrize(
    "kind", ["safetensors", "torch_zip", "torch_legacy", "npz", "onnx_external"]
)
def test_arrays_are_read_when_they_are_asked_for(kind: str, tmp_path: Path) -> None:
    found = opened(kind, tmp_path)
    files = [file for file in found.files if file.suffix != ".onnx"]
    for file in files:
        file.write_bytes(file.read_bytes()[:100])
    with pytest.raises(Exception, match=r"ends at|beyond|cut short|damaged|stored") as refused:
        [tensor.array() for tensor in found.tensors.values()]
    assert type(refused.value).__name__ == "WeightsError"


def test_keras_archives_hold_what_keras_reads_back() -> None:
    with np.load(FILES / "keras_expected.npz") as held:
        wanted = {"/".join(name.split("/")[-2:]): value for name, value in held.items()}
    layers = {"bn": ("gamma", "beta", "moving_mean", "moving_variance"), "conv": ("kernel", "bias")}
    layers["fc"] = ("kernel", "bias")
    for name in ("model.keras", "model.weights.h5"):
        found = open_file(FILES / name)
        for tensor in found.tensors.values():
            layer = tensor.attributes["layer"]
            variable = layers[layer][int(tensor.name.rpartition("/")[2])]
            np.testing.assert_array_equal(tensor.array(), wanted[f"{layer}/{variable}"])
    full = open_file(FILES / "model.h5")
    for tensor in full.tensors.values():
        np.testing.assert_array_equal(tensor.array(), wanted["/".join(tensor.name.split("/")[-2:])])


def test_keras_layers_are_a_graph() -> None:
    for name in ("model.keras", "model.h5", "tfjs_layers"):
        graph = open_file(FILES / name).graph
        assert graph is not None
        nodes = {node.name: node for node in graph.nodes}
        assert [node.op for node in graph.nodes][-2:] == ["GlobalAveragePooling2D", "Dense"]
        assert nodes["bn"].inputs == ("conv",)
        assert nodes["conv"].attributes["filters"] == 4
        assert graph.inputs[0].shape == (None, 8, 8, 3)
        assert [port.name for port in graph.outputs] == ["fc"]


def test_keras_1_weights_come_in_the_order_of_layers(tmp_path: Path) -> None:
    found = opened("keras_1", tmp_path)
    assert list(found.tensors) == [f"layer_{i}/param_{j}" for i in (0, 1) for j in (0, 1)]
    np.testing.assert_array_equal(found.tensors["layer_1/param_0"].array(), expected()["fc/kernel"])


def test_keras_2_weights_come_in_the_order_of_layer_names(tmp_path: Path) -> None:
    layers = [one.attributes["layer"] for one in opened("keras_2", tmp_path).tensors.values()]
    assert list(dict.fromkeys(layers)) == ["fc", "conv", "dw"]


def test_onnx_kernels_are_channels_first_and_its_graph_is_whole(tmp_path: Path) -> None:
    for kind in ("onnx", "onnx_external"):
        found = opened(kind, tmp_path)
        kernel = found.tensors["conv/kernel"].array()
        np.testing.assert_array_equal(kernel, expected()["conv/kernel"].transpose(3, 2, 0, 1))
        graph = found.graph
        assert graph is not None
        assert graph.inputs[0].shape == (None, 3, 8, 8)
        conv, depthwise = graph.nodes[:2]
        assert conv.inputs == ("pixels", "conv/kernel", "conv/bias")
        assert conv.attributes == {"auto_pad": "SAME_UPPER", "strides": (2, 2)}
        assert depthwise.attributes["group"] == 4
        assert graph.nodes[-1].attributes == {"alpha": 1.0}
        assert found.metadata["opset"] == {"ai.onnx": 17}


def test_tensorflow_graphs_name_nodes_attributes_and_signatures(tmp_path: Path) -> None:
    frozen = opened("frozen", tmp_path).graph
    assert frozen is not None
    conv = next(node for node in frozen.nodes if node.op == "Conv2D")
    assert conv.attributes["strides"] == (1, 2, 2, 1)
    assert conv.attributes["padding"] == b"SAME"
    assert conv.attributes["T"] == "float32"
    assert frozen.inputs[0].name == "pixels"
    assert frozen.inputs[0].shape == (None, 8, 8, 3)
    assert "scores" in [port.name for port in frozen.outputs]
    saved = opened("saved_model", tmp_path).graph
    assert saved is not None
    assert [(port.label, port.shape) for port in saved.inputs] == [("pixels", (None, 8, 8, 3))]
    assert [(port.label, port.shape) for port in saved.outputs] == [("scores", (None, 3))]
    call = next(name for name in saved.functions if "___call__" in name)
    assert "DepthwiseConv2dNative" in [node.op for node in saved.functions[call].nodes]
    assert saved.functions[call].returns


def test_a_checkpoint_is_found_by_any_of_its_names(tmp_path: Path) -> None:
    folder = make("tf1_checkpoint", tmp_path / "one")
    names = ("", "checkpoint", "model", "model.index", "model.data-00000-of-00001")
    held = [set(open_file(folder / name).tensors) for name in names]
    assert held == [set(expected())] * len(names)


def test_tflite_gives_scales_zero_points_and_settings(tmp_path: Path) -> None:
    plain, small = (opened(kind, tmp_path) for kind in ("tflite", "tflite_int8"))
    for found in (plain, small):
        kernel = found.tensors["Conv2D"]
        close = np.abs(kernel.values() - expected()["conv/kernel"].transpose(3, 0, 1, 2))
        # Half a step of 127 a channel, at the most.
        assert close.max() <= 0.5 * np.abs(expected()["conv/kernel"]).max() / 127 * 1.01
        assert found.graph is not None
        conv, depthwise = [node for node in found.graph.nodes if "CONV" in node.op]
        assert conv.attributes["stride_w"] == 2
        assert conv.attributes["padding"] == "same"
        assert depthwise.op == "DEPTHWISE_CONV_2D"
        assert depthwise.attributes["activation"] == "relu6"
        assert depthwise.attributes["depth_multiplier"] == 1
    how = small.tensors["Conv2D"].quantisation
    assert how is not None
    assert (how.axis, len(how.scale), set(how.zero_point)) == (0, 4, {0.0})
    assert small.tensors["Conv2D"].dtype == "int8"


def test_tfjs_arrays_run_across_shards_and_are_dequantised(tmp_path: Path) -> None:
    for kind in ("tfjs_layers", "tfjs_graph"):
        held = opened(kind, tmp_path).tensors
        np.testing.assert_array_equal(held["conv/kernel"].values(), expected()["conv/kernel"])
        wanted = expected()["fc/kernel"]
        assert np.abs(held["fc/kernel"].values() - wanted).max() <= np.ptp(wanted) / 255 / 2 * 1.01
        assert held["fc/kernel"].dtype == "uint8"
        assert held["conv/bias"].dtype == "float16"
        np.testing.assert_allclose(held["conv/bias"].values(), expected()["conv/bias"], rtol=1e-3)


def test_a_graph_model_of_tfjs_has_the_attributes_of_tensorflow(tmp_path: Path) -> None:
    graph = opened("tfjs_graph", tmp_path).graph
    assert isinstance(graph, Graph)
    conv = graph.nodes[-1]
    assert conv.attributes == {"strides": (1, 2, 2, 1), "padding": b"SAME"}
    assert graph.inputs[0].shape == (None, 8, 8, 3)


@pytest.mark.filterwarnings("ignore:.*quantize.*deprecated:UserWarning")
@pytest.mark.parametrize("in_zip", [True, False])
def test_torch_views_types_and_quantised_tensors_are_what_torch_reads(
    in_zip: bool, tmp_path: Path
) -> None:
    x = torch.arange(24, dtype=torch.float32).reshape(4, 6) / 7
    state = {
        "turned": x.t(),
        "part": x[1:3, ::2],
        "spread": torch.ones(1).expand(5, 3),
        "parameter": torch.nn.Parameter(x),
        "empty": torch.empty(0, 3),
        "one": torch.tensor(3),
        "truth": x > 1,
        "complex": x.to(torch.complex64),
        "half": x.half(),
        "unsigned": torch.arange(4).to(torch.uint16),
    }
    wide = {"bfloat16": x.bfloat16(), "float8": x.to(torch.float8_e4m3fn)}
    wide["float8_e5m2"] = x.to(torch.float8_e5m2)
    per_tensor = torch.quantize_per_tensor(x, 0.1, 3, torch.quint8)
    scales, zeros = torch.tensor([0.1, 0.2, 0.3, 0.4]), torch.tensor([0, 1, 2, 3])
    per_channel = torch.quantize_per_channel(x, scales, zeros, 0, torch.qint8)
    quantised = {"per_tensor": per_tensor, "per_channel": per_channel}
    path = tmp_path / "model.pt"
    torch.save(state | wide | quantised, path, _use_new_zipfile_serialization=in_zip)
    held = open_file(path).tensors
    for name, tensor in state.items():
        np.testing.assert_array_equal(held[name].array(), tensor.detach().numpy())
    for name, tensor in wide.items():
        np.testing.assert_array_equal(held[name].array(), tensor.float().numpy())
    for name, tensor in quantised.items():
        np.testing.assert_allclose(held[name].values(), tensor.dequantize().numpy(), atol=1e-6)


@pytest.mark.parametrize("protocol", range(6))
def test_pickles_of_all_protocols_are_read(protocol: int, tmp_path: Path) -> None:
    value = {
        "nested": [np.arange(4, dtype=">i2"), {"f": np.asfortranarray(np.eye(3)[:2])}],
        "long": np.random.default_rng(0).normal(size=(40, 40)),
        "number": np.float32(2.5),
        "words": "of it",
    }
    path = tmp_path / "model.pkl"
    path.write_bytes(pickle.dumps(value, protocol=protocol))
    found = open_file(path)
    assert found.metadata == {"words": "of it", "number": 2.5}
    np.testing.assert_array_equal(found.tensors["nested/0"].array(), value["nested"][0])
    np.testing.assert_array_equal(found.tensors["nested/1/f"].array(), value["nested"][1]["f"])
    np.testing.assert_array_equal(found.tensors["long"].array(), value["long"])


def test_a_pickle_of_python_2_is_read(tmp_path: Path) -> None:
    # What Python 2 wrote for {"w": numpy.array([1, 2], "<i4")}: bytes are texts there.
    text = (
        b"(dp0\nS'w'\np1\ncnumpy.core.multiarray\n_reconstruct\np2\n(cnumpy\nndarray\np3\n(I0\ntp4\n"
        b"S'b'\np5\ntp6\nRp7\n(I1\n(I2\ntp8\ncnumpy\ndtype\np9\n(S'i4'\np10\nI0\nI1\ntp11\nRp12\n"
        b"(I3\nS'<'\np13\nNNNI-1\nI-1\nI0\ntp14\nbI00\nS'\\x01\\x00\\x00\\x00\\x02\\x00\\x00\\x00'\n"
        b"p15\ntp16\nbs."
    )
    path = tmp_path / "model.pkl"
    path.write_bytes(text)
    np.testing.assert_array_equal(open_file(path).tensors["w"].array(), [1, 2])


def test_an_npy_file_of_a_dict_is_read(tmp_path: Path) -> None:
    np.save(tmp_path / "vgg.npy", {"conv": {"w": np.ones(3)}}, allow_pickle=True)
    found = open_file(tmp_path / "vgg.npy")
    np.testing.assert_array_equal(found.tensors["conv/w"].array(), np.ones(3))


def test_safetensors_in_shards_are_one_file(tmp_path: Path) -> None:
    places = {}
    for number, (name, value) in enumerate(expected().items()):
        file = f"model-{number:05}.safetensors"
        save_file({name: torch.from_numpy(value)}, tmp_path / file)
        places[name] = file
    index = tmp_path / "model.safetensors.index.json"
    index.write_text(json.dumps({"metadata": {"total_size": 1}, "weight_map": places}))
    for path in (index, tmp_path):
        found = open_file(path)
        assert len(found.files) == 6
        np.testing.assert_array_equal(found.tensors["fc/kernel"].array(), expected()["fc/kernel"])


def test_numbers_of_all_types_are_read_from_safetensors(tmp_path: Path) -> None:
    x = torch.arange(-6, 6)
    kinds = (torch.bool, torch.uint8, torch.int8, torch.int16, torch.int64, torch.float16)
    kinds += (torch.bfloat16, torch.float64, torch.float8_e4m3fn, torch.float8_e5m2)
    state = {str(kind): x.to(kind) for kind in kinds}
    save_file(state, tmp_path / "model.safetensors")
    for name, tensor in open_file(tmp_path / "model.safetensors").tensors.items():
        wide = state[name].float() if "float" in name else state[name]
        np.testing.assert_array_equal(tensor.array(), wide.numpy())


def test_one_listed_number_stands_for_a_whole_array_in_tensorflow(tmp_path: Path) -> None:
    shape = wire.message((2, wire.message((1, 2))), (2, wire.message((1, 3))))
    tensor = wire.message((1, 3), (2, shape), (7, 5))
    value = wire.message((1, "value"), (2, wire.message((8, tensor))))
    path = tmp_path / "graph.pb"
    path.write_bytes(wire.message((1, wire.message((1, "c"), (2, "Const"), (5, value)))))
    np.testing.assert_array_equal(open_file(path).tensors["c"].array(), np.full((2, 3), 5))
