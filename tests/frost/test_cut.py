"""Cutting networks: the traps that were met, each in the smallest network that has it."""

import copy
import operator
from typing import Any

import pytest
import timm
import torch
import torch.nn.functional as F
from torch import nn

from frostline import frost
from frostline.base.errors import LineError

SHAPE = (3, 8, 8)


def images(count: int = 2) -> torch.Tensor:
    return torch.randn(count, *SHAPE, generator=torch.Generator().manual_seed(0))


class Block(nn.Module):
    """A residual block that works in place."""

    def __init__(self, width: int = 4) -> None:
        super().__init__()
        self.conv = nn.Conv2d(width, width, 3, padding=1)
        self.norm = nn.BatchNorm2d(width)
        self.act = nn.ReLU(inplace=True)

    def forward(self, x: torch.Tensor, scale: float | None = None) -> torch.Tensor:
        y = self.norm(self.conv(x))
        if scale is not None:
            y = y * scale
        return self.act(y + x)


class Small(nn.Module):
    """A stem, two blocks, and a head with dropout."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 3, stride=2, padding=1)
        self.act = nn.ReLU(inplace=True)
        self.blocks = nn.Sequential(Block(), Block())
        self.drop = nn.Dropout(0.5)
        self.fc = nn.Linear(4, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.blocks(self.act(self.stem(x))).mean((2, 3))
        return self.fc(self.drop(x))


def small() -> Small:
    torch.manual_seed(0)
    return Small().eval()


def same_at_all_lines(net: nn.Module, shape: tuple[int, int, int] = SHAPE) -> frost.TracedNetwork:
    """Checks each cut on three images, which is none of the batch sizes used to find it."""
    traced = frost.trace(net, shape)
    batch = torch.randn(3, *shape)
    with torch.no_grad():
        expected = net(batch.clone())
        for line in traced.lines:
            prefix, suffix = traced.cut(line)
            kept = batch.clone()
            activation = prefix(batch)
            assert torch.equal(batch, kept)
            kept = activation.clone()
            torch.testing.assert_close(suffix(activation), expected)
            assert torch.equal(activation, kept)
    return traced


def names(net: nn.Module) -> list[str]:
    return [line.name for line in frost.lines(net, SHAPE)]


def test_lines_are_named_by_the_outermost_module_and_counted() -> None:
    traced = same_at_all_lines(small())
    assert [line.name for line in traced.lines if line.block] == [
        *("pixels", "act", "blocks.0", "blocks", "pooled")
    ]
    by_name = {line.name: line for line in traced.lines}
    assert by_name["blocks"].aliases == ("blocks.1", "blocks.1.act", "blocks_1_act")
    assert by_name["blocks"].shape == (4, 4, 4)
    assert by_name["blocks"].kib_half == 64 * 2 / 1024
    assert by_name["pooled"].shape == (4,)
    block, stem, classifier = 4 * 4 * 9 + 4 + 8, 3 * 4 * 9 + 4, 4 * 5 + 5
    assert by_name["blocks.0"].params_below == stem + block
    assert by_name["blocks.0"].params_above == block + classifier
    stem_work, block_work = 3 * 4 * 9 * 16, 4 * 4 * 9 * 16
    work = stem_work + 2 * block_work + 4 * 5
    assert by_name["blocks.0"].share_below == pytest.approx((stem_work + block_work) / work)
    assert by_name["pixels"].share_below == 0.0


def test_a_line_is_found_by_path_node_index_and_itself() -> None:
    lines = frost.lines(small(), SHAPE)
    block = frost.find(lines, "blocks.0")
    assert frost.find(lines, "blocks_0_act") is block
    assert frost.find(lines, block) is block
    assert frost.find(lines, block.index) is block
    assert frost.find(lines, str(block.index)) is block
    assert frost.find(lines, -1) is frost.find(lines, "pooled")
    assert frost.find(lines, "-2") is frost.find(lines, "blocks.1")
    assert frost.find(lines, 0).name == "pixels"
    assert frost.top_map(lines).name == "blocks"


def test_an_unknown_line_gets_the_nearest_names() -> None:
    with pytest.raises(LineError, match=r"line 'bloks.0': this network has no such line. Did you"):
        frost.cut(small(), "bloks.0", SHAPE)
    with pytest.raises(LineError, match=r"line 99: an index must lie in 0 to \d+, or in -5 to -1"):
        frost.cut(small(), 99, SHAPE)


def test_a_place_that_is_no_line_says_what_is_alive_there() -> None:
    with pytest.raises(
        LineError,
        match=r"line 'blocks.1.conv': cannot be cut there, 2 tensors are alive "
        r"\(blocks_0_act, blocks_1_conv\). The nearest lines are 'blocks.0' before it and "
        r"'add_1' after it.",
    ):
        frost.cut(small(), "blocks.1.conv", SHAPE)
    with pytest.raises(LineError, match="line 'fc': lies above 'pooled', the last line"):
        frost.cut(small(), "fc", SHAPE)


def test_parts_hold_the_networks_own_modules_under_their_names() -> None:
    net = small()
    prefix, suffix = frost.cut(net, "blocks.0", SHAPE)
    assert prefix.get_submodule("blocks.0.conv") is net.blocks[0].conv
    whole = net.state_dict()
    for part in (prefix, suffix):
        for name, tensor in part.state_dict().items():
            assert tensor.data_ptr() == whole[name].data_ptr()
    assert prefix.state_dict().keys() | suffix.state_dict().keys() == whole.keys()


def test_three_pieces_make_the_network() -> None:
    net = small()
    prefix, middle = frost.cut(net, "blocks.0", SHAPE, top="pooled")
    _, rest = frost.cut(net, "pooled", SHAPE)
    activation = middle(prefix(images()))
    assert activation.shape == (2, 4)
    assert torch.equal(rest(activation), net(images()))
    assert [name for name, _ in rest.named_parameters()] == ["fc.weight", "fc.bias"]


def test_the_ends_are_identities() -> None:
    prefix, suffix = frost.cut(small(), "pixels", SHAPE, top="pixels")
    batch = images()
    assert prefix(batch) is batch
    assert suffix(batch) is batch
    assert not list(prefix.parameters())
    with pytest.raises(LineError, match="line 'pooled': lies above 'blocks', where its suffix"):
        frost.cut(small(), "pooled", SHAPE, top="blocks")


def test_nothing_of_the_network_changes() -> None:
    net = small().train()
    net.blocks[0].norm.eval()
    flags = {name: module.training for name, module in net.named_modules()}
    state = copy.deepcopy(net.state_dict())
    prefix, suffix = frost.cut(net, "blocks.0", SHAPE)
    assert flags == {name: module.training for name, module in net.named_modules()}
    assert all(torch.equal(tensor, state[name]) for name, tensor in net.state_dict().items())
    assert prefix.training
    assert suffix.training
    assert all(parameter.grad is None for parameter in net.parameters())


def test_parts_survive_copying_and_casting() -> None:
    net = small()
    _, suffix = frost.cut(net, "blocks.0", SHAPE)
    twin = copy.deepcopy(suffix)
    activation = torch.randn(2, 4, 4, 4)
    expected = suffix(activation)
    with torch.no_grad():
        for parameter in suffix.parameters():
            parameter.zero_()
    assert torch.equal(twin(activation), expected)
    twin.to(torch.bfloat16)
    assert twin(activation.bfloat16()).dtype == torch.bfloat16
    twin.to("meta")
    assert twin(activation.bfloat16().to("meta")).shape == (2, 5)


def test_a_suffix_refuses_activations_of_another_size() -> None:
    _, suffix = frost.cut(small(), "blocks.0", SHAPE)
    with pytest.raises(
        LineError, match=r"blocks.0 to output: takes activations of shape \(4, 4, 4\) an image, got"
    ):
        suffix(torch.randn(2, 4, 5, 5))


class Overwrites(nn.Module):
    """Writes into a view of its input, and by dropout in training only."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Identity()
        self.mix = nn.Conv2d(3, 3, 1)
        self.drop = nn.Dropout(0.5, inplace=True)
        self.fc = nn.Linear(3 * 64, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.first(x)
        x.view(x.shape[0], -1).add_(1)
        x = self.mix(x)
        return self.fc(self.drop(x.flatten(1)))


def test_no_part_writes_into_its_input_in_eval_or_training() -> None:
    net = Overwrites()
    traced = same_at_all_lines(net.eval())
    for line in traced.lines:
        prefix, suffix = traced.cut(line)
        batch, kept = images(), images()
        activation = prefix.train()(batch)
        before = activation.clone()
        suffix.train()(activation)
        assert torch.equal(batch, kept)
        assert torch.equal(activation, before)


def test_an_input_is_copied_only_where_it_would_be_overwritten() -> None:
    traced = frost.trace(small(), SHAPE)
    for name, copied in (("stem", True), ("blocks.0", False)):
        line = traced.find(name)
        graph = traced.evaluating.graph(line, None, ())
        assert graph is not None
        assert any(node.target == "clone" for node in graph.nodes) == copied


class Shapes(nn.Module):
    """Looks sizes up below a line and uses them above it."""

    def __init__(self) -> None:
        super().__init__()
        self.token = nn.Parameter(torch.randn(1, 1, 3))
        self.register_buffer("scale", torch.full((3,), 2.0), persistent=False)
        self.mix = nn.Linear(3, 3)
        self.norm = nn.LayerNorm(3)
        self.fc = nn.Linear(3, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        n, c, h, w = x.shape
        x = x.flatten(2).transpose(1, 2) * self.scale
        x = torch.cat([self.token.expand(n, -1, -1), x], 1)
        x = self.mix(x)
        rows = torch.arange(h, device=x.device).to(x.dtype)
        x = self.norm(x[:, 1:]).reshape(n * h, w, c).reshape(n, h, w, c)
        return self.fc((x * rows[:, None, None]).mean((1, 2)))


def test_shape_look_ups_are_no_tensors_and_follow_the_batch() -> None:
    net = Shapes().eval()
    traced = same_at_all_lines(net)
    assert "mix" in [line.name for line in traced.lines]
    prefix, suffix = traced.cut("mix")
    assert [name for name, _ in prefix.named_parameters()] == ["token", "mix.weight", "mix.bias"]
    assert prefix.state_dict().keys() == {"token", "mix.weight", "mix.bias"}
    assert prefix.to("meta").scale.is_meta
    assert suffix(torch.randn(7, 65, 3)).shape == (7, 2)


class Defaulted(nn.Module):
    """Hands a defaulted argument of its own down to its parts."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = Block(3)
        self.outer = Block(3)

    def forward(self, x: torch.Tensor, scale: float | None = None) -> torch.Tensor:
        return self.outer(self.inner(x, scale), scale)


def test_defaulted_arguments_are_constants() -> None:
    same_at_all_lines(Defaulted().eval())
    assert "inner" in names(Defaulted())


class Functional(nn.Module):
    """Reads its own training flag."""

    def __init__(self) -> None:
        super().__init__()
        self.mix = nn.Conv2d(3, 8, 1)
        self.fc = nn.Linear(8, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = F.dropout(self.mix(x), 0.5, training=self.training).mean((2, 3))
        return self.fc(F.dropout(x, 0.5, self.training))


def test_functional_dropout_follows_each_part() -> None:
    net = Functional().eval()
    prefix, suffix = frost.cut(net, "mix", SHAPE)
    activation = prefix(images())
    suffix.train()
    torch.manual_seed(0)
    trained = suffix(activation)
    assert not net.training
    assert not torch.equal(trained, net(images()))
    torch.manual_seed(0)
    assert torch.equal(trained, net.train()(images()))
    assert torch.equal(suffix.eval()(activation), net.eval()(images()))


class Auxiliary(nn.Module):
    """Has a second output in training only."""

    def __init__(self) -> None:
        super().__init__()
        self.low = nn.Conv2d(3, 4, 1)
        self.high = nn.Conv2d(4, 4, 1)
        self.extra = nn.Linear(4, 2)
        self.fc = nn.Linear(4, 2)

    def forward(self, x: torch.Tensor) -> Any:
        x = self.low(x)
        extra = self.extra(x.mean((2, 3))) if self.training else None
        x = self.high(x)
        x = self.fc(x.mean((2, 3)))
        return (x, extra) if self.training else x


def test_another_way_in_training_is_taken_where_it_passes_the_line() -> None:
    net = Auxiliary().eval()
    traced = same_at_all_lines(net)
    prefix, suffix = traced.cut("low")
    main, extra = suffix.train()(prefix(images()))
    expected = net.train()(images())
    assert torch.equal(main, expected[0])
    assert torch.equal(extra, expected[1])
    prefix, suffix = traced.cut("high")
    with pytest.raises(
        LineError, match="Auxiliary, high to output: in training this network goes another way"
    ):
        suffix.train()(torch.randn(2, 4, 8, 8))
    assert suffix.eval()(torch.randn(2, 4, 8, 8)).shape == (2, 2)


class Branches(nn.Module):
    """Chooses by the number of images what to do."""

    def __init__(self) -> None:
        super().__init__()
        self.mix = nn.Conv2d(3, 3, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.mix(x) if x.shape[0] > 0 else x


def test_a_part_that_cannot_be_traced_is_one_piece() -> None:
    net = nn.Sequential(Branches(), nn.Flatten(), nn.Linear(192, 2)).eval()
    traced = same_at_all_lines(net)
    assert [line.name for line in traced.lines] == ["pixels", "0", "pooled"]
    with pytest.raises(LineError, match=r"line '0.mix': is not run by itself; it is a part of '0'"):
        traced.find("0.mix")


def test_a_network_that_cannot_be_traced_is_refused_with_the_reason() -> None:
    with pytest.raises(
        LineError,
        match=r"Branches: its forward cannot be followed, so there is no line to cut at. What "
        r"failed: test_cut.py:\d+: return self.mix\(x\) if x.shape\[0\] > 0 else x \(the "
        r"code chooses there by the number of images\). Write it so that it holds for any",
    ):
        frost.lines(Branches(), SHAPE)
    with pytest.raises(LineError, match=r"Small: does not run on images of shape \(1, 8, 8\), at"):
        frost.lines(small(), (1, 8, 8))


class Repeats(nn.Module):
    """Runs one module twice."""

    def __init__(self) -> None:
        super().__init__()
        self.low = nn.Sequential(nn.Conv2d(3, 3, 1), nn.ReLU())

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.low(self.low(x))


def test_a_module_that_is_run_twice_is_named_by_its_nodes() -> None:
    traced = same_at_all_lines(Repeats().eval())
    assert [line.node for line in traced.lines][1:] == ["low_0", "low_1", "low_2", "low_3"]
    with pytest.raises(LineError, match=r"line 'low.0': is run 2 times; name one: low_0, low_2"):
        traced.find("low.0")
    prefix, suffix = traced.cut("low_2")
    assert [name for name, _ in prefix.named_parameters()] == ["low.0.weight", "low.0.bias"]
    assert not list(suffix.parameters())


class Restless(nn.Module):
    """Gives another result each time."""

    def __init__(self) -> None:
        super().__init__()
        self.mix = nn.Conv2d(3, 3, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.dropout(self.mix(x), 0.5, training=True)


def test_a_network_that_always_drops_is_told_what_to_write() -> None:
    with pytest.raises(
        LineError, match="Restless: gives something else each time in eval mode, so no cut can be"
    ):
        frost.cut(Restless(), "mix", SHAPE)
    prefix, _ = frost.cut(Restless(), "mix", SHAPE, verify=False)
    assert prefix(images()).shape == (2, 3, 8, 8)


class Tuples(nn.Module):
    """Splits its input, and joins it again; turns the batch on its side in between."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(192, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        first, second = x.flatten(1).chunk(2, 1)
        x = operator.add(first, second).t().repeat(2, 1)
        return self.fc(x.t())


def test_tuples_and_tensors_without_a_row_an_image_are_no_lines() -> None:
    traced = same_at_all_lines(Tuples().eval())
    assert [line.node for line in traced.lines] == ["images", "flatten", "add", "t_1"]
    with pytest.raises(LineError, match="line 't': what is there is not one tensor with a row for"):
        traced.find("t")


def test_a_map_of_one_point_is_a_vector_where_it_is_pooled() -> None:
    net = timm.create_model("resnetv2_50", num_classes=3, layers=(1, 1, 1, 1)).eval()
    traced = frost.trace(net, (3, 64, 64))
    batch = torch.randn(2, 3, 64, 64)
    assert traced.lines[-1].shape == (2048,)
    assert frost.top_map(traced.lines).name == "norm"
    prefix, middle = traced.cut("norm", top="pooled")
    _, rest = traced.cut("pooled", verify=False)
    pooled = middle(prefix(batch))
    assert pooled.shape == (2, 2048)
    assert torch.equal(rest(pooled), net(batch))


def test_a_network_without_classifier_ends_at_its_output() -> None:
    net = timm.create_model("mobilenetv2_100", num_classes=0).eval()
    traced = frost.trace(net, (3, 32, 32))
    _, suffix = traced.cut("pooled")
    activation = torch.randn(2, 1280)
    assert traced.lines[-1].shape == (1280,)
    assert torch.equal(suffix(activation), activation)


@pytest.mark.parametrize("name", ["mobilenetv2_100", "vit_tiny_patch16_224"])
def test_a_person_sees_a_short_list(name: str) -> None:
    net = timm.create_model(name)
    blocks = [line for line in frost.lines(net, (3, 224, 224)) if line.block]
    assert 8 <= len(blocks) <= 25
    shares = [line.share_below for line in blocks]
    assert shares == sorted(shares)
    assert {"pixels", "blocks.5", "pooled"} <= {line.name for line in blocks}
