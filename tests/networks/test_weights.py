"""Weights files: reading them safely, and what fits."""

import argparse
import os
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from frostline.base.errors import WeightsError
from frostline.networks import weights


class Hostile:
    """Makes a file where its pickle is read with code."""

    def __init__(self, trace: Path) -> None:
        self._trace = trace

    def __reduce__(self) -> tuple[Any, ...]:
        return (os.mkdir, (str(self._trace),))


def network() -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Linear(4, 2))


def refusal(path: Path) -> str:
    with pytest.raises(WeightsError) as caught:
        weights.read(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("suffix", weights.SUFFIXES)
def test_every_kind_of_file_is_read(tmp_path: Path, suffix: str) -> None:
    file = tmp_path / f"net{suffix}"
    state = network().state_dict()
    if suffix == ".safetensors":
        save_file(state, file)
    else:
        torch.save(state, file)
    got = weights.read(file)
    assert got.keys() == state.keys()
    assert all(torch.equal(got[name], state[name]) for name in state)


def test_the_older_form_of_torch_files_is_read(tmp_path: Path) -> None:
    state = network().state_dict()
    torch.save(state, tmp_path / "net.pth", _use_new_zipfile_serialization=False)
    assert weights.read(tmp_path / "net.pth").keys() == state.keys()


@pytest.mark.parametrize(
    ("checkpoint", "wrapping"),
    [
        ({"state_dict": 1, "epoch": 3}, "state_dict"),
        ({"model": 1, "args": argparse.Namespace(lr=1)}, "model"),
        ({"model_state_dict": 1}, "model_state_dict"),
        ({"net": 1, "acc": 0.9}, "net"),
        ({"ema": 1}, "ema"),
        ({"state_dict_ema": 2, "state_dict": 1}, "state_dict"),
        ({"model_ema": 1, "model": {}}, "model_ema"),
    ],
)
def test_weights_are_taken_out_of_their_wrapping(
    tmp_path: Path, checkpoint: dict[str, Any], wrapping: str
) -> None:
    filled = {
        key: {"a": torch.full((2,), float(value))} if isinstance(value, int) else value
        for key, value in checkpoint.items()
        if key != "epoch"
    }
    torch.save({**filled, "epoch": 3}, tmp_path / "net.pth")
    got = weights.load(tmp_path / "net.pth")
    assert got.wrapping == wrapping
    assert got.tensors["a"].tolist() == [1.0, 1.0]


def test_a_wrapping_in_a_wrapping(tmp_path: Path) -> None:
    torch.save({"model": {"state_dict": {"a": torch.ones(1)}}}, tmp_path / "net.pth")
    assert weights.load(tmp_path / "net.pth").wrapping == "model.state_dict"


@pytest.mark.parametrize("protocol", [0, 1, 2, 3, 4, 5])
def test_a_hostile_pickle_is_refused_and_runs_nothing(tmp_path: Path, protocol: int) -> None:
    trace, file = tmp_path / "trace", tmp_path / "net.pth"
    file.write_bytes(pickle.dumps({"state_dict": Hostile(trace)}, protocol=protocol))
    assert "refused: this pickle" in refusal(file)
    assert not trace.exists()


def test_a_hostile_checkpoint_names_what_it_would_have_called(tmp_path: Path) -> None:
    trace, file = tmp_path / "trace", tmp_path / "net.bin"
    torch.save({"state_dict": {"a": torch.ones(1)}, "extra": Hostile(trace)}, file)
    message = refusal(file)
    assert "refused: this pickle needs posix.mkdir, and pickles can run code; nothing" in message
    assert "save its tensors alone as .safetensors" in message
    assert not trace.exists()


def test_a_whole_pickled_network_is_refused(tmp_path: Path) -> None:
    torch.save(nn.Linear(2, 2), tmp_path / "net.pt")
    assert "needs torch.nn.modules.linear.Linear" in refusal(tmp_path / "net.pt")


@pytest.mark.parametrize("name", ["net.pth", "net.safetensors"])
@pytest.mark.parametrize("content", [b"", b"<html>not found</html>", b"plain words, no more"])
def test_what_is_no_weights_file_says_so(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    assert refusal(tmp_path / name).endswith("Fetch it again.")


@pytest.mark.parametrize("name", ["net.pth", "net.safetensors"])
def test_a_truncated_file_says_so(tmp_path: Path, name: str) -> None:
    file = tmp_path / name
    if name.endswith("pth"):
        torch.save({"a": torch.rand(1000)}, file)
    else:
        save_file({"a": torch.rand(1000)}, file)
    file.write_bytes(file.read_bytes()[:2000])
    assert refusal(file).endswith("Fetch it again.")


def test_other_kinds_of_files_are_named(tmp_path: Path) -> None:
    for name in ("net.h5", "net.onnx"):
        (tmp_path / name).touch()
    assert "Keras weights are not read; known are .safetensors, .pth" in refusal(
        tmp_path / "net.h5"
    )
    assert ".onnx files are not read" in refusal(tmp_path / "net.onnx")
    assert refusal(tmp_path / "net.h6").endswith("no such weights file. Did you mean net.h5?")


def test_a_file_without_named_tensors_says_what_it_holds(tmp_path: Path) -> None:
    torch.save({"student": {"a": torch.ones(1)}, "epoch": 1}, tmp_path / "a.pth")
    assert "no named tensors in it; its keys are student, epoch." in refusal(tmp_path / "a.pth")
    torch.save([torch.ones(1)], tmp_path / "b.pth")
    assert "holds a list, where a table of named tensors must be" in refusal(tmp_path / "b.pth")


def test_a_real_checkpoint_is_read(assets: Path) -> None:
    got = weights.load(assets / "weights" / "resnet20_cifar10.th")
    assert got.wrapping == "state_dict"
    assert tuple(got.tensors["module.linear.weight"].shape) == (10, 64)


@pytest.mark.parametrize(
    "prefix", ["", "module.", "model.", "module.model.", "_orig_mod.module.", "module.module."]
)
def test_prefixes_are_taken_off_where_that_helps(prefix: str) -> None:
    source, target = network(), network()
    state = {prefix + name: tensor for name, tensor in source.state_dict().items()}
    match = weights.apply(target, state, where="here", partial=False)
    assert (match.stripped, match.complete) == (prefix, True)
    assert all(map(torch.equal, target.state_dict().values(), source.state_dict().values()))


def test_prefixes_that_are_the_networks_own_stay() -> None:
    target = nn.ModuleDict({"model": nn.Linear(2, 2)})
    match = weights.apply(target, target.state_dict(), where="here", partial=False)
    assert match.stripped == ""


def test_missing_counters_are_no_mismatch() -> None:
    state = {n: t for n, t in network().state_dict().items() if "num_batches" not in n}
    assert weights.apply(network(), state, where="here", partial=False).complete


@pytest.mark.parametrize("change", ["missing", "shape", "left over"])
def test_weights_that_do_not_fit_change_nothing(change: str) -> None:
    target, state = network(), network().state_dict()
    if change == "missing":
        del state["2.bias"]
        said = "7 of the network's 8 tensors match, 1 missing (2.bias)"
    elif change == "shape":
        state["0.weight"] = torch.zeros(4, 3, 5, 5)
        said = "1 of another shape (0.weight: network [4, 3, 3, 3], file [4, 3, 5, 5])"
    else:
        state["3.weight"] = torch.zeros(1)
        said = "1 left over (3.weight)"
    for name in [name for name in state if "num_batches" in name]:
        del state[name]
    state["0.bias"] = torch.full((4,), 9.0)
    before = {name: tensor.clone() for name, tensor in target.state_dict().items()}
    with pytest.raises(WeightsError) as caught:
        weights.apply(target, state, where="net.pth into timm:x", partial=False)
    assert str(caught.value).startswith("net.pth into timm:x: the weights do not fit: ")
    assert said in str(caught.value)
    assert "--partial" in str(caught.value)
    assert all(torch.equal(target.state_dict()[name], before[name]) for name in before)


def test_a_partial_match_loads_what_fits() -> None:
    source, target = network(), network()
    state = source.state_dict()
    del state["2.bias"]
    state["2.weight"] = torch.zeros(7, 4)
    state["extra"] = torch.zeros(1)
    kept = target.state_dict()["2.weight"].clone()
    match = weights.apply(target, state, where="here", partial=True, wrapping="state_dict")
    assert (match.missing, match.unexpected) == (("2.bias",), ("extra",))
    assert match.mismatched == (("2.weight", (2, 4), (7, 4)),)
    assert torch.equal(target.state_dict()["0.weight"], source.state_dict()["0.weight"])
    assert torch.equal(target.state_dict()["2.weight"], kept)
    assert weights.table(match) == [
        "matched          7  found under state_dict",
        "missing          1  2.bias",
        "other shape      1  2.weight: network [2, 4], file [7, 4]",
        "left over        1  extra",
    ]


def test_a_partial_match_of_nothing_is_an_error() -> None:
    with pytest.raises(WeightsError, match="0 of the network's 8 tensors match"):
        weights.apply(network(), {"a": torch.ones(1)}, where="here", partial=True)
