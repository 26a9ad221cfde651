"""Every operation that is known, against what TensorFlow and ONNX make of the same pictures.

`files/` was written by `make_files.py`.
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from frostline.networks.graphs import onnx, onnx_files, tensorflow, tf_files, tflite_files
from frostline.networks.graphs.opening import Asked
from frostline.networks.runtimes import names
from frostline.networks.translate.network import TranslatedNetwork
from frostline.networks.weights_files import formats, guarded

FILES = Path(__file__).parent / "files"
IMAGES = torch.from_numpy(np.load(FILES / "images.npy")).permute(0, 3, 1, 2)
TENSORFLOW, TFLITE, ONNX = (
    dict(np.load(FILES / f"operations_{kind}.npz")) for kind in ("pb", "tflite", "onnx")
)


# Twins of operations that are met, and what only files of 8 bits or of training have.
NOT_MET = {
    "tensorflow": {
        *(
            "BatchMatMul",
            "BatchMatMulV3",
            "BroadcastTo",
            "CheckNumerics",
            "FusedBatchNorm",
            "FusedBatchNormV2",
        ),
        *("FusedDepthwiseConv2dNative", "Gather", "ReadVariableOp", "Size"),
    },
    "onnx": {"Cast", "QuantizeLinear", "ReduceProd", "Size", "Upsample"},
}


@pytest.fixture(autouse=True)
def _no_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process for each of these files would take most of the time."""
    monkeypatch.setattr(guarded, "check", lambda path: None)
    # What is compared here is translated: no other framework helps.
    monkeypatch.setattr(names.RuntimeName, "module", lambda self: "")


def given(network: TranslatedNetwork, layout: str, count: int = 2) -> np.ndarray:
    """What a network gives, in the axes of its source and with its last function."""
    with torch.no_grad():
        found = network.module(IMAGES[:count])
    if network.graph.scores != "none":
        found = {"softmax": torch.softmax, "sigmoid": lambda x, _: x.sigmoid()}[
            network.graph.scores
        ](found, -1)
    if found.dim() == 4 and layout == "channels_last":
        found = found.permute(0, 2, 3, 1)
    return found.numpy()


def compare(
    open_network: Callable[[Asked], TranslatedNetwork], name: str, wanted: np.ndarray
) -> None:
    network = open_network(Asked(output=name, mode="unit"))
    found = given(network, network.graph.layout)
    assert found.shape == wanted.shape
    np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-5)
    # It takes pictures one by one, too.
    np.testing.assert_allclose(given(network, network.graph.layout, 1), wanted[:1], 1e-4, 1e-5)


@pytest.mark.parametrize("name", TENSORFLOW)
def test_tensorflow(name: str) -> None:
    compare(
        lambda asked: tf_files.open_file(FILES / "operations.pb", asked),
        f"out/{name}",
        TENSORFLOW[name],
    )


@pytest.mark.parametrize("name", TFLITE)
def test_tflite(name: str, tmp_path: Path) -> None:
    file = tmp_path / "model.tflite"
    with np.load(FILES / "operations_tflite_files.npz") as models:
        file.write_bytes(models[name].tobytes())
    compare(lambda asked: tflite_files.open_file(file, Asked(mode=asked.mode)), name, TFLITE[name])


@pytest.mark.parametrize("name", ONNX)
def test_onnx(name: str) -> None:
    compare(lambda asked: onnx_files.open_file(FILES / "operations.onnx", asked), name, ONNX[name])


def test_a_graph_model_of_tensorflow_js() -> None:
    network = tf_files.open_file(FILES / "tfjs", Asked(mode="unit"))
    wanted = np.load(FILES / "tfjs" / "scores.npy")
    np.testing.assert_allclose(given(network, "channels_last"), wanted, 1e-4, 1e-5)
    assert network.classifier == "scores"


def test_every_operation_is_met_by_some_file() -> None:
    """Others could be wrong for years."""
    for kind, table, files in (
        ("tensorflow", tensorflow.OPERATIONS, ["operations.pb", "tfjs"]),
        ("onnx", onnx.OPERATIONS, ["operations.onnx"]),
    ):
        met = set()
        for file in files:
            graph = formats.open_file(FILES / file).graph
            assert graph is not None
            met |= {node.op for node in graph.nodes}
        assert set(table) - met <= NOT_MET[kind]
