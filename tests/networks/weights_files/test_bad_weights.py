"""What is wrong with a weights file is said in one line, and nothing in it is ever run."""

import json
import os
import pickle
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch

from frostline.base.errors import WeightsError
from frostline.networks.weights_files import guarded
from frostline.networks.weights_files.formats import open_file
from networks.weights_files import wire
from networks.weights_files.makers import expected, make


def refusal(path: Path) -> str:
    """What is said where a file is opened and all of it is read."""
    with pytest.raises(WeightsError) as refused:
        [tensor.values() for tensor in open_file(path).tensors.values()]
    said = str(refused.value)
    assert "\n" not in said
    return said


class Harm:
    """Makes a folder when a pickle of it is loaded."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.folder),)


@pytest.mark.parametrize("protocol", range(6))
def test_a_pickle_with_code_is_refused_and_not_run(protocol: int, tmp_path: Path) -> None:
    harm = Harm(tmp_path / "harm")
    (tmp_path / "a.pkl").write_bytes(pickle.dumps({"w": np.ones(3), "x": harm}, protocol))
    torch.save({"x": harm}, tmp_path / "a.pth", pickle_protocol=max(protocol, 2))
    np.save(tmp_path / "a.npy", np.array([harm], object), allow_pickle=True)
    for name in ("a.pkl", "a.pth", "a.npy"):
        assert "refused: this pickle needs posix.mkdir" in refusal(tmp_path / name)
    assert not harm.folder.exists()


def test_a_whole_module_of_torch_is_refused_by_its_class(tmp_path: Path) -> None:
    torch.save(torch.nn.Linear(2, 2), tmp_path / "model.pt")
    assert "needs torch.nn.modules.linear.Linear" in refusal(tmp_path / "model.pt")


def test_a_torchscript_program_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "model.pt", "w") as archive:
        for name in ("m/data.pkl", "m/constants.pkl", "m/code/m.py"):
            archive.writestr(name, pickle.dumps({}, 2))
    assert "a TorchScript program, which is code" in refusal(tmp_path / "model.pt")


def test_a_pickle_that_holds_itself_is_refused(tmp_path: Path) -> None:
    value: dict[str, Any] = {"w": np.ones(3)}
    value["again"] = value
    (tmp_path / "a.pkl").write_bytes(pickle.dumps(value))
    assert "holds itself, in a circle" in refusal(tmp_path / "a.pkl")


def test_lists_of_lists_that_grow_without_end_are_refused(tmp_path: Path) -> None:
    value: Any = [np.ones(1)]
    for _ in range(60):
        value = [value, value]
    (tmp_path / "a.pkl").write_bytes(pickle.dumps(value))
    assert "more than 200000 values" in refusal(tmp_path / "a.pkl")


def test_a_pickle_of_objects_as_array_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.pkl").write_bytes(pickle.dumps({"w": np.array([{}, None], object)}))
    assert "no type for weights" in refusal(tmp_path / "a.pkl")


def test_a_zip_bomb_is_refused(tmp_path: Path) -> None:
    np.savez_compressed(tmp_path / "bomb.npz", w=np.zeros(1 << 23))
    assert "zip bomb: w.npy unpacks" in refusal(tmp_path / "bomb.npz")


def test_members_that_share_bytes_are_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", one=np.ones(100), two=np.ones(100))
    data = bytearray((tmp_path / "a.npz").read_bytes())
    second = data.rfind(b"PK\x01\x02")
    first = data.rfind(b"PK\x01\x02", 0, second)
    data[second + 42 : second + 46] = data[first + 42 : first + 46]
    (tmp_path / "a.npz").write_bytes(data)
    assert "share bytes" in refusal(tmp_path / "a.npz")


@pytest.mark.parametrize(
    ("kind", "shard", "said"),
    [
        ("tf1_checkpoint", "model.data-00000-of-00001", "cut short"),
        ("tf2_checkpoint", "ckpt.data-00000-of-00001", "cut short"),
        ("saved_model", "variables/variables.data-00000-of-00001", "cut short"),
        ("tfjs_layers", "group1-shard2of2.bin", "cut short"),
        ("onnx_external", "model.bin", "cut short"),
    ],
)
def test_a_shard_that_is_cut_short_or_absent_is_named(
    kind: str, shard: str, said: str, tmp_path: Path
) -> None:
    path = make(kind, tmp_path / kind)
    file = (path if path.is_dir() else path.parent) / shard
    file.write_bytes(file.read_bytes()[:-100])
    assert said in refusal(path)
    assert file.name in refusal(path)
    file.unlink()
    assert "is not there" in refusal(path)
    assert file.name in refusal(path)


def test_a_shard_of_safetensors_that_is_cut_short_is_named(tmp_path: Path) -> None:
    make("safetensors", tmp_path / "one")
    index = tmp_path / "one" / "model.safetensors.index.json"
    places = dict.fromkeys(expected(), "model.safetensors")
    index.write_text(json.dumps({"weight_map": {**places, "more": "model.safetensors"}}))
    assert "more is not in model.safetensors" in refusal(index)
    shard = tmp_path / "one" / "model.safetensors"
    shard.write_bytes(shard.read_bytes()[:-4])
    assert "lie beyond the end" in refusal(index)
    index.write_text(json.dumps({"weight_map": {"w": "../model.safetensors"}}))
    assert "lies outside its folder" in refusal(index)


def test_a_wrong_checksum_is_named(tmp_path: Path) -> None:
    folder = make("tf1_checkpoint", tmp_path / "one")
    for name, said in (("model.index", "block"), ("model.data-00000-of-00001", "conv/bias")):
        file = folder / name
        whole = file.read_bytes()
        file.write_bytes(bytes([whole[0] ^ 1]) + whole[1:])
        assert "wrong CRC" in refusal(folder)
        assert said in refusal(folder)
        file.write_bytes(whole)
    open_file(folder)


def test_the_command_verifies_checksums_as_well(tmp_path: Path) -> None:
    folder = make("tf1_checkpoint", tmp_path / "one")
    file = folder / "model.data-00000-of-00001"
    whole = file.read_bytes()
    file.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    with pytest.raises(WeightsError, match="wrong CRC"):
        guarded.inspect(folder)


def test_circles_and_lost_inputs_in_graphs_are_named(tmp_path: Path) -> None:
    path = tmp_path / "graph.pb"
    a, b, c = (wire.node("a", "Relu", "b"), wire.node("b", "Relu", "a:0"), wire.node("c", "NoOp"))
    assert "runs in a circle through a" in refusal(wire.graph(path, a, b, c))
    assert "b takes 'a', which nothing gives" in refusal(wire.graph(path, b, c))
    assert "two nodes are called c" in refusal(wire.graph(path, c, c))
    loop = (wire.node("a", "Merge", "b"), wire.node("b", "NextIteration", "a"))
    assert open_file(wire.graph(path, *loop)).graph is not None


def test_a_circle_in_onnx_is_named(tmp_path: Path) -> None:
    nodes = [
        wire.message((1, taken), (2, given), (3, f"node {given}"), (4, "Relu"))
        for taken, given in (("a", "b"), ("b", "a"))
    ]
    graph = wire.message(*((1, node) for node in nodes))
    model = wire.message((1, 8), (7, graph), (8, wire.message((2, 13))))
    (tmp_path / "a.onnx").write_bytes(model)
    assert "runs in a circle through node b" in refusal(tmp_path / "a.onnx")


def test_a_circle_of_keras_layers_is_named(tmp_path: Path) -> None:
    layers = [
        {"name": name, "class_name": "ReLU", "config": {}, "inbound_nodes": [[[other, 0, 0, {}]]]}
        for name, other in (("a", "b"), ("b", "a"))
    ]
    config = {"class_name": "Functional", "config": {"layers": layers}}
    with h5py.File(tmp_path / "model.h5", "w") as file:
        file.attrs["model_config"] = json.dumps(config)
        file.create_group("model_weights").attrs["layer_names"] = [b"a"]
        file["model_weights"].create_group("a")
    assert "runs in a circle through a" in refusal(tmp_path / "model.h5")


def test_variables_without_values_are_named(tmp_path: Path) -> None:
    frozen = wire.graph(tmp_path / "graph.pb", wire.node("w", "VariableV2"))
    assert "1 variables without values (w)" in refusal(frozen)
    meta = make("tf1_meta", tmp_path / "meta")
    meta.with_suffix(".index").unlink()
    assert "5 variables without values (conv/kernel, conv/bias, dw/kernel, …)" in refusal(meta)
    saved = make("saved_model", tmp_path / "saved")
    (saved / "variables" / "variables.index").unlink()
    assert "variables without values" in refusal(saved)


def test_unknown_types_are_named(tmp_path: Path) -> None:
    header = json.dumps({"w": {"dtype": "F3", "shape": [1], "data_offsets": [0, 4]}}).encode()
    path = tmp_path / "a.safetensors"
    path.write_bytes(len(header).to_bytes(8, "little") + header + bytes(4))
    assert "type F3 is unknown" in refusal(path)
    array = wire.message((1, 1), (2, 99), (8, "w"), (9, bytes(4)))
    model = wire.message((1, 8), (7, wire.message((5, array))), (8, wire.message((2, 13))))
    (tmp_path / "a.onnx").write_bytes(model)
    assert "w is of type 99, which is unknown" in refusal(tmp_path / "a.onnx")
    kind = wire.message((1, "dtype"), (2, wire.message((6, 77))))
    graph = wire.message((1, wire.message((1, "a"), (2, "Relu"), (5, kind))))
    (tmp_path / "a.pb").write_bytes(graph)
    assert "type 77 is unknown" in refusal(tmp_path / "a.pb")


@pytest.mark.parametrize(
    "name", ["../secret.bin", "/etc/passwd", "a/../../secret.bin", "c:\\x", ""]
)
def test_external_data_of_onnx_outside_its_folder_is_refused(name: str, tmp_path: Path) -> None:
    (tmp_path / "secret.bin").write_bytes(bytes(64))
    (tmp_path / "model").mkdir()
    path = onnx_with(tmp_path / "model" / "a.onnx", name)
    assert "lies outside its folder" in refusal(path)


def test_a_link_out_of_the_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "secret.bin").write_bytes(bytes(64))
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "w.bin").symlink_to(tmp_path / "secret.bin")
    path = onnx_with(tmp_path / "model" / "a.onnx", "w.bin")
    assert "a link that leads out of its folder" in refusal(path)


def test_links_to_files_side_by_side_are_followed(tmp_path: Path) -> None:
    for name in ("blobs", "snapshot"):
        (tmp_path / name).mkdir()
    onnx_with(tmp_path / "blobs" / "1", "w.bin")
    (tmp_path / "blobs" / "2").write_bytes(bytes(4))
    (tmp_path / "snapshot" / "a.onnx").symlink_to(tmp_path / "blobs" / "1")
    (tmp_path / "snapshot" / "w.bin").symlink_to(tmp_path / "blobs" / "2")
    np.testing.assert_array_equal(
        open_file(tmp_path / "snapshot" / "a.onnx").tensors["w"].array(), np.zeros(1)
    )


def onnx_with(path: Path, location: str) -> Path:
    """A model of one array whose bytes lie in another file."""
    place = wire.message((1, "location"), (2, location))
    array = wire.message((1, 1), (2, 1), (8, "w"), (13, place), (14, 1))
    opset = wire.message((2, 17))
    path.write_bytes(wire.message((1, 8), (7, wire.message((5, array))), (8, opset)))
    return path


@pytest.mark.parametrize("name", ["../w.bin", "/w.bin"])
def test_shards_of_tfjs_outside_its_folder_are_refused(name: str, tmp_path: Path) -> None:
    path = make("tfjs_layers", tmp_path / "one") / "model.json"
    model = json.loads(path.read_text())
    model["weightsManifest"][0]["paths"][0] = name
    path.write_text(json.dumps(model))
    assert "lies outside its folder" in refusal(path)


def _external_set(file: h5py.File, folder: Path) -> None:
    (folder / "secret.bin").write_bytes(bytes(64))
    file.create_dataset("w", (4,), "f4", external=[(str(folder / "secret.bin"), 0, 16)])


def _virtual_set(file: h5py.File, folder: Path) -> None:
    layout = h5py.VirtualLayout((4,), "f4")
    layout[:] = h5py.VirtualSource(folder / "other.h5", "w", (4,))
    file.create_virtual_dataset("w", layout)


def _oversized(file: h5py.File, folder: Path) -> None:
    file.create_dataset("w", (1 << 40,), "f4", chunks=(1024,))


def _external_link(file: h5py.File, folder: Path) -> None:
    file["w"] = h5py.ExternalLink(str(folder / "other.h5"), "w")


def _soft_link(file: h5py.File, folder: Path) -> None:
    file["w"] = h5py.SoftLink("/elsewhere")


@pytest.mark.parametrize(
    ("write", "said"),
    [
        (_external_set, "w is external"),
        (_virtual_set, "w is virtual"),
        (_oversized, "w is oversized: it declares 4398046511104 bytes and stores 0"),
        (_external_link, "w is a link to"),
        (_soft_link, "w is a link to elsewhere"),
    ],
)
def test_data_sets_that_are_not_safe_are_named(
    write: Callable[[h5py.File, Path], None], said: str, tmp_path: Path
) -> None:
    with h5py.File(tmp_path / "model.h5", "w") as file:
        write(file, tmp_path)
    assert said in refusal(tmp_path / "model.h5")


def test_groups_that_hold_each_other_end(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "model.h5", "w") as file:
        group = file.create_group("a")
        group["w"] = np.ones(3)
        group["again"] = group
    assert set(open_file(tmp_path / "model.h5").tensors) == {"a/w"}


def test_what_is_no_weights_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").write_bytes(b"")
    assert "not a whole safetensors file" in refusal(tmp_path / "model.safetensors")
    (tmp_path / "readme.txt").write_text("no weights")
    assert "no weights file of a known format" in refusal(tmp_path / "readme.txt")
    assert "Did you mean readme.txt" in refusal(tmp_path / "redme.txt")
    (tmp_path / "empty").mkdir()
    assert "no weights file of a known format" in refusal(tmp_path / "empty")
    os.mkfifo(tmp_path / "pipe.npz")
    assert "no weights file" in refusal(tmp_path / "pipe.npz")


def test_json_that_nests_without_end_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "model.json"
    path.write_text('{"weightsManifest":' + "[" * 200_000)
    assert "not a whole TensorFlow.js model" in refusal(path)


def test_what_takes_too_long_or_too_much_is_refused_by_the_process_apart(tmp_path: Path) -> None:
    slow = tmp_path / "slow.pkl"
    slow.write_bytes(b"\x80\x02" + b"N0" * 8_000_000 + b"N.")
    with pytest.raises(WeightsError, match="takes more than 1 seconds") as refused:
        guarded.inspect(slow, time_s=1)
    assert "\n" not in str(refused.value)
    large = tmp_path / "large.pkl"
    large.write_bytes(b"\x80\x02(" + b"J1234" * 3_000_000 + b"t.")
    with pytest.raises(WeightsError, match="memory"):
        guarded.inspect(large, memory_bytes=64 << 20, time_s=60)


def test_a_process_that_crashes_costs_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = make("npy", tmp_path / "one")
    program = tmp_path / "python"
    program.write_text("#!/bin/sh\nkill -SEGV $$\n")
    program.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(program))
    with pytest.raises(WeightsError, match=r"crashed a library \(SIGSEGV\)"):
        guarded.inspect(path)


@pytest.mark.parametrize(
    "act",
    [
        "open('/etc/passwd')",
        "open(folder + '/w.npy', 'w')",
        "os.open(folder + '/new', os.O_CREAT | os.O_RDWR)",
        "os.system('true')",
        "subprocess.run(['true'])",
        "socket.socket()",
        "os.remove(folder + '/w.npy')",
        "os.fork()",
        "os.symlink('/etc/passwd', folder + '/link')",
    ],
)
def test_the_reading_process_has_no_way_out(act: str, tmp_path: Path) -> None:
    np.save(tmp_path / "w.npy", np.ones(3))
    code = (
        "import os, socket, subprocess, sys; from pathlib import Path; folder = sys.argv[1]\n"
        "from frostline.networks.weights_files import bounds\n"
        "sys.addaudithook(bounds.watch(Path(folder, 'w.npy')))\n"
        f"open(folder + '/w.npy', 'rb').close()\ntry:\n    {act}\n"
        "except PermissionError as error:\n    print(error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=True
    )
    assert "has no place in reading weights" in done.stdout
    assert [path.name for path in tmp_path.iterdir()] == ["w.npy"]


def test_the_bounds_of_the_reading_process_hold() -> None:
    code = (
        "import sys\nfrom frostline.networks.weights_files import bounds\n"
        "bounds.limit(64 << 20, 5)\n"
        "try:\n    bytearray(256 << 20)\nexcept MemoryError:\n    print('refused')\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "refused\n"
