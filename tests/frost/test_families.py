"""Every family of networks: what must hold at its lines, with weights that leave no branch silent.

One small network of each module of timm and of torchvision, and users' modules with an oddity
each. A spread of twenty runs in CI; all of them with `pytest -m slow`.
"""

import copy
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
import torchvision
from safetensors.torch import load_file, save_file
from timm.models._registry import _module_to_models
from torch import nn

from families import CUT_OF_TORCHVISION, TIMM
from frostline import frost
from frostline.frost.choice import auto_lines
from odd_modules import MODULES

DROPS = ("drop_rate", "drop_path_rate", "proj_drop_rate", "attn_drop_rate", "pos_drop_rate")
CLOSE = 1e-5
SEED = 20250607


@dataclass(frozen=True)
class Family:
    """A network that stands for its family, and the side of its images."""

    name: str
    image_px: int = 0
    arguments: dict[str, Any] = field(default_factory=dict)
    source: str = "timm"

    def build(self, drops: bool = False) -> nn.Module:
        """Returns the network in eval mode, under one seed; with dropout wherever it takes it."""
        torch.manual_seed(0)
        if self.source == "users":
            net: nn.Module = MODULES[self.name]()
        elif self.source == "torchvision":
            has_auxiliary = self.name in ("googlenet", "inception_v3")
            keys: dict[str, Any] = {"init_weights": True} if has_auxiliary else {}
            net = torchvision.models.get_model(self.name, weights=None, **keys)
        else:
            net = _with_drops(self) if drops else timm.create_model(self.name, **self.arguments)
        return awake(net.eval())

    def shape(self, net: nn.Module) -> tuple[int, int, int]:
        """Returns one image's shape."""
        px = self.image_px or net.pretrained_cfg["input_size"][-1]
        return (3, px, px)


SPREAD = (
    Family("resnet10t", 64),
    Family("densenet121", 32, {"block_config": (2, 2, 2, 2)}),
    Family("mobilenetv2_035", 64),
    Family("convnext_zepto_rms", 64),
    Family("vit_tiny_patch16_224", 64, {"img_size": 64, "depth": 4}),
    Family("levit_128s", 224, {"depth": (1, 1, 1)}),
    Family("mvitv2_tiny", 64, {"img_size": 64}),
    Family("coat_tiny", 32, {"img_size": 32, "parallel_depth": 1}),
    Family("efficientvim_m1", 128),
    Family("crossvit_tiny_240", 240, {"depth": ((1, 1, 0), (1, 1, 0))}),
    Family("vit_srelpos_small_patch16_224", 64, {"img_size": 64, "depth": 4}),
    Family("tnt_s_legacy_patch16_224", 32, {"img_size": 32, "depth": 3}),
    Family("selecsls42", 64),
    Family("squeezenet1_1", 64, source="torchvision"),
    Family("googlenet", 64, source="torchvision"),
    Family("swin_t", 32, source="torchvision"),
    Family("batch in steps", 32, source="users"),
    Family("layers used twice", 32, source="users"),
    Family("recurrent", 32, source="users"),
    Family("plain chain", 32, source="users"),
)


def of_timm(module: str) -> Family:
    """Returns the network that stands for a module; the shortest name for one that is new."""
    names = {name for name in _module_to_models[module] if not name.startswith("test_")}
    said = TIMM.get(module, "")
    if said.partition("?")[0].partition("@")[0] not in names:
        return Family(min(names, key=lambda name: (len(name), name)))
    name, _, px = said.partition("@")
    name, _, query = name.partition("?")
    pairs = [pair.split("=") for pair in query.split("&") if pair]
    arguments = {key: int(value) for key, value in pairs}
    return Family(name, int(px or arguments.get("img_size", 0)), arguments)


def _with_drops(family: Family) -> nn.Module:
    wanted = list(DROPS)
    while True:
        try:
            return timm.create_model(
                family.name, **family.arguments, **dict.fromkeys(wanted, 0.5)
            ).eval()
        except TypeError as error:
            refused = [word for word in wanted if word in str(error)]
            wanted.remove(refused[0] if refused else wanted[-1])


def awake(net: nn.Module) -> nn.Module:
    """Gives every tensor values that matter: norms, scales and statistics are not 0 or 1."""
    generator = torch.Generator().manual_seed(SEED)

    def noise(like: torch.Tensor) -> torch.Tensor:
        return torch.randn(like.shape, generator=generator)

    with torch.no_grad():
        for parameter in net.parameters():
            if parameter.dim() < 2 or float(parameter.std()) < 1e-4:
                parameter.add_(0.05 * noise(parameter))
        for module in net.modules():
            if isinstance(getattr(module, "running_mean", None), torch.Tensor):
                module.running_mean.copy_(0.1 * noise(module.running_mean))
                module.running_var.copy_(1 + 0.2 * noise(module.running_var).tanh())
    return net


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("family", SPREAD, ids=lambda family: family.name)
def test_a_spread_of_families_holds(family: Family, tmp_path: Path) -> None:
    check(family, tmp_path, every=5)


@pytest.mark.slow
@pytest.mark.parametrize("module", sorted(_module_to_models))
def test_every_family_of_timm_holds(module: str, tmp_path: Path) -> None:
    check(of_timm(module), tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("name", CUT_OF_TORCHVISION)
def test_every_family_of_torchvision_holds(name: str, tmp_path: Path) -> None:
    px = {"inception_v3": 299, "swin_v2_t": 256}.get(name, 224)
    check(Family(name, px, source="torchvision"), tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("name", MODULES)
def test_every_oddity_of_users_holds(name: str, tmp_path: Path) -> None:
    check(Family(name, 32, source="users"), tmp_path)


def check(family: Family, folder: Path, every: int = 3) -> None:
    """Asks everything of one network that must hold of it."""
    net = family.build()
    shape = family.shape(net)
    before = copy.deepcopy(net.state_dict())
    traced = frost.trace(net, shape)
    check_list(traced)
    batch = torch.randn(3, *shape)
    with torch.no_grad():
        whole = net(batch.clone())
    last = len(traced.lines) - 1
    for line in traced.lines:
        if line.index % every == 0 or line.index == last:
            check_cut(traced, line, batch, whole)
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    check_modes(family, shape, batch)
    check_training(family, net, traced, batch, folder)


def check_list(traced: frost.TracedNetwork) -> None:
    lines, net = traced.lines, traced.net
    for line in lines:
        assert traced.find(line.name) is line
        assert traced.find(line.node) is line
    assert lines[0].name == "pixels"
    shares = [line.share_below for line in lines]
    assert shares == sorted(shares)
    if traced.no_pooled:
        return
    assert lines[-1].name == "pooled"
    # What is called pooled is not the network's own output.
    assert any(True for _ in traced.part(lines[-1], None).parameters())
    if net.__class__.__module__.startswith("timm"):
        found = auto_lines(traced, lines[-1])
        assert found
        assert all(line.params_above > lines[-1].params_above for line in found)


def check_cut(
    traced: frost.TracedNetwork, line: frost.Line, batch: torch.Tensor, whole: Any
) -> None:
    prefix, suffix = traced.cut(line, verify=False)
    below, above = dict(prefix.named_parameters()), dict(suffix.named_parameters())
    assert not {id(p) for p in below.values()} & {id(p) for p in above.values()}, line.name
    assert sum(p.numel() for p in below.values()) == line.params_below, line.name
    assert sum(p.numel() for p in above.values()) == line.params_above, line.name
    with torch.no_grad():
        given = batch.clone()
        activation = prefix(given)
        assert torch.equal(given, batch), line.name
        assert activation.shape[1:] == line.shape, line.name
        kept = activation.clone()
        assert same_bits(suffix(activation), whole), line.name
        assert torch.equal(kept, activation), line.name


def check_modes(family: Family, shape: tuple[int, int, int], batch: torch.Tensor) -> None:
    """With dropout everywhere, no prefix in eval mode is disturbed by a suffix that trains."""
    net = family.build(drops=True)
    traced = frost.trace(net, shape)
    for line in traced.lines[1 :: max(1, len(traced.lines) // 4)]:
        prefix, suffix = traced.cut(line, verify=False)
        with torch.no_grad():
            expected = prefix.eval()(batch)
            suffix.train()
            assert torch.equal(prefix(batch), expected), line.name
        suffix.eval()


def check_training(
    family: Family,
    net: nn.Module,
    traced: frost.TracedNetwork,
    batch: torch.Tensor,
    folder: Path,
) -> None:
    """A step above the middle moves nothing below; saved and opened again, all is the same."""
    lines = traced.lines
    top = None if traced.no_pooled else lines[-1]
    line = lines[len(lines) // 2]
    prefix, suffix = traced.cut(line, top=top, verify=False)
    with torch.no_grad():
        kept = prefix(batch.clone())
    trained = [parameter for parameter in suffix.parameters() if parameter.requires_grad]
    made = suffix.train()(kept.clone())
    loss = sum(one.float().square().mean() for one in tensors(made) if one.requires_grad)
    if trained:
        assert isinstance(loss, torch.Tensor)
        try:
            loss.backward()
        except RuntimeError:
            # Some networks write over what their own gradients need, cut or not.
            if trains_by_itself(net, batch):
                raise
        with torch.no_grad():
            for parameter in trained:
                if parameter.grad is not None:
                    parameter.sub_(1e-3 * parameter.grad.sign())
    suffix.eval()
    with torch.no_grad():
        assert same_bits(prefix(batch.clone()), kept), line.name
        state = {name: value.clone() for name, value in net.state_dict().items()}
        save_file(state, folder / "model.safetensors")
        opened = family.build()
        opened.load_state_dict(load_file(folder / "model.safetensors"))
        forget_biases(opened)
        again, rest = frost.trace(opened, traced.input_shape).cut(line.name, top=top, verify=False)
        assert close(rest(again(batch)), suffix(kept)), line.name


def trains_by_itself(net: nn.Module, batch: torch.Tensor) -> bool:
    try:
        made = copy.deepcopy(net).train()(batch.clone())
        sum(one.float().square().mean() for one in tensors(made)).backward()  # type: ignore[union-attr]
    except RuntimeError:
        return False
    return True


def forget_biases(net: nn.Module) -> None:
    """Drops attention biases that a network keeps of an earlier run in eval mode."""
    for module in net.modules():
        if isinstance(getattr(module, "attention_bias_cache", None), dict):
            module.attention_bias_cache.clear()


def tensors(value: Any) -> list[torch.Tensor]:
    if isinstance(value, torch.Tensor):
        return [value]
    if isinstance(value, dict):
        value = tuple(value.values())
    return (
        [one for part in value for one in tensors(part)] if isinstance(value, tuple | list) else []
    )


def same_bits(one: Any, other: Any) -> bool:
    pairs = zip(tensors(one), tensors(other), strict=True)
    return all(torch.equal(a.nan_to_num(), b.nan_to_num()) for a, b in pairs)


def close(one: Any, other: Any) -> bool:
    pairs = zip(tensors(one), tensors(other), strict=True)
    return all(float((a - b).abs().max()) <= CLOSE * float(b.abs().max()) for a, b in pairs)
