from collections.abc import Sequence
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from frostline.classifier import Upper
from frostline.errors import TrainingError
from frostline.training import loop, parameters
from frostline.training.loop import Examples

CPU = torch.device("cpu")


def examples(count: int, seed: int) -> tuple[Examples, dict[bytes, Tensor]]:
    torch.manual_seed(seed)
    targets = torch.arange(count) % 2
    values = torch.randn(count, 4, 3, 3) + 0.8 * (targets.reshape(-1, 1, 1, 1) * 2 - 1)
    rows = tuple(f"{seed}-{number}".encode() for number in range(count))
    return Examples(rows, targets), dict(zip(rows, values, strict=True))


def upper() -> Upper:
    torch.manual_seed(1)
    suffix = nn.Sequential(nn.Conv2d(4, 6, 1), nn.BatchNorm2d(6), nn.ReLU(), nn.Dropout(0.2))
    head = nn.Sequential(nn.Flatten(), nn.Linear(54, 2))
    return Upper(suffix, head, torch.float32)


def train(model: Upper, **changed: Any) -> list[dict[str, Any]]:
    training, one = examples(40, 0)
    validation, other = examples(20, 1)
    known = {**one, **other}

    def fetch(rows: Sequence[bytes]) -> Tensor:
        return torch.stack([known[row] for row in rows])

    lines: list[dict[str, Any]] = []
    settings = {"epochs": 4, "batch_size": 8, "label_smoothing": 0.0, "batch_norm": "frozen"}
    lr = changed.pop("lr", 1e-2)
    optimizer = parameters.make_optimizer(
        changed.pop("optimizer", "adamw"),
        parameters.groups(model.suffix, model.head, lr, 1.0, 0.01),
    )
    chosen = changed.pop("validation", validation)
    loop.train(
        model,
        optimizer,
        lambda step, steps: 1.0,
        changed.pop("fetch", fetch),
        training,
        chosen,
        **{**settings, **changed},
        seed=3,
        device=CPU,
        record=lines.append,
    )
    return lines


@pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
def test_it_learns(optimizer: str) -> None:
    lines = train(upper(), optimizer=optimizer)
    assert [line["epoch"] for line in lines] == [1, 2, 3, 4]
    assert lines[-1]["train_loss"] < 0.6 * lines[0]["train_loss"]
    assert lines[-1]["val_accuracy"] > 0.9


def test_the_same_seed_gives_the_same_bits() -> None:
    one, two = upper(), upper()
    first, second = train(one), train(two)
    assert all(
        torch.equal(a, b)
        for a, b in zip(one.state_dict().values(), two.state_dict().values(), strict=True)
    )
    times = {"seconds": 0}
    assert [{**line, **times} for line in first] == [{**line, **times} for line in second]


def test_frozen_batch_norm_keeps_its_statistics_and_trains_its_scale() -> None:
    model = upper()
    norm = model.suffix[1]
    train(model, batch_norm="frozen", validation=None)
    assert torch.equal(norm.running_mean, torch.zeros(6))
    assert not torch.equal(norm.weight, torch.ones(6))
    train(model, batch_norm="train", validation=None)
    assert not torch.equal(norm.running_mean, torch.zeros(6))


def test_a_stage_never_leaves_the_model_worse_on_val_than_it_found_it() -> None:
    model = upper()
    train(model)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    validation, known = examples(20, 1)
    fetch = lambda rows: torch.stack([known[row] for row in rows])  # noqa: E731
    best = loop.score(model, fetch, validation, CPU)
    train(model, lr=3.0)
    after = loop.score(model, fetch, validation, CPU)
    assert not best.better_than(after)
    if best == after:
        assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())


def test_a_loss_that_is_no_number_stops_at_once_and_keeps_the_last_good_state() -> None:
    model = upper()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    with pytest.raises(TrainingError, match=r"no longer a number in epoch 1.*ten times smaller"):
        train(model, lr=1e30, optimizer="sgd")
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())


def test_biases_and_norms_are_not_decayed_and_the_suffix_goes_slower() -> None:
    model = upper()
    made = parameters.groups(model.suffix, model.head, 1e-2, 0.1, 0.05)
    facts = {(g["name"], g["weight_decay"]): (g["lr"], len(g["params"])) for g in made}
    assert facts == {
        ("suffix", 0.05): (pytest.approx(1e-3), 1),
        ("suffix", 0.0): (pytest.approx(1e-3), 3),
        ("head", 0.05): (1e-2, 1),
        ("head", 0.0): (1e-2, 1),
    }


def test_an_error_while_fetching_comes_through() -> None:
    def broken(rows: Sequence[bytes]) -> Tensor:
        raise TrainingError("disk gone")

    with pytest.raises(TrainingError, match="disk gone"):
        train(upper(), fetch=broken, validation=None)


@pytest.mark.parametrize(
    ("count", "size"), [(34, 32), (17, 16), (32, 32), (1, 8), (100, 7), (0, 4)]
)
def test_batches_are_even_and_hold_each_image_once(count: int, size: int) -> None:
    rows = tuple(bytes([number]) for number in range(count))
    whole = Examples(rows, torch.arange(count))
    fetch = lambda rows: torch.tensor([row[0] for row in rows])  # noqa: E731
    order = list(reversed(range(count)))
    made = list(loop.batches(fetch, whole, order, size))
    assert len(made) == -(-count // size)
    assert [int(number) for _, targets in made for number in targets] == order
    assert all(torch.equal(x, targets) for x, targets in made)
    lengths = {len(targets) for _, targets in made} or {0}
    assert max(lengths) <= size
    assert max(lengths) - min(lengths) <= 1


def test_a_batch_norm_can_be_trained_on_one_image_more_than_fills_the_batches() -> None:
    model = upper()
    training, known = examples(17, 0)
    fetch = lambda rows: torch.stack([known[row] for row in rows])[:, :, :1, :1]  # noqa: E731
    model.head = nn.Sequential(nn.Flatten(), nn.Linear(6, 2))
    optimizer = parameters.make_optimizer(
        "sgd", parameters.groups(model.suffix, model.head, 1e-3, 1.0, 0.0)
    )
    loop.train(
        model,
        optimizer,
        lambda step, steps: 1.0,
        fetch,
        training,
        None,
        epochs=1,
        batch_size=16,
        label_smoothing=0.0,
        batch_norm="train",
        seed=0,
        device=CPU,
        record=lambda line: None,
    )
