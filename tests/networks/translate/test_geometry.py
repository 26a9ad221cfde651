"""Paddings, pools and kernels against NumPy written out, on odd and even sizes."""

from itertools import product

import numpy as np
import pytest
import torch

from frostline.networks.translate import geometry
from frostline.networks.translate.arrays import to_state
from frostline.networks.translate.build import Built, build
from frostline.networks.translate.graph import Graph, Node

SIZES = (7, 8)


def one_layer(op: str, size: int, channels: int = 3, **settings: object) -> tuple[Graph, Built]:
    nodes = (Node("input", "input", (), {}), Node("layer", op, ("input",), settings))
    graph = Graph(nodes, "layer", (channels, size, size))
    return graph, build(graph, "test")


def windows(x: np.ndarray, kernel: int, stride: int, padding: str) -> tuple[np.ndarray, np.ndarray]:
    """Values and whether they lie inside, [n, h, w, kernel, kernel, c], of [n, h, w, c]."""
    size = x.shape[1]
    places = -(-size // stride) if padding == "same" else (size - kernel) // stride + 1
    total = max((places - 1) * stride + kernel - size, 0) if padding == "same" else 0
    first = total // 2
    inside = np.zeros((x.shape[0], places, places, kernel, kernel, x.shape[3]), bool)
    values = np.zeros(inside.shape)
    for row, column, i, j in product(range(places), range(places), range(kernel), range(kernel)):
        h, w = row * stride + i - first, column * stride + j - first
        if 0 <= h < size and 0 <= w < size:
            inside[:, row, column, i, j] = True
            values[:, row, column, i, j] = x[:, h, w]
    return values, inside


def pictures(size: int, channels: int = 3) -> np.ndarray:
    return np.random.default_rng(size).normal(0, 1, (2, size, size, channels))


def given(built: Built, x: np.ndarray) -> np.ndarray:
    images = torch.from_numpy(x.astype("float32")).permute(0, 3, 1, 2)
    with torch.no_grad():
        last = built.module(images)
    return last.permute(0, 2, 3, 1).numpy() if last.dim() == 4 else last.numpy()


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("padding", ["same", "valid"])
@pytest.mark.parametrize(
    ("kernel", "stride"), [(1, 1), (1, 2), (2, 1), (2, 2), (2, 3), (3, 1), (3, 2), (4, 2), (5, 2)]
)
def test_convolutions(size: int, padding: str, kernel: int, stride: int) -> None:
    x, draw = pictures(size), np.random.default_rng(0)
    values, _ = windows(x, kernel, stride, padding)
    how = {
        "kernel": [kernel, kernel],
        "stride": [stride, stride],
        "dilation": [1, 1],
        "padding": padding,
        "bias": False,
    }
    weights = draw.normal(0, 1, (kernel, kernel, 3, 5))
    graph, built = one_layer("conv2d", size, filters=5, groups=1, **how)
    _load(graph, built, geometry.conv_kernel(torch.from_numpy(weights)))
    expected = np.einsum("nhwijc,ijcf->nhwf", values, weights)
    np.testing.assert_allclose(given(built, x), expected, atol=1e-4)

    many = draw.normal(0, 1, (2, size, size, 8))
    values, _ = windows(many, kernel, stride, padding)
    weights = draw.normal(0, 1, (kernel, kernel, 8, 4))
    graph, built = one_layer("conv2d", size, channels=8, filters=4, groups=1, **how)
    _load(graph, built, geometry.conv_kernel(torch.from_numpy(weights)))
    expected = np.einsum("nhwijc,ijcf->nhwf", values, weights)
    np.testing.assert_allclose(given(built, many), expected, atol=1e-4)

    values, _ = windows(x, kernel, stride, padding)
    weights = draw.normal(0, 1, (kernel, kernel, 3, 2))
    graph, built = one_layer("depthwise_conv2d", size, multiplier=2, **how)
    _load(graph, built, geometry.depthwise_kernel(torch.from_numpy(weights)))
    expected = np.einsum("nhwijc,ijcm->nhwcm", values, weights).reshape(*values.shape[:3], 6)
    np.testing.assert_allclose(given(built, x), expected, atol=1e-4)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("padding", ["same", "valid"])
@pytest.mark.parametrize(("kernel", "stride"), [(2, 2), (3, 1), (3, 2), (2, 1), (3, 3)])
def test_pools_leave_padding_out(size: int, padding: str, kernel: int, stride: int) -> None:
    x = pictures(size) - 3
    values, inside = windows(x, kernel, stride, padding)
    how = {"kernel": [kernel, kernel], "stride": [stride, stride], "padding": padding}
    _, built = one_layer("average_pool", size, **how)
    means = values.sum((3, 4)) / inside.sum((3, 4))
    np.testing.assert_allclose(given(built, x), means, atol=1e-5)
    _, built = one_layer("max_pool", size, **how)
    largest = np.where(inside, values, -np.inf).max((3, 4))
    np.testing.assert_allclose(given(built, x), largest, atol=1e-5)


@pytest.mark.parametrize("sides", [[[0, 1], [0, 1]], [[1, 1], [2, 2]], [[2, 0], [0, 3]]])
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("op", ["conv2d", "depthwise_conv2d"])
def test_a_padding_before_a_convolution_is_merged_and_gives_the_same(
    op: str, size: int, sides: list[list[int]]
) -> None:
    settings = {
        "kernel": [3, 3],
        "stride": [2, 2],
        "dilation": [1, 1],
        "padding": "valid",
        "bias": True,
        "filters": 4,
        "groups": 1,
        "multiplier": 2,
    }
    nodes = (
        Node("input", "input", (), {}),
        Node("pad", "pad", ("input",), {"sides": sides}),
        Node("conv", op, ("pad",), settings),
    )
    built = build(Graph(nodes, "conv", (3, size, size)), "test")
    images = torch.from_numpy(pictures(size).astype("float32")).permute(0, 3, 1, 2)
    (top, bottom), (left, right) = sides
    padded = torch.nn.functional.pad(images, (left, right, top, bottom))
    conv = built.module.get_submodule("conv")
    expected = torch.nn.functional.conv2d(padded, conv.weight, conv.bias, 2, groups=conv.groups)
    torch.testing.assert_close(built.module(images), expected)
    uneven = (0,) if op == "conv2d" else (0, 1)
    merged = all(after - before in uneven for before, after in sides)
    assert isinstance(built.module.get_submodule("pad"), torch.nn.Identity) == merged


@pytest.mark.parametrize("padding", ["same", "valid"])
@pytest.mark.parametrize(("kernel", "stride"), [(2, 2), (3, 2), (4, 2), (1, 2), (3, 1)])
def test_transposed_convolutions(padding: str, kernel: int, stride: int) -> None:
    size = 5
    x, draw = pictures(size, 2), np.random.default_rng(0)
    weights = draw.normal(0, 1, (kernel, kernel, 3, 2))
    whole = np.zeros((2, *[(size - 1) * stride + max(kernel, stride)] * 2, 3))
    for row, column, i, j in product(range(size), range(size), range(kernel), range(kernel)):
        whole[:, row * stride + i, column * stride + j] += x[:, row, column] @ weights[i, j].T
    first = max(kernel - stride, 0) // 2 if padding == "same" else 0
    last = first + size * stride if padding == "same" else whole.shape[1]
    graph, built = one_layer(
        "conv2d_transpose",
        size,
        channels=2,
        filters=3,
        kernel=[kernel, kernel],
        stride=[stride, stride],
        padding=padding,
        bias=False,
    )
    _load(graph, built, geometry.transposed_kernel(torch.from_numpy(weights)))
    np.testing.assert_allclose(given(built, x), whole[:, first:last, first:last], atol=1e-4)


@pytest.mark.parametrize("target", [[2, 8], [4, 2, 2], [16], [1, 1, 16], [-1, 4]])
def test_reshapes_are_those_of_channels_last(target: list[int]) -> None:
    graph = Graph(
        (
            Node("input", "input", (), {}),
            Node("crop", "crop", ("input",), {"sides": [[0, 3], [1, 3]]}),
            Node("layer", "reshape", ("crop",), {"shape": target}),
        ),
        "layer",
        (4, 5, 6),
    )
    x = np.random.default_rng(0).normal(0, 1, (2, 5, 6, 4))
    last = given(build(graph, "test"), x)
    whole = x[:, :2, 1:3]
    np.testing.assert_allclose(last, whole.reshape(2, *target), atol=1e-6)


def test_a_permutation_speaks_of_channels_last() -> None:
    graph, built = one_layer("permute", 7, axes=[3, 1, 2])
    x = pictures(7)
    images = torch.from_numpy(x).permute(0, 3, 1, 2)
    expected = torch.from_numpy(x.transpose(0, 3, 1, 2)).permute(0, 3, 1, 2)
    torch.testing.assert_close(built.module(images), expected)
    assert graph.layout == "channels_last"


@pytest.mark.parametrize(
    ("kernel", "stride", "expected"),
    [(3, 1, (1, 1)), (3, 2, None), (1, 2, (0, 0)), (2, 1, (0, 1)), (2, 2, None), (5, 1, (2, 2))],
)
def test_paddings_alike_for_all_sizes_are_told_apart(
    kernel: int, stride: int, expected: tuple[int, int] | None
) -> None:
    assert geometry.fixed_padding(kernel, stride) == expected
    found = {geometry.same_padding(size, kernel, stride) for size in range(1, 40)}
    assert found == {expected} if expected else len(found) > 1


def _load(graph: Graph, built: Built, kernel: torch.Tensor) -> None:
    state = to_state(graph, built, {("layer", "kernel"): kernel.float()})
    built.module.load_state_dict(state, strict=True)
