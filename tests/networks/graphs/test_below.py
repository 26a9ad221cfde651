"""Networks with operations that are not translated: their own runtime runs what is below, frozen.

`files/below/` was written by `make_below.py`.
"""

import copy
import pickle
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from conftest import settled
from frostline.activations import engines
from frostline.base.errors import BackboneError, FrostlineError
from frostline.cli import main
from frostline.frost import TracedNetwork
from frostline.networks import catalog, model_folder
from frostline.networks.graphs import tf_program
from frostline.networks.record import OpenedBackbone
from frostline.networks.runtimes import names
from frostline.networks.runtimes.process import RuntimeGraph, RuntimeProcess
from frostline.networks.translate.runtime_part import RuntimePart
from frostline.networks.weights_files import guarded
from frostline.networks.weights_files.wire_out import field
from networks.weights_files.wire import message

FILES = Path(__file__).parent / "files" / "below"
ONE = f"onnx:{FILES}/one.onnx?mode=tf"
# The runtime, the name, what it is compared with, and the tensors that pass from it.
CASES = {
    "ONNX": ("onnx", ONE, "one_onnx", ["mixed"]),
    "two tensors": ("onnx", f"onnx:{FILES}/two.onnx?mode=tf", "two_onnx", ["running", "mixed"]),
    "nothing above": ("onnx", f"onnx:{FILES}/last.onnx?mode=tf", "last_onnx", ["scores"]),
    "TFLite": ("tflite", f"tflite:{FILES}/one.tflite?mode=tf", "one_tflite", ["running"]),
    "frozen": ("tensorflow", f"tf:{FILES}/one.pb?mode=tf", "one_pb", ["running"]),
    "SavedModel": ("tensorflow", f"tf:{FILES}/saved_model?mode=tf", "one_saved_model", ["running"]),
}


@pytest.fixture(autouse=True)
def _in_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reads without a process of its own first: the files are small, and the process is slow."""
    monkeypatch.setattr(guarded, "check", lambda path: None)


@pytest.fixture(scope="session")
def network() -> Callable[[str], tuple[OpenedBackbone, TracedNetwork]]:
    """Opens each network once: TensorFlow takes seconds to start."""
    known: dict[str, tuple[OpenedBackbone, TracedNetwork]] = {}

    def opened(name: str) -> tuple[OpenedBackbone, TracedNetwork]:
        if name not in known:
            found = catalog.find(name)
            known[name] = found, catalog.trace(found)
        return known[name]

    return opened


def need(runtime: str) -> None:
    known = names.RUNTIMES[runtime]
    if not known.is_installed():
        pytest.skip(f"{known.title} is not installed: {known.install}")


def refusal(name: str) -> str:
    with pytest.raises(FrostlineError) as caught:
        catalog.find(name)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def held(name: str) -> tuple[torch.Tensor, np.ndarray]:
    with np.load(FILES / f"{name}.npz") as found:
        return torch.from_numpy(found["images"]), found["scores"]


@pytest.mark.parametrize("case", CASES)
def test_a_network_gives_what_its_runtime_gives(case: str, network: Any) -> None:
    runtime, name, file, passed = CASES[case]
    need(runtime)
    opened, traced = network(name)
    images, scores = held(file)
    with torch.no_grad():
        np.testing.assert_allclose(opened.module(images).numpy(), scores, atol=1e-5)
        np.testing.assert_allclose(opened.module(images[:1]).numpy(), scores[:1], atol=1e-5)
    parts = [one for one in opened.module.modules() if isinstance(one, RuntimePart)]
    assert len(parts) == 1
    assert len(parts[0].shapes) == len(passed)
    assert not list(parts[0].parameters())
    (note,) = opened.notes
    assert f"{names.RUNTIMES[runtime].title} runs all below" in note
    assert passed[-1].lower() in note.lower()
    # The pictures, and what lies above: nothing within.
    assert [line.index for line in traced.lines][:2] == [0, 1]
    assert traced.lines[1].params_below == 0


def test_what_is_above_is_trained_and_what_is_below_is_not(network: Any) -> None:
    need("onnx")
    _, traced = network(ONE)
    prefix, suffix = traced.cut(traced.find("mixed"))
    images, _ = held("one_onnx")
    before = {name: one.clone() for name, one in prefix.state_dict().items()}
    activation = prefix(images)
    assert activation.shape == (3, 8, 8, 8)
    assert not activation.requires_grad
    suffix.train()(activation).square().sum().backward()
    assert {name for name, one in suffix.named_parameters() if one.grad is None} == set()
    assert all(torch.equal(one, before[name]) for name, one in prefix.state_dict().items())


@pytest.mark.parametrize("case", ["ONNX", "two tensors", "nothing above"])
def test_a_model_folder_holds_the_graph(case: str, network: Any, tmp_path: Path) -> None:
    _, name, file, _ = CASES[case]
    need("onnx")
    opened, _ = network(name)
    classes = list("abcde")[: model_folder.kind_of("onnx").outputs(opened.module)]
    extras = None if classes else {"head": {}}
    model_folder.write_folder(tmp_path, opened.module, opened.record, classes, extras)
    assert {one.name for one in tmp_path.iterdir()} == {"config.json", "model.safetensors"}
    again = catalog.find(f"dir:{tmp_path}")
    images, scores = held(file)
    with torch.no_grad():
        np.testing.assert_allclose(again.module(images).numpy(), scores, atol=1e-5)


def test_a_run_from_photos_to_predictions(photos: Path, tmp_path: Path, capsys: Any) -> None:
    need("onnx")
    run = tmp_path / "run"
    where = ["--cache-dir", str(tmp_path / "cache"), "--device", "cpu", "--precision", "bf16"]
    argv = ["train", str(photos), "--backbone", ONE, "--out", str(run), *where]
    assert main([*argv, *settled("--line", "mixed", "--epochs", 2)]) == 0
    assert "onnxruntime runs all below mixed" in capsys.readouterr().err
    assert '"unchanged": true' in (run / "metrics.json").read_text("utf-8")
    shutil.rmtree(tmp_path / "cache")
    assert main(["lines", str(run)]) == 0
    told = capsys.readouterr().out
    assert "onnxruntime runs what leads to mixed" in told
    assert "stem" not in told
    assert main(["summary", str(run)]) == 0
    assert "RuntimePart" in capsys.readouterr().out
    assert main(["evaluate", str(run), str(photos), "--device", "cpu"]) == 0
    table = tmp_path / "maps.npz"
    assert main(["embed", ONE, str(photos), "--line", "mixed", "--out", str(table), *where]) == 0
    with np.load(table) as found:
        assert found["activations"].shape == (36, 8, 8, 8)


def test_whatever_the_precision_the_runtime_gets_the_pixels_as_they_are(network: Any) -> None:
    need("onnx")
    opened, traced = network(ONE)
    line = traced.find("mixed")
    prefix, _ = traced.cut(line)
    how, device = opened.record.preprocessing, torch.device("cpu")
    pixels = torch.randint(0, 256, (2, 3, 16, 16), dtype=torch.uint8)
    exact = engines.exact(prefix, how, device)
    half = engines.prepare(prefix, how, line.shape, device, torch.bfloat16)
    assert torch.equal(half(pixels), exact(pixels).to(torch.bfloat16))
    with pytest.raises(BackboneError, match=r"^engine openvino: onnxruntime runs a part of this"):
        engines.make("openvino", half, (3, 16, 16), Path("nowhere"))


@pytest.mark.parametrize("case", ["ONNX", "frozen", "TFLite"])
def test_without_the_runtime_all_operations_are_named_and_the_extra(
    case: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    runtime, name, _, _ = CASES[case]
    monkeypatch.setattr(names.RuntimeName, "module", lambda self: "")
    told = refusal(name)
    unknown = {"onnx": "CumSum (1×)", "tensorflow": "Cumsum (1×)", "tflite": "CUMSUM (1×)"}[runtime]
    assert f"operations that are not known: {unknown}" in told
    assert told.endswith(f"pip install 'frostline[{runtime}]'.")


def test_a_folder_whose_runtime_is_not_installed_is_told(
    network: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    need("onnx")
    opened, _ = network(ONE)
    model_folder.write_folder(tmp_path, opened.module, opened.record, list("abcde"))
    monkeypatch.setattr(names.RuntimeName, "module", lambda self: "")
    again = catalog.find(f"dir:{tmp_path}")
    with pytest.raises(BackboneError, match=r"not installed: pip install 'frostline\[onnx\]'\.$"):
        again.module(torch.zeros(1, 3, 16, 16))


def test_weights_of_the_runtimes_part_cannot_be_random(network: Any, tmp_path: Path) -> None:
    need("onnx")
    assert "cannot be random" in refusal(f"{ONE}&pretrained=false")
    opened, _ = network(ONE)
    model_folder.write_folder(tmp_path, opened.module, opened.record, list("abcde"))
    empty = catalog.find(f"dir:{tmp_path}", pretrained=False)
    with pytest.raises(BackboneError, match="its weights are not those that it was saved with"):
        empty.module(torch.zeros(1, 3, 16, 16))


def test_another_number_of_channels_is_refused() -> None:
    need("onnx")
    assert "the part that onnxruntime runs takes [3, 16, 16] alone" in refusal(f"{ONE}&in_chans=1")


def test_a_copy_asks_the_same_process_and_a_pickle_another(network: Any) -> None:
    need("onnx")
    opened, _ = network(ONE)
    part = next(one for one in opened.module.modules() if isinstance(one, RuntimePart))
    assert copy.deepcopy(part)._process is part._process
    assert pickle.loads(pickle.dumps(part))._process is not part._process


def test_a_process_that_ended_is_told_and_started_again(network: Any) -> None:
    need("onnx")
    opened, _ = network(ONE)
    images, scores = held("one_onnx")
    part = next(one for one in opened.module.modules() if isinstance(one, RuntimePart))
    with torch.no_grad():
        opened.module(images)
        running = part._process._process
        assert isinstance(running, subprocess.Popen)
        running.kill()
        with pytest.raises(BackboneError, match="onnxruntime ended in its own process"):
            opened.module(images)
        np.testing.assert_allclose(opened.module(images).numpy(), scores, atol=1e-5)


def onnx_file(path: Path, *nodes: bytes, opset: bytes = b"", count: str | int = "n") -> Path:
    """Writes a model with the input `x` [n, 3, 16, 16]."""
    first = message((2, count) if isinstance(count, str) else (1, count))
    sizes = message((1, first), *((1, message((1, n))) for n in (3, 16, 16)))
    kind = message((1, message((1, 1), (2, sizes))))
    graph = message(
        *((1, node) for node in nodes),
        (2, "made"),
        (11, message((1, "x"), (2, kind))),
        (12, message((1, "y"))),
    )
    path.write_bytes(message((1, 9), (7, graph), (8, opset or message((2, 17)))))
    return path


def node(op: str, inputs: str, output: str, *attributes: bytes, domain: str = "") -> bytes:
    told = [(1, one) for one in inputs.split()] + [(2, output), (3, output), (4, op)]
    return message(*told, *((5, one) for one in attributes), *([(7, domain)] if domain else []))


def constant(output: str, *numbers: int) -> bytes:
    """A node that gives whole numbers."""
    raw = np.array(numbers, np.int64).tobytes()
    tensor = message((1, len(numbers)), (2, 7), (9, raw))
    return node("Constant", "", output, message((1, "value"), (5, tensor), (20, 4)))


def test_a_file_for_one_picture_takes_any_number_where_they_stay_apart(tmp_path: Path) -> None:
    file = onnx_file(
        tmp_path / "a.onnx",
        constant("rows", 48, 16),
        constant("again", 1, 3, 16, 16),
        node("Reshape", "x rows", "in_rows"),
        node("Relu", "in_rows", "relu"),
        node("Reshape", "relu again", "y"),
        count=1,
    )
    opened = catalog.find(f"onnx:{file}?mode=tf")
    images = torch.randn(3, 3, 16, 16)
    torch.testing.assert_close(opened.module(images), images.relu())
    assert not opened.notes


def mixing(path: Path) -> Path:
    """Writes a file for one picture, which puts channels where a batch would stand."""
    turn = message((1, "perm"), *((8, axis) for axis in (1, 0, 2, 3)), (20, 7))
    return onnx_file(
        path,
        constant("rows", 3, 256),
        constant("again", 3, 1, 16, 16),
        node("Transpose", "x", "turned", turn),
        node("Reshape", "turned rows", "in_rows"),
        node("Relu", "in_rows", "relu"),
        node("Reshape", "relu again", "back"),
        node("Transpose", "back", "y", turn),
        count=1,
    )


def test_a_file_that_would_mix_several_pictures_is_run_one_by_one(tmp_path: Path) -> None:
    need("onnx")
    opened = catalog.find(f"onnx:{mixing(tmp_path / 'a.onnx')}?mode=tf")
    images = torch.randn(3, 3, 16, 16)
    torch.testing.assert_close(opened.module(images), images.relu())
    (note,) = opened.notes
    assert note.startswith("It is made for one picture: onnxruntime runs all below y")
    traced = catalog.trace(opened)
    assert [line.params_below for line in traced.lines] == [0] * len(traced.lines)


def test_without_a_runtime_a_file_that_would_mix_pictures_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(names.RuntimeName, "is_installed", lambda self: False)
    said = refusal(f"onnx:{mixing(tmp_path / 'a.onnx')}?mode=tf")
    assert "is made for 1 at a time, and mixes pictures of a batch. Export it for any" in said
    assert said.endswith("Or let onnxruntime run it, frozen: pip install 'frostline[onnx]'.")


def test_an_array_in_another_file_is_refused_wherever_it_is_named(tmp_path: Path) -> None:
    need("onnx")
    place = message((1, "location"), (2, "/etc/passwd"))
    tensor = message((1, 1), (2, 1), (8, "w"), (13, place), (14, 1))
    value = message((1, "value"), (5, tensor), (20, 4))
    file = onnx_file(
        tmp_path / "a.onnx",
        node("Constant", "", "w", value),
        node("CumSum", "x w", "y"),
    )
    assert "outside its folder" in refusal(f"onnx:{file}?mode=tf")


def test_operations_from_elsewhere_are_not_loaded(tmp_path: Path) -> None:
    need("onnx")
    opset = message((1, "evil"), (2, 1))
    file = onnx_file(tmp_path / "a.onnx", node("Run", "x", "y", domain="evil"), opset=opset)
    assert "onnxruntime cannot run it" in refusal(f"onnx:{file}?mode=tf")


def test_memory_without_bounds_is_refused(tmp_path: Path) -> None:
    need("onnx")
    file = onnx_file(
        tmp_path / "a.onnx",
        constant("shape", 1, 3, 1 << 20, 1 << 20),
        constant("axis", 1),
        node("CumSum", "x axis", "sums"),
        node("ReduceMean", "sums", "mean"),
        node("Expand", "mean shape", "huge"),
        node("ReduceMax", "huge", "y"),
    )
    told = refusal(f"onnx:{file}?mode=tf")
    assert "onnxruntime" in told


def test_a_graph_without_end_is_ended() -> None:
    need("onnx")
    graph = RuntimeGraph("endless.onnx", "onnx", "images", ("scores",), False)
    process = RuntimeProcess(time_s=4)
    with pytest.raises(BackboneError, match=r"onnxruntime took more than 4 s in its own process"):
        process.run(graph, (FILES / "endless.onnx").read_bytes, np.ones((1, 3, 16, 16), "f"))


def test_a_graph_of_tensorflow_that_reads_files_is_refused() -> None:
    need("tensorflow")
    graph = b"".join(
        field(1, one)
        for one in (
            tf_program._placeholder("float32"),
            field(1, "name") + field(2, "Const") + text_attributes(b"/etc/passwd"),
            field(1, "read") + field(2, "ReadFile") + field(3, "name"),
        )
    )
    process = RuntimeProcess()
    asked = RuntimeGraph("a.pb", "tensorflow", tf_program.PICTURE, ("read",), False)
    with pytest.raises(BackboneError, match="does more than compute numbers"):
        process.run(asked, lambda: graph, np.ones((1, 4), np.float32))


def text_attributes(text: bytes) -> bytes:
    tensor = field(1, 7) + field(2, b"") + field(8, text)
    return tf_program._attribute("dtype", field(6, 7)) + tf_program._attribute(
        "value", field(8, tensor)
    )


def test_custom_operations_of_tflite_are_not_run(monkeypatch: pytest.MonkeyPatch) -> None:
    from frostline.networks.weights_files import tflite_file

    known = list(tflite_file.OPERATIONS)
    known[known.index("CUMSUM")] = "CUSTOM.FlexReadFile"
    monkeypatch.setattr(tflite_file, "OPERATIONS", tuple(known))
    told = refusal(CASES["TFLite"][1])
    assert "Custom operations are code from elsewhere, and are not run: CUSTOM.FlexReadFile" in told
