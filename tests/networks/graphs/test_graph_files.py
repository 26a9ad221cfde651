"""Networks from files of TFLite, ONNX and TensorFlow: one small one in all formats; bad files."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tensorboardX.proto.attr_value_pb2 import AttrValue
from tensorboardX.proto.graph_pb2 import GraphDef
from torch import Tensor
from torch.nn import functional

from frostline.base.errors import FrostlineError
from frostline.networks import catalog
from frostline.networks.weights_files import guarded
from networks.weights_files.makers import FILES, expected, mutants
from networks.weights_files.wire import message

OPERATIONS = Path(__file__).parent / "files"
FLOAT = {
    "frozen": "tf:{}/frozen.pb",
    "meta graph": "tf:{}/tf1/model.meta",
    "checkpoint": "tf:{}/tf1/model.index",
    "folder": "tf:{}/tf1",
    "SavedModel": "tf:{}/saved_model",
    "TFLite": "tflite:{}/float.tflite",
    "ONNX": "onnx:{}/model.onnx",
    "ONNX with data beside": "onnx:{}/external/model.onnx",
}


@pytest.fixture
def in_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reads without a process of its own first, which takes most of the time."""
    monkeypatch.setattr(guarded, "check", lambda path: None)


def images() -> Tensor:
    return torch.rand(3, 3, 8, 8, generator=torch.Generator().manual_seed(0)) * 2 - 1


def network(relu: Callable[[Tensor], Tensor]) -> Tensor:
    """The network of all these files, in PyTorch."""
    w = {name: torch.from_numpy(value) for name, value in expected().items()}
    x = functional.pad(images(), (0, 1, 0, 1))
    x = functional.conv2d(x, w["conv/kernel"].permute(3, 2, 0, 1), w["conv/bias"], stride=2)
    x = relu(functional.conv2d(x, w["dw/kernel"].permute(2, 3, 0, 1), padding=1, groups=4))
    return x.mean((2, 3)) @ w["fc/kernel"] + w["fc/bias"]


def opened(name: str, **options: Any) -> torch.nn.Module:
    return catalog.find(name.format(FILES), **options).module


def refusal(name: str, **options: Any) -> str:
    with pytest.raises(FrostlineError) as caught:
        opened(name, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def save(path: Path, *nodes: tuple[str, str, list[str], dict[str, Any]]) -> Path:
    """Writes a GraphDef; numbers, texts and arrays become attributes."""
    graph = GraphDef()
    for name, op, inputs, attributes in nodes:
        node = graph.node.add(name=name, op=op, input=inputs)
        for key, value in attributes.items():
            node.attr[key].CopyFrom(attribute(value))
    path.write_bytes(graph.SerializeToString())
    return path


def attribute(value: Any) -> AttrValue:
    found = AttrValue()
    if isinstance(value, str):
        found.type = {"float": 1, "int": 3, "bool": 10}[value]
    elif isinstance(value, tuple):
        for size in value:
            found.shape.dim.add(size=size)
    elif isinstance(value, np.ndarray):
        found.tensor.dtype = {"f": 1, "i": 3, "b": 10}[value.dtype.kind]
        for size in value.shape:
            found.tensor.tensor_shape.dim.add(size=size)
        found.tensor.tensor_content = value.tobytes()
    return found


PIXELS = ("pixels", "Placeholder", [], {"dtype": "float", "shape": (-1, 8, 8, 3)})


@pytest.mark.parametrize("kind", FLOAT)
def test_a_network_gives_the_same_in_every_format(kind: str, in_process: None) -> None:
    module = opened(FLOAT[kind] + "?mode=tf")
    relu = functional.relu if "ONNX" in kind else functional.relu6
    with torch.no_grad():
        torch.testing.assert_close(module(images()), network(relu), rtol=0, atol=1e-5)


def test_numbers_of_8_bits_are_dequantised() -> None:
    with torch.no_grad():
        found = opened("tflite:{}/int8.tflite?mode=tf")(images())
    assert (found - network(functional.relu6)).abs().max() < 0.1


def test_lines_have_the_names_of_tensors(in_process: None) -> None:
    lines = catalog.trace(catalog.find(f"tf:{FILES}/frozen.pb?mode=tf")).lines
    assert [line.name for line in lines] == ["pixels", "Conv2D", "depthwise", "Relu6", "pooled"]
    assert lines[1].aliases[:1] == ("add",)


def test_a_name_is_asked_for_where_a_file_has_several_outputs(in_process: None) -> None:
    told = refusal(f"onnx:{OPERATIONS / 'operations.onnx'}")
    assert "operations.onnx: has 112 outputs (conv, conv_uneven," in told
    assert told.endswith("…). Name one with ?output=NAME.")
    assert "Did you mean softmax?" in refusal(
        f"onnx:{OPERATIONS / 'operations.onnx'}?output=softmx"
    )


def test_a_network_ends_at_any_tensor_that_is_named(in_process: None) -> None:
    module = opened("tf:{}/frozen.pb?mode=tf&output=Relu6:0")
    with torch.no_grad():
        assert module(images()).shape == (3, 4, 4, 4)


def test_how_pixels_become_its_input_is_asked_for(in_process: None) -> None:
    assert "Add ?mode=tf (from -1 to 1)" in refusal("tf:{}/frozen.pb")
    how = catalog.find(f"tf:{FILES}/frozen.pb?mode=unit").record.preprocessing
    assert (how.mean, how.std) == ((0.0,) * 3, (1.0,) * 3)
    assert "mode 'imagenet': must be one of tf," in refusal("tf:{}/frozen.pb?mode=imagenet")


def test_variables_of_a_scope_are_loaded_and_the_others_drawn(in_process: None) -> None:
    torch.manual_seed(3)
    one = catalog.find(f"tf:{FILES}/tf1/model.meta?mode=tf&scope=conv")
    assert one.match is not None
    assert set(one.match.matched) == {"conv/kernel", "conv/bias"}
    assert set(one.match.missing) == {"dw/kernel", "fc/kernel", "fc/bias"}
    state = one.module.state_dict()
    w = expected()
    np.testing.assert_array_equal(state["Conv2D.weight"], w["conv/kernel"].transpose(3, 2, 0, 1))
    np.testing.assert_array_equal(state["Conv2D.bias"], w["conv/bias"])
    assert not np.allclose(state["MatMul.weight"], w["fc/kernel"].T)
    assert (state["MatMul.bias"] == 0).all()
    told = refusal("tf:{}/tf1/model.meta?mode=tf&scope=con")
    assert "no variable begins with 'con'" in told


def test_a_checkpoint_goes_into_a_graph_that_is_there(tmp_path: Path, in_process: None) -> None:
    meta = shutil.copy(FILES / "tf1" / "model.meta", tmp_path / "graph.meta")
    told = refusal(f"tf:{meta}?mode=tf")
    assert "5 variables without values" in told
    one = catalog.find(f"tf:{meta}?mode=tf", weights=FILES / "tf1" / "model.index")
    assert one.match is not None
    assert (len(one.match.matched), one.match.missing) == (5, ())
    with torch.no_grad():
        torch.testing.assert_close(one.module(images()), network(functional.relu6))
    random = catalog.find(f"tf:{meta}?mode=tf&pretrained=false")
    assert not random.module.state_dict()["MatMul.weight"].eq(0).all()


def test_a_checkpoint_of_another_network_is_refused_and_taken_in_part(
    tmp_path: Path, in_process: None
) -> None:
    """The graph wants one variable as the checkpoint has it, one of another shape, one more."""
    nodes = (
        PIXELS,
        ("conv/kernel", "VariableV2", [], {"dtype": "float", "shape": (3, 3, 3, 4)}),
        ("conv/bias", "VariableV2", [], {"dtype": "float", "shape": (1,)}),
        ("extra/gamma", "VariableV2", [], {"dtype": "float", "shape": (1,)}),
        ("kernel", "Identity", ["conv/kernel"], {}),
        ("scaled", "Mul", ["kernel", "extra/gamma"], {}),
        ("moved", "Add", ["scaled", "conv/bias"], {}),
        ("sum", "Sum", ["moved", "axes"], {}),
        ("axes", "Const", [], {"dtype": "int", "value": np.array([0, 1, 3], np.int32)}),
        ("end", "Mul", ["pixels", "sum"], {}),
    )
    graph = save(tmp_path / "plain.pb", *nodes).read_bytes()
    meta = tmp_path / "graph.meta"
    meta.write_bytes(message((1, message((5, "1.15.0"))), (2, graph)))
    checkpoint = FILES / "tf1" / "model.index"
    told = refusal(f"tf:{meta}?mode=tf&output=end", weights=checkpoint)
    assert "1 variables without values: extra/gamma; 1 of another shape: conv/bias" in told
    found = catalog.find(f"tf:{meta}?mode=tf&output=end", weights=checkpoint, partial=True)
    assert found.match is not None
    assert found.match.matched == ("conv/kernel",)
    assert found.match.missing == ("extra/gamma",)
    assert found.match.mismatched == (("conv/bias", (1,), (4,)),)
    assert set(found.match.unexpected) == {"dw/kernel", "fc/kernel", "fc/bias"}
    wanted = torch.from_numpy(expected()["conv/kernel"]).sum((0, 1, 3))[:, None, None]
    torch.testing.assert_close(found.module(images()), images() * wanted)


def test_a_checkpoint_that_fills_nothing_is_refused() -> None:
    checkpoint = FILES / "tf1" / "model.index"
    told = refusal("tf:{}/frozen.pb?mode=tf", weights=checkpoint, partial=True)
    assert "none of 5 tensors is used, as the graph is frozen and has no variables" in told


def test_operations_that_are_not_known_are_all_named_at_once(
    tmp_path: Path, in_process: None
) -> None:
    file = save(
        tmp_path / "graph.pb",
        PIXELS,
        ("a", "Frobnicate", ["pixels"], {}),
        ("b", "Quux", ["a"], {}),
        ("c", "Frobnicate", ["b"], {}),
    )
    told = refusal(f"tf:{file}?mode=tf")
    assert "operations that are not known: Frobnicate (2×), Quux (1×)." in told


def test_several_inputs_are_refused_and_one_can_be_chosen(tmp_path: Path, in_process: None) -> None:
    file = save(
        tmp_path / "graph.pb",
        PIXELS,
        ("more", "Placeholder", [], {"dtype": "float", "shape": (-1, 8, 8, 3)}),
        ("both", "Add", ["pixels", "more"], {}),
        ("inner", "Relu", ["pixels"], {}),
        ("end", "Mul", ["both", "inner"], {}),
    )
    assert "has 2 inputs (pixels, more)" in refusal(f"tf:{file}?mode=tf&output=end")
    told = refusal(f"tf:{file}?mode=tf&output=end&input=pixels")
    assert "what it gives depends on further inputs: more." in told
    assert opened(f"tf:{file}?mode=tf&output=inner")(-images()).min() == 0


@pytest.mark.parametrize("trains", [False, True])
def test_of_a_condition_on_training_the_other_branch_is_taken(
    trains: bool, tmp_path: Path, in_process: None
) -> None:
    """TensorFlow 1 writes `tf.cond` as Switch and Merge; what only trains may be unknown."""
    training = ("training", "Placeholder", [], {"dtype": "bool", "shape": ()})
    fixed = ("training", "Const", [], {"dtype": "bool", "value": np.array(trains)})
    for first in (training, fixed):
        file = save(
            tmp_path / "graph.pb",
            PIXELS,
            first,
            ("not", "LogicalNot", ["training"], {}),
            ("inverse", "LogicalNot", ["not"], {}),
            ("switch", "Switch", ["pixels", "inverse"], {}),
            ("train", "Neg" if first is fixed else "RandomStuff", ["switch:1"], {}),
            ("infer", "Abs", ["switch:0"], {}),
            ("merge", "Merge", ["infer", "train"], {}),
        )
        found = opened(f"tf:{file}?mode=tf")(images())
        wanted = -images() if first is fixed and trains else images().abs()
        torch.testing.assert_close(found, wanted)


def test_a_graph_for_training_is_refused(tmp_path: Path, in_process: None) -> None:
    numbers = np.ones(3, np.float32)
    file = save(
        tmp_path / "graph.pb",
        PIXELS,
        ("one", "Const", [], {"dtype": "float", "value": numbers}),
        ("norm", "FusedBatchNormV3", ["pixels", "one", "one", "one", "one"], {}),
    )
    assert "takes its mean from the batch: the graph is one for training" in refusal(
        f"tf:{file}?mode=tf"
    )


@pytest.mark.parametrize(
    ("nodes", "said"),
    [
        ([("a", "Relu", ["b"], {}), ("b", "Relu", ["a"], {})], "circle through"),
        ([("a", "PartitionedCall", ["pixels"], {})], "calls a function that is not there"),
        ([("a", "Relu", ["nobody"], {})], "which nothing gives"),
        (
            [
                ("big", "Const", [], {"value": np.array([1 << 30, 1 << 30], np.int32)}),
                ("one", "Const", [], {"value": np.array(1.0, np.float32)}),
                ("fill", "Fill", ["big", "one"], {}),
                ("a", "Add", ["pixels", "fill"], {}),
            ],
            "a constant of 1,152,921,504,606,846,976 numbers",
        ),
        (
            [
                ("sides", "Const", [], {"value": np.array([[0, 0], [0, 1 << 15]] * 2, np.int32)}),
                ("a", "Pad", ["pixels", "sides"], {}),
            ],
            "for one picture",
        ),
        (
            [
                ("shape", "Const", [], {"value": np.array([5, -1], np.int32)}),
                ("a", "Reshape", ["pixels", "shape"], {}),
            ],
            "cannot have the shape",
        ),
        (
            [
                ("k", "Const", [], {"value": np.ones((3, 3, 4, 2), np.float32)}),
                ("a", "Conv2D", ["pixels", "k"], {}),
            ],
            "its strides must be four numbers",
        ),
        ([("a", "Mean", ["pixels", "pixels"], {})], "must not depend on the picture"),
    ],
)
def test_a_bad_graph_is_refused_in_one_line(
    nodes: list[Any], said: str, tmp_path: Path, in_process: None
) -> None:
    file = save(tmp_path / "graph.pb", PIXELS, *nodes)
    assert said in refusal(f"tf:{file}?mode=tf&output=a")


def test_a_tensors_name_never_becomes_code(
    tmp_path: Path, in_process: None, capsys: pytest.CaptureFixture[str]
) -> None:
    evil = 'a", print("run")) or getattr(self, "b'
    file = save(tmp_path / "graph.pb", PIXELS, (evil, "Relu", ["pixels"], {}))
    module = opened(f"tf:{file}?mode=tf")
    module(images())
    assert capsys.readouterr().out == ""


def test_what_an_onnx_file_keeps_outside_its_folder_is_refused(tmp_path: Path) -> None:
    data = (FILES / "external" / "model.onnx").read_bytes()
    file = tmp_path / "model.onnx"
    file.write_bytes(data.replace(b"model.bin", b"../m.data"))
    (tmp_path.parent / "m.data").write_bytes((FILES / "external" / "model.bin").read_bytes())
    assert "outside" in refusal(f"onnx:{file}?mode=tf")


def test_a_damaged_checkpoint_is_told(tmp_path: Path) -> None:
    folder = tmp_path / "tf1"
    shutil.copytree(FILES / "tf1", folder)
    data = folder / "model.data-00000-of-00001"
    whole = data.read_bytes()
    data.write_bytes(whole[:-9])
    assert "cut short" in refusal(f"tf:{folder}?mode=tf")
    data.write_bytes(bytes([whole[0] ^ 1]) + whole[1:])
    assert "CRC" in refusal(f"tf:{folder}?mode=tf")


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("tflite:{}/frozen.pb", "must be a file of TensorFlow Lite; it is graph_def"),
        ("onnx:{}/float.tflite", "must be a file in ONNX; it is tflite"),
        ("tf:{}/float.tflite", "must be a TensorFlow graph"),
        ("tf:{}/tfjs_layers", "which keras: opens"),
        ("tf:{}/nowhere.pb", "no such weights file"),
        ("tf:{}/frozen.pb?ouput=scores", "Did you mean output?"),
        ("tflite:{}/float.tflite?mode=tf&scope=conv", "takes no argument 'scope'"),
        ("tf:{}/frozen.pb?mode=tf&input_px=0", "is of shape"),
        ("tf:{}/frozen.pb?mode=tf&classes=-1", "classes must be one whole number"),
        ("tf:{}/frozen.pb?mode=tf&output=Relu6&classes=5", "no classifier that could get 5"),
    ],
)
def test_what_cannot_be_meant_is_told(name: str, said: str, in_process: None) -> None:
    assert said in refusal(name)


@pytest.mark.parametrize(
    "kind", ["onnx", "onnx_external", "tf1_meta", "saved_model", "frozen", "tflite", "tflite_int8"]
)
def test_damaged_files_are_opened_or_refused(kind: str, tmp_path: Path, in_process: None) -> None:
    before = {"onnx": "onnx", "tfli": "tflite"}.get(kind[:4], "tf")
    for what, path in mutants(kind, tmp_path, 8, seed=7):
        told = ""
        try:
            catalog.find(f"{before}:{path}?mode=tf")
        except FrostlineError as error:
            told = str(error)
        assert "\n" not in told, what


def test_functions_that_call_each_other_without_end_are_refused(
    tmp_path: Path, in_process: None
) -> None:
    call = message((1, "f"))
    attribute = message((1, "f"), (2, message((10, call))))
    body = message((1, "c"), (2, "PartitionedCall"), (3, "a"), (5, attribute))
    signature = message((1, "f"), (2, message((1, "a"), (3, 1))), (3, message((1, "y"), (3, 1))))
    returned = message((1, "y"), (2, "c:output:0"))
    function = message((1, signature), (3, body), (4, returned))
    outer = message((1, "d"), (2, "PartitionedCall"), (3, "pixels"), (5, attribute))
    file = tmp_path / "graph.pb"
    save(file, PIXELS)
    file.write_bytes(file.read_bytes() + message((1, outer), (2, message((1, function)))))
    assert "its functions call each other 51 deep" in refusal(f"tf:{file}?mode=tf&output=d")
