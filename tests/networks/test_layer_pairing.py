"""Weights files of every format into networks that know nothing of it."""

from collections.abc import Callable, Mapping
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional

from frostline.base.errors import WeightsError
from frostline.networks import layer_pairing
from frostline.networks.network_layers import layers_of

FILES = Path(__file__).parent / "weights_files" / "files"
SHAPE = (3, 8, 8)


class Twin(nn.Module):
    """The network of the files, with names and an order of its own."""

    def __init__(self, names: tuple[str, str, str] = ("conv", "dw", "fc")) -> None:
        super().__init__()
        self.names = names
        for name, layer in zip(
            names,
            (
                nn.Conv2d(3, 4, 3, 2, 1),
                nn.Conv2d(4, 4, 3, 1, 1, groups=4, bias=False),
                nn.Linear(4, 3),
            ),
            strict=True,
        ):
            self.add_module(name, layer)

    def forward(self, images: Tensor) -> Tensor:
        first, second, last = (self.get_submodule(name) for name in self.names)
        scores: Tensor = last(functional.relu6(second(first(images))).mean((2, 3)))
        return scores


class Flattening(nn.Module):
    """A norm without bias before it, and a dense layer behind a flattened map."""

    def __init__(self, bias: bool = False) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 4, 3, padding=1, bias=bias)
        self.norm = nn.Identity() if bias else nn.BatchNorm2d(4, eps=1e-3)
        self.pool = nn.MaxPool2d(2)
        self.hidden = nn.Linear(4 * 4 * 4, 5)
        self.last = nn.Linear(5, 2)

    def forward(self, images: Tensor) -> Tensor:
        maps = self.pool(functional.relu(self.norm(self.first(images))))
        scores: Tensor = self.last(functional.relu(self.hidden(maps.flatten(1))))
        return scores


def expected() -> dict[str, np.ndarray]:
    with np.load(FILES / "expected.npz") as held:
        return dict(held)


def check_twin(tensors: Mapping[str, Tensor], names: tuple[str, str, str], atol: float) -> None:
    known = expected()
    first, second, last = names
    wanted = {
        f"{first}.weight": known["conv/kernel"].transpose(3, 2, 0, 1),
        f"{first}.bias": known["conv/bias"],
        f"{second}.weight": known["dw/kernel"].transpose(2, 3, 0, 1),
        f"{last}.weight": known["fc/kernel"].T,
        f"{last}.bias": known["fc/bias"],
    }
    assert tensors.keys() == wanted.keys()
    for name, array in wanted.items():
        np.testing.assert_allclose(tensors[name].numpy(), array, rtol=0, atol=atol)


@pytest.mark.parametrize(
    "file", ["expected.npz", "frozen.pb", "tf1/model.index", "tf2/ckpt.index", "saved_model"]
)
def test_layers_of_one_name_are_paired_whatever_the_format(file: str) -> None:
    found = layer_pairing.pair(FILES / file, Twin().eval(), SHAPE, "name")
    assert (found.way, found.left_out) == ("name", ())
    check_twin(found.tensors, ("conv", "dw", "fc"), 0.0)


@pytest.mark.parametrize(
    ("file", "atol"),
    [
        ("model.onnx", 0),
        ("external/model.onnx", 0),
        ("float.tflite", 0),
        ("frozen.pb", 0),
        ("int8.tflite", 0.02),
    ],
)
@pytest.mark.parametrize("way", ["graph", "auto"])
def test_the_graph_pairs_layers_of_any_names(file: str, atol: float, way: str) -> None:
    names = ("stem", "blocks", "head")
    found = layer_pairing.pair(FILES / file, Twin(names).eval(), SHAPE, way)
    assert (found.way, found.left_out) == ("graph", ())
    check_twin(found.tensors, names, atol)


@pytest.mark.parametrize("file", ["expected.npz", "tf1/model.index"])
def test_the_order_of_a_file_pairs_layers_of_any_names(file: str) -> None:
    names = ("a", "b", "c")
    found = layer_pairing.pair(FILES / file, Twin(names).eval(), SHAPE)
    assert (found.way, found.problem) == ("order", "")
    check_twin(found.tensors, names, 0.0)


def test_layers_are_found_as_they_run_not_as_they_are_held() -> None:
    net = Twin()
    first = net._modules.pop("conv")
    net.add_module("conv", first)
    assert [one.name for one in layers_of(net.eval(), SHAPE)] == ["dw", "fc", "conv"]
    assert [one.name for one in layers_of(net, SHAPE, as_run=True)] == ["conv", "dw", "fc"]
    found = layer_pairing.pair(FILES / "float.tflite", net, SHAPE, "graph")
    check_twin(found.tensors, ("conv", "dw", "fc"), 0.0)


def channels_last(net: Flattening) -> dict[str, np.ndarray]:
    """The arrays of a network as TensorFlow would hold them."""
    state = {name: tensor.detach().numpy() for name, tensor in net.state_dict().items()}
    rows = state["hidden.weight"].reshape(5, 4, 4, 4).transpose(0, 2, 3, 1).reshape(5, 64)
    held = {"first/kernel": state["first.weight"].transpose(2, 3, 1, 0)}
    held |= {"first/bias": state["first.bias"]} if "first.bias" in state else {}
    if "norm.weight" in state:
        held |= {"norm/gamma": state["norm.weight"], "norm/beta": state["norm.bias"]}
        held |= {"norm/moving_mean": state["norm.running_mean"]}
        held |= {"norm/moving_variance": state["norm.running_var"]}
    held |= {"hidden/kernel": rows.T, "hidden/bias": state["hidden.bias"]}
    return held | {"last/kernel": state["last.weight"].T, "last/bias": state["last.bias"]}


def shaken(net: nn.Module) -> nn.Module:
    torch.manual_seed(0)
    for tensor in (*net.parameters(), *(b for b in net.buffers() if b.is_floating_point())):
        with torch.no_grad():
            tensor.uniform_(0.2, 1.0)
    return net.eval()


def renamed(held: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The same under names that no network has, in the same order."""
    layers = list(dict.fromkeys(name.split("/")[0] for name in held))
    return {f"l{layers.index(n.split('/')[0])}/{n.split('/')[1]}": a for n, a in held.items()}


@pytest.mark.parametrize("rename", [dict, renamed])
def test_a_dense_layer_behind_a_flatten_is_put_into_another_order(
    rename: Callable[[Mapping[str, np.ndarray]], dict[str, np.ndarray]], tmp_path: Path
) -> None:
    source, images = shaken(Flattening()), torch.rand(3, *SHAPE)
    assert isinstance(source, Flattening)
    np.savez(tmp_path / "net.npz", **rename(channels_last(source)))  # type: ignore[arg-type]
    target = Flattening().eval()
    found = layer_pairing.pair(tmp_path / "net.npz", target, SHAPE)
    assert found.way == ("name" if rename is dict else "order")
    target.load_state_dict(found.tensors, strict=False)
    assert torch.equal(target(images), source(images))


def test_a_file_of_pytorch_is_not_put_into_another_order(tmp_path: Path) -> None:
    source, images = shaken(Flattening()), torch.rand(3, *SHAPE)
    state = {f"{i}.{n.split('.')[1]}": t for i, n, t in _numbered(source)}
    save_file(state, tmp_path / "net.safetensors")
    target = Flattening().eval()
    found = layer_pairing.pair(tmp_path / "net.safetensors", target, SHAPE, "order")
    target.load_state_dict(found.tensors, strict=False)
    assert torch.equal(target(images), source(images))


def _numbered(net: nn.Module) -> list[tuple[int, str, Tensor]]:
    names = [n for n in net.state_dict() if not n.endswith("num_batches_tracked")]
    layers = list(dict.fromkeys(name.split(".")[0] for name in names))
    return [(layers.index(n.split(".")[0]), n, net.state_dict()[n].contiguous()) for n in names]


def test_a_norm_that_was_folded_is_filled_with_its_bias(tmp_path: Path) -> None:
    source, images = shaken(Flattening(bias=True)), torch.rand(3, *SHAPE)
    assert isinstance(source, Flattening)
    np.savez(tmp_path / "net.npz", **renamed(channels_last(source)))  # type: ignore[arg-type]
    target = Flattening().eval()
    found = layer_pairing.pair(tmp_path / "net.npz", target, SHAPE, "order")
    assert (found.problem, found.left_out) == ("", ())
    target.load_state_dict(found.tensors, strict=False)
    assert torch.allclose(target(images), source(images), rtol=1e-5)


def test_averages_and_slots_of_optimisers_are_not_weights(tmp_path: Path) -> None:
    held = expected()
    slots = {f"{name}/Adam": value for name, value in held.items()}
    np.savez(tmp_path / "net.npz", global_step=np.float32(3), **held, **slots)
    found = layer_pairing.pair(tmp_path / "net.npz", Twin().eval(), SHAPE, "name")
    assert found.left_out == ()


def test_a_file_without_names_is_turned_where_theano_trained_it(tmp_path: Path) -> None:
    source, images = shaken(Flattening(bias=True)), torch.rand(3, *SHAPE)
    state = {name: tensor.detach().numpy() for name, tensor in source.state_dict().items()}
    with h5py.File(tmp_path / "net.h5", "w") as file:
        file.attrs["nb_layers"] = 3
        for number, layer in enumerate(("first", "hidden", "last")):
            group = file.create_group(f"layer_{number}")
            group.attrs["nb_params"] = 2
            weight = state[f"{layer}.weight"]
            group["param_0"] = weight.T if weight.ndim == 2 else weight[:, :, ::-1, ::-1]
            group["param_1"] = state[f"{layer}.bias"]
    target = Flattening(bias=True).eval()
    found = layer_pairing.pair(tmp_path / "net.h5", target, SHAPE)
    assert (found.way, found.left_out, found.problem) == ("order", (), "")
    target.load_state_dict(found.tensors, strict=False)
    assert torch.equal(target(images), source(images))


@pytest.mark.parametrize(
    ("file", "way", "said"),
    [
        ("expected.npz", "graph", "holds no graph with weights in it; pair by name or by order."),
        ("expected.npz", "nearest", "weights are paired by one of auto, name, order, graph, not"),
        ("absent.npz", "auto", "no such weights file"),
        ("keras_expected.npz", "name", "no layer of the file fits the network's"),
    ],
)
def test_a_way_that_cannot_be_gone(file: str, way: str, said: str) -> None:
    with pytest.raises(WeightsError) as caught:
        layer_pairing.pair(FILES / file, Twin(("x", "y", "z")).eval(), SHAPE, way)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_pairing_in_order_stops_at_the_first_layer_that_does_not_fit() -> None:
    net = Flattening(bias=True).eval()
    found = layer_pairing.pair(FILES / "expected.npz", net, SHAPE, "order")
    assert set(found.tensors) == {"first.weight", "first.bias"}
    assert found.problem == "at the network's hidden the file has dw [3, 3, 4, 1]"
    assert found.left_out == ("dw/kernel", "fc/kernel", "fc/bias")
