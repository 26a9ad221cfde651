"""One small network of every family of every kind: from opening it to a trained model folder.

`tests/frost/test_families.py` asks more of the cut itself. Here each network is opened by its name,
as a user has it. A spread runs in CI, all of them with `pytest -m slow`.
"""

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from families import ALL, OPENING, SMALL, px_of
from frostline import planner
from frostline.frost import Line, TracedNetwork
from frostline.frost.choice import find_line
from frostline.networks import catalog, model_folder
from frostline.networks.record import OpenedBackbone
from frostline.networks.registry import kind_of

CLOSE = 1e-5
SPREAD = (
    *("keras:mobilenet", "keras:vgg16", "keras:efficientnet", "keras:resnet_v2"),
    *("torchvision:shufflenet_v2_x0_5", "torchvision:squeezenet1_1", "torchvision:mobilenet_v2"),
    *("transformers:vit", "transformers:convnext", "transformers:dinov3", "transformers:siglip"),
    *("transformers:swin", "transformers:clip"),
    *("timm:test_vit", "timm:test_convnext", "timm:test_efficientnet"),
    *SMALL,
)
without_keras = pytest.mark.skipif(find_spec("keras") is None, reason="Keras is not installed")
without_transformers = pytest.mark.skipif(
    find_spec("transformers") is None, reason="transformers is not installed"
)


def cases(names: tuple[str, ...]) -> list[Any]:
    marks = {"keras": (without_keras,), "transformers": (without_transformers,)}
    return [pytest.param(name, marks=marks.get(name.partition(":")[0], ())) for name in names]


@pytest.mark.parametrize("case", cases(SPREAD))
def test_a_spread_of_families_holds(case: str, tmp_path: Path) -> None:
    check(case, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("case", cases(tuple(name for name in ALL if name not in SPREAD)))
def test_every_family_holds(case: str, tmp_path: Path) -> None:
    check(case, tmp_path)


def check(case: str, folder: Path) -> None:
    """Opens, lists, cuts, trains, saves, opens again, and compares."""
    kind, _, name = case.partition(":")
    torch.manual_seed(0)
    one = catalog.find(OPENING[kind](name, folder))
    awake(one.module)
    traced = catalog.trace(one, px_of(case))
    batch = torch.randn(3, *traced.input_shape, generator=torch.Generator().manual_seed(1))
    check_cuts(traced, batch)
    check_default_line(traced)
    train_a_step(traced, batch)
    check_folder(one, batch, folder / "net")


def awake(net: nn.Module) -> None:
    """Gives every tensor values that matter: norms, scales and statistics are not 0 or 1."""
    with torch.no_grad():
        for parameter in net.parameters():
            if parameter.dim() < 2 or parameter.numel() < 2 or float(parameter.std()) < 1e-4:
                parameter.add_(0.05 * torch.randn_like(parameter))
        for module in net.modules():
            if isinstance(getattr(module, "running_mean", None), torch.Tensor):
                module.running_mean.normal_(0, 0.1)  # type: ignore[union-attr, operator]


@torch.no_grad()
def check_cuts(traced: TracedNetwork, batch: torch.Tensor) -> None:
    """At every third line: exact, no weight on both sides, no mode that follows the other side."""
    assert [traced.lines[0].name, traced.lines[-1].name] == ["pixels", "pooled"]
    whole = traced.net(batch.clone())
    step = max(3, len(traced.lines) // 8)
    for line in (*traced.lines[::step], traced.lines[-1]):
        assert traced.find(line.name) is line
        prefix, suffix = traced.cut(line, verify=False)
        below = {id(parameter) for parameter in prefix.parameters()}
        assert below.isdisjoint(id(parameter) for parameter in suffix.parameters()), line.name
        kept = prefix.eval()(batch.clone())
        assert torch.equal(suffix.eval()(kept.clone()), whole), line.name
        suffix.train()
        assert not any(module.training for module in prefix.modules()), line.name
        assert torch.equal(prefix(batch.clone()), kept), line.name
        suffix.eval()


def check_default_line(traced: TracedNetwork) -> None:
    """Where `auto` lies first, something is left to train."""
    top = traced.lines[-1]
    line = find_line(traced, planner.DEFAULT_LINE, top)
    assert line.params_above > top.params_above, line.name


def train_a_step(traced: TracedNetwork, batch: torch.Tensor) -> None:
    """A step above the middle moves what lies above, and nothing below."""
    line = middle(traced)
    prefix, suffix = traced.cut(line, verify=False)
    with torch.no_grad():
        kept = prefix.eval()(batch.clone())
    frozen = {name: p.detach().clone() for name, p in prefix.named_parameters()}
    suffix.train()(kept.clone()).float().square().mean().backward()
    moved = [parameter for parameter in suffix.parameters() if parameter.grad is not None]
    assert moved
    with torch.no_grad():
        for parameter in moved:
            parameter -= 1e-3 * parameter.grad.sign()  # type: ignore[union-attr]
        assert torch.equal(prefix(batch.clone()), kept), line.name
    assert all(torch.equal(p, frozen[name]) for name, p in prefix.named_parameters())
    suffix.eval()


def middle(traced: TracedNetwork) -> Line:
    useful = [line for line in traced.lines if line.params_above > traced.lines[-1].params_above]
    return useful[len(useful) // 2]


@torch.no_grad()
def check_folder(one: OpenedBackbone, batch: torch.Tensor, folder: Path) -> None:
    """Saved after the step and opened again, it gives the same."""
    count = kind_of(one.record.kind).outputs(one.module)
    names = [f"class {index}" for index in range(count)]
    module = one.module.eval()
    model_folder.write_folder(folder, module, one.record, names)
    again = catalog.find(f"dir:{folder}")
    want, got = module(batch), again.module(batch)
    assert float((want - got).abs().max()) <= CLOSE * float(want.abs().max())
    assert again.record.classes == tuple(names)
