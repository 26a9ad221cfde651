import copy
import dataclasses
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from frostline.base.errors import LossError, TrainingError
from frostline.model.suffix import SuffixWithHead
from frostline.training import checkpoint, loop, objectives, parameters, scoring
from frostline.training.examples import Examples, batch_count, batches
from frostline.training.schedules import factor
from frostline.training.scoring import Score
from frostline.training.state import TrainSettings, TrainState, step_count

CPU = torch.device("cpu")
PLAIN = TrainSettings(epochs=4, batch_size=8, seed=3)


def examples(count: int, seed: int) -> tuple[Examples, dict[bytes, Tensor]]:
    torch.manual_seed(seed)
    targets = torch.arange(count) % 2
    values = torch.randn(count, 4, 3, 3) + 0.8 * (targets.reshape(-1, 1, 1, 1) * 2 - 1)
    rows = tuple(f"{seed}-{number}".encode() for number in range(count))
    return Examples(rows, targets), dict(zip(rows, values, strict=True))


TRAINING, _ONE = examples(40, 0)
VALIDATION, _OTHER = examples(20, 1)
KNOWN = {**_ONE, **_OTHER}


def fetch(rows: Sequence[bytes]) -> Tensor:
    return torch.stack([KNOWN[row] for row in rows])


def trainable(scores: int = 2, dropout: float = 0.2) -> SuffixWithHead:
    torch.manual_seed(1)
    suffix = nn.Sequential(nn.Conv2d(4, 6, 1), nn.BatchNorm2d(6), nn.ReLU(), nn.Dropout(dropout))
    head = nn.Sequential(nn.Flatten(), nn.Linear(54, scores))
    return SuffixWithHead(suffix, head, torch.float32)


def make_optimizer(model: SuffixWithHead, name: str, lr: float) -> torch.optim.Optimizer:
    return parameters.make_optimizer(
        name, parameters.groups(model.suffix, model.head, lr, 1.0, 0.01)
    )


def constant(step: int, steps: int) -> float:
    return 1.0


def begin(
    model: SuffixWithHead,
    settings: TrainSettings = PLAIN,
    state: TrainState | None = None,
    optimizer: torch.optim.Optimizer | None = None,
    **changed: Any,
) -> Iterator[dict[str, Any] | None]:
    training = changed.pop("training", TRAINING)
    name, lr = changed.pop("name", "adamw"), changed.pop("lr", 1e-2)
    arguments: dict[str, Any] = {
        "rate": constant,
        "fetch": fetch,
        "examples_of": lambda epoch: training,
        "validation": VALIDATION,
        **changed,
    }
    return loop.train(
        model,
        make_optimizer(model, name, lr) if optimizer is None else optimizer,
        settings=settings,
        device=CPU,
        state=TrainState() if state is None else state,
        **arguments,
    )


def train(
    model: SuffixWithHead, settings: TrainSettings = PLAIN, **changed: Any
) -> list[dict[str, Any]]:
    return [line for line in begin(model, settings, **changed) if line]


def weights(model: nn.Module) -> dict[str, Tensor]:
    return copy.deepcopy(model.state_dict())


def same(one: dict[str, Tensor], two: dict[str, Tensor]) -> bool:
    return list(one) == list(two) and all(torch.equal(one[name], two[name]) for name in one)


def timeless(lines: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{**line, "seconds": 0} for line in lines]


@pytest.mark.parametrize("name", ["adamw", "adam", "sgd", "rmsprop"])
def test_it_learns(name: str) -> None:
    lines = train(trainable(), name=name, lr=3e-3 if name == "rmsprop" else 1e-2)
    assert [line["epoch"] for line in lines] == [1, 2, 3, 4]
    assert [line["step"] for line in lines] == [5, 10, 15, 20]
    assert lines[-1]["train_loss"] < 0.6 * lines[0]["train_loss"]
    assert lines[-1]["val_accuracy"] > 0.9


def test_the_same_seed_gives_the_same_bits_and_another_seed_others() -> None:
    one, two, three = trainable(), trainable(), trainable()
    assert timeless(train(one)) == timeless(train(two))
    assert same(weights(one), weights(two))
    train(three, dataclasses.replace(PLAIN, seed=4))
    assert not same(weights(one), weights(three))


def test_none_comes_after_each_step_and_a_record_after_each_epoch() -> None:
    got = list(begin(trainable(), dataclasses.replace(PLAIN, epochs=2)))
    assert [line is not None for line in got] == [*[False] * 5, True] * 2
    keys = ["epoch", "step", "train_loss", "train_accuracy", "lr", "val_loss", "val_accuracy"]
    assert list(got[-1] or {}) == [*keys, "val_scaled_loss", "seconds"]


def test_each_epoch_asks_for_its_own_examples() -> None:
    asked = []

    def examples_of(epoch: int) -> Examples:
        asked.append(epoch)
        return TRAINING

    train(trainable(), examples_of=examples_of)
    assert asked == [1, 2, 3, 4]


def test_the_rate_of_a_group_is_its_peak_times_the_schedule() -> None:
    model = trainable()
    made = parameters.groups(model.suffix, model.head, 1e-2, 0.1, 0.01)
    optimizer, seen = parameters.make_optimizer("adamw", made), []
    rate = lambda step, steps: 1 - step / steps  # noqa: E731
    lines = []
    for line in begin(model, optimizer=optimizer, rate=rate):
        lines += [line] if line else []
        seen += [] if line else [[group["lr"] for group in optimizer.param_groups]]
    assert [group["name"] for group in optimizer.param_groups] == ["suffix"] * 2 + ["head"] * 2
    assert seen[5] == pytest.approx([7.5e-4, 7.5e-4, 7.5e-3, 7.5e-3])
    assert [line["lr"] for line in lines] == [seen[end][-1] for end in (4, 9, 14, 19)]


def test_frozen_batch_norm_keeps_its_statistics_and_trains_its_scale() -> None:
    model = trainable()
    norm = model.suffix[1]
    train(model, validation=None)
    assert torch.equal(norm.running_mean, torch.zeros(6))
    assert torch.equal(norm.running_var, torch.ones(6))
    assert not norm.num_batches_tracked
    assert not torch.equal(norm.weight, torch.ones(6))
    train(model, dataclasses.replace(PLAIN, batch_norm="train"), validation=None)
    assert not torch.equal(norm.running_mean, torch.zeros(6))


def test_a_head_s_own_batch_norm_learns_what_to_normalise_by() -> None:
    model = trainable()
    model.head = nn.Sequential(nn.Flatten(), nn.BatchNorm1d(54), nn.Linear(54, 2))
    train(model, validation=None)
    assert model.head[1].num_batches_tracked == 20
    assert not model.suffix[1].num_batches_tracked
    averaged = trainable()
    averaged.head = nn.Sequential(nn.Flatten(), nn.BatchNorm1d(54), nn.Linear(54, 2))
    train(averaged, dataclasses.replace(PLAIN, ema=0.9), validation=None)
    assert 0 < averaged.head[1].running_mean.norm() < model.head[1].running_mean.norm()


@pytest.mark.parametrize("batch_norm", ["train", "frozen"])
def test_batch_norms_are_not_trained_on_one_image_alone(batch_norm: str) -> None:
    one = Examples(TRAINING.rows[:1], TRAINING.targets[:1])
    model = trainable()
    settings = dataclasses.replace(PLAIN, batch_norm=batch_norm)
    if batch_norm == "frozen":
        train(model, settings, training=one)
        model.head = nn.Sequential(nn.Flatten(), nn.BatchNorm1d(54), nn.Linear(54, 2))
    with pytest.raises(TrainingError, match="one training image alone is nothing to take a mean"):
        train(model, settings, training=one)


def test_a_stage_never_leaves_the_model_worse_on_val_than_it_found_it() -> None:
    model = trainable()
    train(model)
    before = weights(model)
    best = scoring.score(model, fetch, VALIDATION, CPU)
    train(model, lr=3.0)
    after = scoring.score(model, fetch, VALIDATION, CPU)
    assert not best.better_than(after)
    if best == after:
        assert same(weights(model), before)


def test_what_is_kept_is_the_best_epoch() -> None:
    model, state, seen = trainable(), TrainState(), {}
    for line in begin(model, dataclasses.replace(PLAIN, epochs=6), state, lr=0.1):
        if line:
            values = line["val_loss"], line["val_accuracy"], 20, line["val_scaled_loss"]
            seen[line["epoch"]] = Score(*values)
    assert state.best is not None
    assert state.first is not None
    scores = {0: state.first, **seen}
    assert not any(one.better_than(state.best) for one in scores.values())
    assert scores[state.best_epoch] == dataclasses.replace(state.best, loss_error=None)
    assert scoring.score(model, fetch, VALIDATION, CPU) == state.best


def test_without_validation_the_last_state_is_kept() -> None:
    model, last = trainable(), {}
    for _ in begin(model, validation=None, lr=0.05):
        last = weights(model)
    assert same(weights(model), last)
    assert "val_loss" not in train(model, validation=None)[0]
    alone = trainable()
    with_val = train(alone, lr=0.05)
    without = train(trainable(), validation=None, lr=0.05)
    common = ("train_loss", "train_accuracy", "lr")
    assert [[a[key] for key in common] for a in with_val] == [
        [b[key] for key in common] for b in without
    ]


@pytest.mark.parametrize("validation", [VALIDATION, None])
@pytest.mark.parametrize("epochs", [1, 4])
def test_a_loss_that_is_no_number_stops_at_once_and_keeps_the_last_good_state(
    validation: Examples | None, epochs: int
) -> None:
    model = trainable()
    before = weights(model)
    settings = dataclasses.replace(PLAIN, epochs=epochs)
    with pytest.raises(TrainingError) as raised:
        train(model, settings, lr=1e30, name="sgd", validation=validation)
    assert str(raised.value) == (
        "the loss is no longer a number in epoch 1, step 1; the state of before this stage is "
        "kept. Try a learning rate ten times smaller or clip = 1.0, with which the same command "
        "goes on from there."
    )
    assert same(weights(model), before)


def test_another_precision_is_advised_with_another_folder_and_only_in_half_precision() -> None:
    model = trainable()
    model.compute = torch.bfloat16
    with pytest.raises(LossError, match=r"; or --precision fp32 with another --out\.$"):
        train(model, lr=1e30, name="sgd")
    other = " Try --precision fp32 with another --out."
    for compute, advice in ((torch.bfloat16, other), (torch.float32, "")):
        model = trainable()
        model.compute = compute
        with pytest.raises(LossError) as raised:
            train(model, fetch=lambda rows: fetch(rows) * math.inf)
        assert str(raised.value) == (
            "the loss on validation is no number before the first step: the activations of the "
            f"network itself are too large.{advice}"
        )


def test_a_loss_that_breaks_later_leaves_the_epoch_that_was_kept() -> None:
    model, state = trainable(), TrainState()
    rate = lambda step, steps: 1.0 if step < 7 else 1e30  # noqa: E731
    with pytest.raises(TrainingError, match=r"in epoch 2, step 8; the state of epoch 1 is kept"):
        for _ in begin(model, state=state, rate=rate, name="sgd", lr=1e-3, validation=None):
            pass
    want = trainable()
    train(want, dataclasses.replace(PLAIN, epochs=1), name="sgd", lr=1e-3, validation=None)
    assert same(weights(model), weights(want))


@pytest.mark.parametrize("validation", [VALIDATION, None])
def test_weights_that_break_in_the_very_last_step_are_not_kept(
    validation: Examples | None,
) -> None:
    model = trainable()
    before = weights(model)
    settings = dataclasses.replace(PLAIN, epochs=1, steps=1)
    with pytest.raises(TrainingError, match="no longer a number"):
        train(model, settings, lr=math.inf, name="sgd", validation=validation)
    assert same(weights(model), before)


def test_steps_count_instead_of_epochs_and_may_end_within_one() -> None:
    settings = dataclasses.replace(PLAIN, steps=7)
    assert step_count(40, settings) == 7
    got = list(begin(trainable(), settings))
    assert [line is not None for line in got] == [*[False] * 5, True, *[False] * 2, True]
    assert got[-1] is not None
    assert (got[-1]["epoch"], got[-1]["step"]) == (2, 7)
    more = dataclasses.replace(PLAIN, epochs=1, steps=12)
    assert [line["step"] for line in train(trainable(), more)] == [5, 10, 12]


@pytest.mark.parametrize(
    ("images", "size", "accumulate", "steps"), [(40, 8, 1, 20), (40, 8, 2, 12), (41, 8, 6, 4)]
)
def test_step_count_is_what_a_stage_takes(
    images: int, size: int, accumulate: int, steps: int
) -> None:
    settings = dataclasses.replace(PLAIN, batch_size=size, accumulate=accumulate)
    assert step_count(images, settings) == steps
    state, rows = TrainState(), TRAINING.rows * 2
    training = Examples(rows[:images], torch.arange(images) % 2)
    train(trainable(), settings, state=state, training=training, validation=None)
    assert state.step == steps


class Gradients:
    """An optimiser that notes the gradients it is given, and does nothing."""

    def __init__(self, model: nn.Module) -> None:
        self.parameters = list(model.parameters())
        self.param_groups: list[dict[str, Any]] = [{"lr": 0.0, "peak_lr": 0.0}]
        self.seen: list[list[Tensor]] = []

    def zero_grad(self, set_to_none: bool) -> None:
        assert set_to_none
        for parameter in self.parameters:
            parameter.grad = None

    def step(self) -> None:
        self.seen.append([p.grad.clone() for p in self.parameters if p.grad is not None])


def gradients(settings: TrainSettings, **changed: Any) -> list[list[Tensor]]:
    model = trainable(dropout=0.0)
    noted: Any = Gradients(model)
    train(model, settings, optimizer=noted, validation=None, **changed)
    seen: list[list[Tensor]] = noted.seen
    return seen


@pytest.mark.parametrize(("size", "accumulate"), [(4, 5), (20, 1), (14, 3), (9, 5)])
def test_accumulating_gives_the_gradients_of_the_larger_batch(size: int, accumulate: int) -> None:
    whole = 20 if 40 % size == 0 else 40
    small = gradients(TrainSettings(epochs=1, batch_size=size, accumulate=accumulate))
    large = gradients(TrainSettings(epochs=1, batch_size=whole))
    assert len(small) == len(large)
    for one, two in zip(small, large, strict=True):
        assert len(one) == 6
        torch.testing.assert_close(one, two, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("size", "accumulate"), [(1, 40), (8, 5), (14, 3)])
def test_accumulating_gives_the_gradients_of_the_larger_batch_with_weights_too(
    size: int, accumulate: int
) -> None:
    rare = Examples(TRAINING.rows, torch.tensor([0] * 36 + [1] * 4))
    settings = TrainSettings(epochs=1, batch_size=size, accumulate=accumulate, balance="weights")
    (small,) = gradients(settings, training=rare)
    (large,) = gradients(TrainSettings(epochs=1, batch_size=40, balance="weights"), training=rare)
    torch.testing.assert_close(small, large, rtol=1e-5, atol=1e-5)


def test_what_is_left_of_an_epoch_makes_a_step_of_its_own() -> None:
    small = gradients(TrainSettings(epochs=1, batch_size=8, accumulate=3))
    assert len(small) == 2


def test_clip_limits_the_norm_of_all_gradients_together() -> None:
    free = gradients(TrainSettings(epochs=1, batch_size=8))
    clipped = gradients(TrainSettings(epochs=1, batch_size=8, clip=0.01))
    norms = [nn.utils.get_total_norm(step).item() for step in clipped]
    assert norms == pytest.approx([0.01] * 5, rel=1e-3)
    assert all(nn.utils.get_total_norm(step) > 0.1 for step in free)
    loose = gradients(TrainSettings(epochs=1, batch_size=8, clip=1e6))
    torch.testing.assert_close(loose, free, rtol=0, atol=0)


def test_the_moving_average_of_the_weights_is_what_is_scored_and_kept() -> None:
    model = trainable()
    decay, average = 0.8, weights(model)
    settings = dataclasses.replace(PLAIN, epochs=2, ema=decay, batch_norm="train")
    step = 0
    for line in begin(model, settings, validation=None):
        if line is None:
            now = weights(model)
            # A long memory would be of little but the start early on, so it grows to its length.
            kept = min(decay, (1 + step) / (10 + step))
            average = {name: kept * average[name] + (1 - kept) * now[name] for name in now}
            step += 1
    last = weights(model)
    for name, value in last.items():
        if value.is_floating_point():
            torch.testing.assert_close(value, average[name], rtol=1e-5, atol=1e-6)
    plain = trainable()
    train(plain, dataclasses.replace(settings, ema=0.0), validation=None)
    assert not torch.allclose(last["head.1.weight"], plain.head[1].weight)


def test_an_average_that_is_no_number_is_not_kept() -> None:
    model = trainable()
    before = weights(model)
    settings = dataclasses.replace(PLAIN, epochs=1, steps=1, ema=0.5)
    for validation in (VALIDATION, None):
        with pytest.raises(TrainingError, match="no longer a number"):
            train(model, settings, lr=math.inf, name="sgd", validation=validation)
        assert same(weights(model), before)


def test_training_goes_on_from_its_own_weights_and_not_from_their_average() -> None:
    settings = dataclasses.replace(PLAIN, epochs=3)
    lines = train(trainable(), settings)
    averaged = train(trainable(), dataclasses.replace(settings, ema=0.9))
    assert [a["train_loss"] for a in lines] == [b["train_loss"] for b in averaged]
    assert [a["val_loss"] for a in lines] != [b["val_loss"] for b in averaged]


@pytest.mark.parametrize("select", ["best", "last", "end"])
def test_a_stage_stops_in_the_middle_of_its_schedule(select: str) -> None:
    settings = dataclasses.replace(PLAIN, epochs=4, ema=0.9, select=select)
    whole, stopped, ended = trainable(), trainable(), trainable()
    lines = train(whole, settings, rate=falling)
    some = train(stopped, dataclasses.replace(settings, stop_after=2), rate=falling)
    assert timeless(some) == timeless(lines[:2])
    # The same as a search does where time runs out.
    state, epochs = TrainState(), 0
    for line in begin(ended, settings, state=state, rate=falling):
        epochs += line is not None
        if epochs == 2:
            loop.end_early(ended, state, select)
            break
    assert state.finished
    assert same(weights(ended), weights(stopped))
    assert not same(weights(whole), weights(stopped))


def test_patience_ends_a_stage_that_gets_no_better() -> None:
    model, state = trainable(), TrainState()
    train(model)
    best = weights(model)
    lines = train(model, dataclasses.replace(PLAIN, epochs=9, patience=2), state=state, lr=1e-30)
    assert [line["epoch"] for line in lines] == [1, 2]
    assert state.finished
    assert state.best_epoch == 0
    assert same(weights(model), best)
    assert train(model, PLAIN, state=state) == []


def test_patience_counts_from_the_best_epoch() -> None:
    state = TrainState()
    settings = dataclasses.replace(PLAIN, epochs=30, patience=3)
    lines = train(trainable(), settings, state=state, lr=0.05)
    assert len(lines) == min(30, state.best_epoch + 3)


def test_mixup_and_noise_change_what_is_seen_and_still_learn() -> None:
    settings = dataclasses.replace(PLAIN, epochs=6)
    plain = train(trainable(), settings)
    for changed in ({"mixup": 0.4}, {"noise": 0.3}):
        lines = train(trainable(), dataclasses.replace(settings, **changed))
        assert lines[0]["train_loss"] != plain[0]["train_loss"]
        assert lines[-1]["val_accuracy"] > 0.8


def test_mixup_tells_how_often_the_label_of_the_larger_share_is_right() -> None:
    """A network that reads the class off: it says whichever has the larger share."""
    sure = dict(zip(TRAINING.rows, TRAINING.targets, strict=True))
    tell = lambda rows: torch.stack([sure[row] * 2.0 - 1 for row in rows])[:, None]  # noqa: E731
    head = nn.Linear(1, 2)
    with torch.no_grad():
        head.weight.copy_(torch.tensor([[-9.0], [9.0]]))
        head.bias.zero_()
    model = SuffixWithHead(nn.Identity(), head, torch.float32)
    settings = TrainSettings(epochs=3, batch_size=4, mixup=0.4)
    lines = train(model, settings, fetch=tell, validation=None, lr=1e-9)
    assert [line["train_accuracy"] for line in lines] == [1.0] * 3


def test_mixup_never_writes_into_what_it_was_given() -> None:
    before = {row: value.clone() for row, value in KNOWN.items()}
    held = torch.stack([KNOWN[row] for row in TRAINING.rows])
    places = {row: number for number, row in enumerate(TRAINING.rows)}
    views = lambda rows: held[places[rows[0]] : places[rows[0]] + 1].expand(  # noqa: E731
        len(rows), -1, -1, -1
    )
    settings = dataclasses.replace(PLAIN, epochs=1, mixup=0.4, noise=0.3)
    train(trainable(), settings, fetch=views, validation=None)
    assert all(torch.equal(held[places[row]], before[row]) for row in TRAINING.rows)


@pytest.mark.parametrize("balance", ["sampling", "weights"])
def test_balance_makes_a_rare_class_count(balance: str) -> None:
    torch.manual_seed(2)
    targets = torch.tensor([0] * 36 + [1] * 4)
    training = Examples(TRAINING.rows, targets)
    noise = {row: torch.randn(4, 3, 3) for row in TRAINING.rows}
    blind = lambda rows: torch.stack([noise[row] for row in rows])  # noqa: E731

    def leaning(kind: str) -> float:
        settings = TrainSettings(epochs=10, batch_size=8, balance=kind, seed=3)
        model = trainable()
        train(model, settings, fetch=blind, training=training, validation=None, lr=1e-3)
        logits = scoring.predict(model, fetch, VALIDATION, CPU)
        return float(logits.softmax(1)[:, 1].mean())

    assert leaning(balance) > leaning("none") + 0.1


def test_sampling_draws_classes_alike_and_the_same_ones_for_a_seed() -> None:
    targets = torch.tensor([0] * 360 + [1] * 40)
    rows = tuple(number.to_bytes(2, "little") for number in range(400))
    settings = dataclasses.replace(PLAIN, epochs=1, balance="sampling")
    asked: list[bytes] = []

    def noting(rows: Sequence[bytes]) -> Tensor:
        asked.extend(rows)
        return torch.zeros(len(rows), 4, 3, 3)

    for _ in range(2):
        train(
            trainable(), settings, fetch=noting, training=Examples(rows, targets), validation=None
        )
    assert asked[:400] == asked[400:]
    rare = sum(int.from_bytes(row, "little") >= 360 for row in asked[:400])
    assert 160 < rare < 240


@pytest.mark.parametrize("kind", ["binary", "multilabel"])
def test_binary_and_several_labels_are_learned(kind: str) -> None:
    def turn(whole: Examples) -> Examples:
        own = whole.targets
        if kind == "multilabel":
            own = torch.stack([own, 1 - own, torch.ones_like(own)], 1).float()
        return Examples(whole.rows, own)

    settings = dataclasses.replace(PLAIN, kind=kind, classes=2 if kind == "binary" else 3, epochs=8)
    state, validation = TrainState(), turn(VALIDATION)
    for changed in ({}, {"balance": "weights"}, {"balance": "sampling"}, {"mixup": 0.2}):
        model, state = trainable(1 if kind == "binary" else 3), TrainState()
        lines = train(
            model,
            dataclasses.replace(settings, **changed),
            state=state,
            training=turn(TRAINING),
            validation=validation,
        )
        assert lines[-1]["val_accuracy"] > 0.85
    logits = scoring.predict(model, fetch, validation, CPU)
    assert logits.shape == (20, 1 if kind == "binary" else 3)
    found = scoring.score(model, fetch, validation, CPU, kind)
    assert found == state.best
    assert found.accuracy == objectives.correct(logits, validation.targets, kind) / 20


def test_label_smoothing_keeps_scores_nearer_to_each_other() -> None:
    sharp, soft = trainable(), trainable()
    train(sharp, validation=None)
    train(soft, dataclasses.replace(PLAIN, label_smoothing=0.4), validation=None)
    spread = [
        scoring.predict(m, fetch, TRAINING, CPU).diff(dim=1).abs().mean() for m in (sharp, soft)
    ]
    assert spread[1] < 0.7 * spread[0]


@pytest.mark.parametrize("changed", [{"label_smoothing": 0.4}, {"balance": "weights"}])
def test_the_training_loss_is_told_as_on_validation(changed: dict[str, Any]) -> None:
    rare = Examples(TRAINING.rows[:31], TRAINING.targets[:31])
    settings = dataclasses.replace(PLAIN, epochs=1)
    lines = [
        train(trainable(dropout=0.0), one, lr=1e-12, training=rare, validation=rare)[0]
        for one in (settings, dataclasses.replace(settings, **changed))
    ]
    assert lines[1]["train_loss"] == pytest.approx(lines[0]["train_loss"], rel=1e-9)
    assert lines[1]["train_loss"] == pytest.approx(lines[1]["val_loss"], rel=1e-5)


def test_the_caller_s_generator_is_left_where_it_was() -> None:
    torch.manual_seed(9)
    before = torch.get_rng_state()
    settings = dataclasses.replace(PLAIN, mixup=0.2, noise=0.1)
    model = trainable()
    torch.set_rng_state(before)
    train(model, settings)
    assert torch.equal(torch.get_rng_state(), before)
    generator: Any = begin(model, settings)
    for _ in range(3):
        next(generator)
    generator.close()
    assert torch.equal(torch.get_rng_state(), before)
    with pytest.raises(TrainingError):
        train(model, settings, lr=1e30, name="sgd")
    assert torch.equal(torch.get_rng_state(), before)


def test_what_the_caller_draws_between_steps_changes_nothing() -> None:
    one, two = trainable(), trainable()
    train(one)
    for _ in begin(two):
        torch.rand(7)
    assert same(weights(one), weights(two))


def test_an_error_while_fetching_comes_through() -> None:
    def broken(rows: Sequence[bytes]) -> Tensor:
        raise TrainingError("disk gone")

    with pytest.raises(TrainingError, match="disk gone"):
        train(trainable(), fetch=broken, validation=None)


@pytest.mark.parametrize(
    ("count", "size"), [(34, 32), (17, 16), (32, 32), (1, 8), (100, 7), (0, 4)]
)
def test_batches_are_even_and_hold_each_image_once(count: int, size: int) -> None:
    rows = tuple(bytes([number]) for number in range(count))
    whole = Examples(rows, torch.arange(count))
    numbers = lambda rows: torch.tensor([row[0] for row in rows])  # noqa: E731
    order = list(reversed(range(count)))
    made = list(batches(numbers, whole, order, size))
    assert len(made) == batch_count(count, size) == -(-count // size)
    assert [int(number) for _, targets in made for number in targets] == order
    assert all(torch.equal(x, targets) for x, targets in made)
    lengths = {len(targets) for _, targets in made} or {0}
    assert max(lengths) <= size
    assert max(lengths) - min(lengths) <= 1
    skipped = list(batches(numbers, whole, order, size, skip=1))
    assert [x.tolist() for x, _ in skipped] == [x.tolist() for x, _ in made[1:]]


def test_a_batch_norm_can_be_trained_on_one_image_more_than_fills_the_batches() -> None:
    model = trainable()
    training, known = examples(17, 0)
    one_px = lambda rows: torch.stack([known[row] for row in rows])[:, :, :1, :1]  # noqa: E731
    model.head = nn.Sequential(nn.Flatten(), nn.Linear(6, 2))
    settings = TrainSettings(epochs=1, batch_size=16, batch_norm="train")
    train(model, settings, name="sgd", fetch=one_px, training=training, validation=None)


# Each stage below is stopped after every one of these many yields: at the start, after the first
# step, in mid-epoch, after the last step of an epoch but before its record, right after the
# record, in the second epoch, and at the very end.
STOPS = (1, 3, 5, 6, 7, 9, 12)
SETTINGS: dict[str, dict[str, Any]] = {
    "dropout": {},
    "mixup": {"mixup": 0.3},
    "noise": {"noise": 0.2},
    "ema": {"ema": 0.9},
    "accumulate": {"accumulate": 2, "batch_size": 4},
    "clip": {"clip": 0.5},
    "sampling": {"balance": "sampling"},
    "weights": {"balance": "weights"},
    "patience": {"patience": 1, "epochs": 4},
    "stop_after": {"stop_after": 2, "epochs": 4, "select": "last"},
    "train": {"batch_norm": "train"},
    "steps": {"steps": 8},
    "all": {
        "mixup": 0.3,
        "noise": 0.2,
        "ema": 0.9,
        "clip": 0.5,
        "balance": "weights",
        "patience": 2,
        "batch_norm": "train",
        "label_smoothing": 0.1,
    },
}


def falling(step: int, steps: int) -> float:
    return factor(step, steps, 0.2, "cosine")


def interrupted(
    path: Path, stop: int, settings: TrainSettings, name: str, validation: Examples | None
) -> tuple[list[dict[str, Any]], dict[str, Tensor]]:
    """Stops a stage after `stop` yields, writes, reads, and goes on with everything new."""
    model, state, lines = trainable(), TrainState(), []
    optimizer = make_optimizer(model, name, 0.02)
    more = {"rate": falling, "validation": validation}
    generator: Any = begin(model, settings, state, optimizer, **more)
    for _, line in zip(range(stop), generator, strict=False):
        lines += [line] if line else []
    facts, tensors = checkpoint.pack(model, optimizer, state)
    checkpoint.write(path, facts, tensors)
    generator.close()
    torch.manual_seed(1234)
    fresh = trainable()
    for parameter in fresh.parameters():
        nn.init.normal_(parameter)
    new = make_optimizer(fresh, name, 0.02)
    found = checkpoint.read(path)
    assert found is not None
    again = checkpoint.unpack(found, fresh, new)
    lines += [line for line in begin(fresh, settings, again, new, **more) if line]
    return timeless(lines), weights(fresh)


@pytest.mark.parametrize("name", ["adamw", "adam", "sgd", "rmsprop"])
@pytest.mark.parametrize("setting", SETTINGS)
def test_resume_equals_uninterrupted(tmp_path: Path, name: str, setting: str) -> None:
    settings = dataclasses.replace(PLAIN, **{"epochs": 2, **SETTINGS[setting]})
    validation = None if setting == "noise" else VALIDATION
    whole = trainable()
    optimizer = make_optimizer(whole, name, 0.02)
    want = train(whole, settings, optimizer=optimizer, rate=falling, validation=validation)
    for stop in STOPS if name == "adamw" else STOPS[1::3]:
        lines, got = interrupted(tmp_path / "checkpoint", stop, settings, name, validation)
        assert lines == timeless(want), stop
        assert same(got, weights(whole)), stop


def test_resume_keeps_weights_in_the_order_they_lie_in_memory(tmp_path: Path) -> None:
    """The fused optimisers go through memory as it lies, so state and weight must lie alike."""

    def model() -> SuffixWithHead:
        torch.manual_seed(1)
        suffix = nn.Sequential(nn.Conv2d(4, 6, 3, padding=1), nn.ReLU())
        head = nn.Sequential(nn.Flatten(), nn.Linear(54, 2))
        return SuffixWithHead(suffix, head, torch.float32).to(memory_format=torch.channels_last)

    want = model()
    train(want)
    one, state = model(), TrainState()
    optimizer = make_optimizer(one, "adamw", 1e-2)
    generator: Any = begin(one, PLAIN, state, optimizer)
    for _ in range(7):
        next(generator)
    checkpoint.write(tmp_path / "c", *checkpoint.pack(one, optimizer, state))
    generator.close()
    two = model()
    optimizer = make_optimizer(two, "adamw", 1e-2)
    found = checkpoint.read(tmp_path / "c")
    assert found is not None
    again = checkpoint.unpack(found, two, optimizer)
    train(two, state=again, optimizer=optimizer)
    assert same(weights(two), weights(want))


def test_two_interruptions_are_as_none(tmp_path: Path) -> None:
    settings = dataclasses.replace(PLAIN, epochs=2, ema=0.9)
    want = trainable()
    train(want, settings)
    model, state = trainable(), TrainState()
    for _ in range(2):
        optimizer = make_optimizer(model, "adamw", 1e-2)
        found = checkpoint.read(tmp_path / "c")
        if found:
            model = trainable()
            optimizer = make_optimizer(model, "adamw", 1e-2)
            state = checkpoint.unpack(found, model, optimizer)
        generator: Any = begin(model, settings, state, optimizer)
        for _ in range(4):
            next(generator)
        checkpoint.write(tmp_path / "c", *checkpoint.pack(model, optimizer, state))
        generator.close()
    found = checkpoint.read(tmp_path / "c")
    assert found is not None
    last = trainable()
    optimizer = make_optimizer(last, "adamw", 1e-2)
    train(last, settings, state=checkpoint.unpack(found, last, optimizer), optimizer=optimizer)
    assert same(weights(last), weights(want))


# Memory.


class _Tight(SuffixWithHead):
    """Runs out of memory above so many pictures at once, on the way there or back."""

    room = 3
    fails_backward = False

    def forward(self, x: Tensor) -> Tensor:
        if len(x) <= self.room or not self.training:
            return super().forward(x)
        if not self.fails_backward:
            raise MemoryError
        found = super().forward(x)
        found.register_hook(_no_memory)
        return found


def _no_memory(gradient: Tensor) -> Tensor:
    raise MemoryError


def without_chance(kind: type[SuffixWithHead]) -> SuffixWithHead:
    torch.manual_seed(1)
    suffix = nn.Sequential(nn.Conv2d(4, 6, 1), nn.BatchNorm2d(6), nn.ReLU())
    return kind(suffix, nn.Sequential(nn.Flatten(), nn.Linear(54, 2)), torch.float32)


@pytest.mark.parametrize("fails_backward", [False, True])
@pytest.mark.parametrize("accumulate", [1, 2])
@pytest.mark.parametrize("mixup", [0.0, 0.4])
def test_where_memory_runs_out_parts_learn_the_same(
    monkeypatch: pytest.MonkeyPatch, fails_backward: bool, accumulate: int, mixup: float
) -> None:
    monkeypatch.setattr(_Tight, "fails_backward", fails_backward)
    settings = dataclasses.replace(
        PLAIN, accumulate=accumulate, mixup=mixup, clip=1.0, label_smoothing=0.1
    )
    whole, tight = without_chance(SuffixWithHead), without_chance(_Tight)
    one, two = train(whole, settings), train(tight, settings)
    for a, b in zip(one, two, strict=True):
        assert a["train_loss"] == pytest.approx(b["train_loss"], rel=1e-4)
        assert a["train_accuracy"] == b["train_accuracy"]
        assert a["val_loss"] == pytest.approx(b["val_loss"], rel=1e-4)
    for name, value in whole.state_dict().items():
        assert torch.allclose(value, tight.state_dict()[name], atol=1e-5), name


def test_one_picture_that_is_too_much_ends_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_Tight, "room", 0)
    with pytest.raises(MemoryError):
        train(without_chance(_Tight))
