from typing import Any

import pytest
import torch
from torch import nn

from frostline.recipe import OPTIMIZERS
from frostline.training import parameters


def parts() -> tuple[nn.Module, nn.Module]:
    suffix = nn.Sequential(
        nn.Sequential(nn.Conv2d(4, 6, 1), nn.BatchNorm2d(6)),
        nn.Sequential(nn.Conv2d(6, 6, 1, bias=False), nn.GroupNorm(2, 6)),
    )
    return suffix, nn.Linear(6, 2)


def names(made: list[dict[str, Any]], *modules: nn.Module) -> list[list[str]]:
    known = {id(value): name for part in modules for name, value in part.named_parameters()}
    return [[known[id(value)] for value in group["params"]] for group in made]


def test_biases_and_norms_are_not_decayed_and_the_suffix_goes_slower() -> None:
    suffix, head = parts()
    made = parameters.groups(suffix, head, 1e-2, 0.1, 0.05)
    facts = {(g["name"], g["weight_decay"]): (g["lr"], g["peak_lr"]) for g in made}
    assert facts == {
        ("suffix", 0.05): (pytest.approx(1e-3), pytest.approx(1e-3)),
        ("suffix", 0.0): (pytest.approx(1e-3), pytest.approx(1e-3)),
        ("head", 0.05): (1e-2, 1e-2),
        ("head", 0.0): (1e-2, 1e-2),
    }
    assert names(made, suffix, head) == [
        ["0.0.weight", "1.0.weight"],
        ["0.0.bias", "0.1.weight", "0.1.bias", "1.1.weight", "1.1.bias"],
        ["weight"],
        ["bias"],
    ]


def test_rates_fall_from_block_to_block_downwards() -> None:
    suffix, head = parts()
    depths = {name: 2 for name, _ in suffix.named_parameters() if name.startswith("0.0")}
    depths |= {name: 1 for name, _ in suffix.named_parameters() if name.startswith("0.1")}
    made = parameters.groups(suffix, head, 1e-2, 0.5, 0.05, depths, 0.8)
    assert [(group["peak_lr"], group["weight_decay"]) for group in made] == [
        (pytest.approx(3.2e-3), 0.05),
        (pytest.approx(3.2e-3), 0.0),
        (pytest.approx(4e-3), 0.0),
        (pytest.approx(5e-3), 0.05),
        (pytest.approx(5e-3), 0.0),
        (1e-2, 0.05),
        (1e-2, 0.0),
    ]
    every = [value for group in made for value in group["params"]]
    assert len(every) == len({id(value) for value in every}) == 9


def test_without_decay_by_layer_depths_make_no_groups() -> None:
    suffix, head = parts()
    depths = {name: 3 for name, _ in suffix.named_parameters()}
    assert len(parameters.groups(suffix, head, 1e-2, 1.0, 0.05, depths)) == 4


def test_what_the_network_wants_spared_is_not_decayed() -> None:
    suffix, head = parts()
    made = parameters.groups(suffix, head, 1e-2, 0.1, 0.05, undecayed={"0.0.*", "weight"})
    assert names([group for group in made if group["weight_decay"]], suffix, head) == [
        ["1.0.weight"],
        ["weight"],
    ]


def test_a_suffix_of_nothing_has_no_groups() -> None:
    made = parameters.groups(nn.Identity(), nn.Linear(6, 2), 1e-2, 0.1, 0.0)
    assert [group["name"] for group in made] == ["head", "head"]


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_each_optimiser_is_the_one_of_its_name(name: str) -> None:
    suffix, head = parts()
    optimizer = parameters.make_optimizer(name, parameters.groups(suffix, head, 1e-2, 0.1, 0.05))
    assert type(optimizer).__name__.lower() == name
    assert [group["weight_decay"] for group in optimizer.param_groups] == [0.05, 0.0] * 2
    assert [group["lr"] for group in optimizer.param_groups] == pytest.approx(
        [1e-3] * 2 + [1e-2] * 2
    )
    if name == "sgd":
        assert all(group["momentum"] == 0.9 for group in optimizer.param_groups)
        assert all(group["nesterov"] for group in optimizer.param_groups)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_weight_decay_shrinks_weights_that_have_no_gradient_and_only_those(name: str) -> None:
    suffix, head = parts()
    optimizer = parameters.make_optimizer(name, parameters.groups(suffix, head, 1e-2, 1.0, 0.5))
    nn.init.ones_(head.weight)
    before = [value.detach().clone() for value in head.parameters()]
    for value in (*suffix.parameters(), *head.parameters()):
        value.grad = torch.zeros_like(value)
    optimizer.step()
    assert (head.weight.abs() < before[0].abs()).all()
    assert torch.equal(head.bias, before[1])
