import dataclasses
import errno
import os
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from frostline.base.errors import DiskError, RunError
from frostline.training import checkpoint, parameters
from frostline.training.checkpoint import CheckpointClock
from frostline.training.scoring import Score
from frostline.training.state import TrainState

ADVICE = "Remove it, and the run begins its training anew."


class Net(nn.Module):
    def __init__(self, width: int = 6) -> None:
        super().__init__()
        self.suffix = nn.Sequential(nn.Conv2d(4, width, 3), nn.BatchNorm2d(width))
        self.head = nn.Linear(width, 2)


def stepped(width: int = 6, name: str = "adamw") -> tuple[Net, torch.optim.Optimizer]:
    torch.manual_seed(0)
    net = Net(width)
    made = parameters.groups(net.suffix, net.head, 1e-2, 0.5, 0.01)
    optimizer = parameters.make_optimizer(name, made)
    for value in net.parameters():
        value.grad = torch.randn_like(value)
    optimizer.step()
    return net, optimizer


def standing(net: nn.Module) -> TrainState:
    kept = {name: value.clone() + 1 for name, value in net.state_dict().items()}
    averaged = {name: value.clone() + 2 for name, value in net.state_dict().items()}
    return TrainState(
        epoch=3,
        batch=2,
        step=17,
        loss_sum=0.1 + 0.2,
        correct=5,
        seen=16,
        seconds=1 / 3,
        first=Score(2 / 3, 0.25, 12),
        best=Score(1 / 7, 0.75, 12),
        best_epoch=2,
        best_weights=kept,
        averaged=averaged,
    )


def write(path: Path, name: str = "adamw") -> tuple[Net, torch.optim.Optimizer, TrainState]:
    net, optimizer = stepped(name=name)
    state = standing(net)
    facts, tensors = checkpoint.pack(net, optimizer, state)
    checkpoint.write(path, {"stage": 1, **facts}, tensors)
    return net, optimizer, state


def same(one: dict[str, Tensor], two: dict[str, Tensor]) -> bool:
    return list(one) == list(two) and all(torch.equal(one[name], two[name]) for name in one)


@pytest.mark.parametrize("name", ["adamw", "adam", "sgd", "rmsprop"])
def test_what_was_packed_is_unpacked_to_the_last_bit(tmp_path: Path, name: str) -> None:
    net, optimizer, state = write(tmp_path / "c", name)
    found = checkpoint.read(tmp_path / "c")
    assert found is not None
    assert found.facts["stage"] == 1
    torch.manual_seed(5)
    fresh = Net()
    made = parameters.groups(fresh.suffix, fresh.head, 1e-2, 0.5, 0.01)
    other = parameters.make_optimizer(name, made)
    again = checkpoint.unpack(found, fresh, other)
    plain = [{**vars(one), "best_weights": None, "averaged": None} for one in (state, again)]
    assert plain[0] == plain[1]
    assert same(dict(sorted(state.best_weights.items())), dict(sorted(again.best_weights.items())))
    assert same(dict(sorted(state.averaged.items())), dict(sorted(again.averaged.items())))
    assert same(net.state_dict(), fresh.state_dict())
    before, after = optimizer.state_dict(), other.state_dict()
    assert before["param_groups"] == after["param_groups"]
    assert before["state"].keys() == after["state"].keys()
    for index, values in before["state"].items():
        assert {key for key, value in values.items() if value is not None} == {
            key for key, value in after["state"][index].items() if value is not None
        }
        for key, value in after["state"][index].items():
            assert torch.equal(torch.as_tensor(values[key]), value)


def test_before_a_stage_s_first_step_only_weights_are_kept(tmp_path: Path) -> None:
    net, _ = stepped()
    checkpoint.write(tmp_path / "c", *checkpoint.pack(net, None, None))
    found = checkpoint.read(tmp_path / "c")
    assert found is not None
    fresh, optimizer = stepped()
    nn.init.zeros_(fresh.head.weight)
    assert checkpoint.unpack(found, fresh, optimizer) == TrainState()
    assert same(net.state_dict(), fresh.state_dict())
    assert set(found.part("upper")) == set(net.state_dict())
    assert found.part("kept") == {}


def test_where_there_is_none_nothing_is_read(tmp_path: Path) -> None:
    assert checkpoint.read(tmp_path / "none") is None


def test_steps_after_unpacking_do_not_write_into_what_was_read(tmp_path: Path) -> None:
    write(tmp_path / "c")
    found = checkpoint.read(tmp_path / "c")
    assert found is not None
    before = {name: value.clone() for name, value in found.tensors.items()}
    net, optimizer = stepped()
    checkpoint.unpack(found, net, optimizer)
    for value in net.parameters():
        value.grad = torch.ones_like(value)
    optimizer.step()
    assert same(before, found.tensors)


def test_every_flipped_byte_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "c"
    checkpoint.write(path, {"stage": 1}, {"upper.a": torch.arange(6.0).reshape(2, 3)})
    whole = path.read_bytes()
    for at in range(len(whole)):
        for bit in (1, 16, 128):
            damaged = bytearray(whole)
            damaged[at] ^= bit
            path.write_bytes(damaged)
            with pytest.raises(RunError) as raised:
                checkpoint.read(path)
            assert str(raised.value).startswith(f"{path}: ")
            assert str(raised.value).endswith(ADVICE)


def test_a_flipped_byte_of_a_weight_is_told(tmp_path: Path) -> None:
    path = tmp_path / "c"
    write(path)
    damaged = bytearray(path.read_bytes())
    damaged[-5] ^= 4
    path.write_bytes(damaged)
    with pytest.raises(RunError) as raised:
        checkpoint.read(path)
    assert str(raised.value) == f"{path}: its content is not what was written. {ADVICE}"


@pytest.mark.parametrize("keep", [0, 5, 8, 200, -1])
def test_a_checkpoint_that_was_cut_short_is_told(tmp_path: Path, keep: int) -> None:
    path = tmp_path / "c"
    write(path)
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(RunError, match="not a whole checkpoint") as raised:
        checkpoint.read(path)
    assert str(raised.value).startswith(f"{path}: ")
    assert str(raised.value).endswith(ADVICE)


def test_another_format_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "c"
    monkeypatch.setattr(checkpoint, "FORMAT", 99)
    write(path)
    monkeypatch.undo()
    with pytest.raises(RunError) as raised:
        checkpoint.read(path)
    assert str(raised.value) == f"{path}: was written by another version of Frostline. {ADVICE}"


def test_a_file_that_is_no_checkpoint_is_told(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    save_file({"a": torch.zeros(1)}, tmp_path / "c")
    with pytest.raises(RunError, match="not a whole checkpoint"):
        checkpoint.read(tmp_path / "c")


def test_another_network_is_told(tmp_path: Path) -> None:
    write(tmp_path / "c")
    found = checkpoint.read(tmp_path / "c")
    assert found is not None
    net, optimizer = stepped(width=7)
    with pytest.raises(RunError) as raised:
        checkpoint.unpack(found, net, optimizer)
    assert str(raised.value) == (
        "the checkpoint is of another network: 7 tensors of another shape "
        "(head.weight: [2, 6] in it, [2, 7] here)."
    )
    net, optimizer = stepped()
    net.head = nn.Sequential(net.head)
    with pytest.raises(RunError) as raised:
        checkpoint.unpack(found, net, optimizer)
    assert str(raised.value) == (
        "the checkpoint is of another network: 2 tensors not in it (head.0.bias), 2 tensors in it "
        "alone (head.bias)."
    )


def test_other_trained_tensors_are_told(tmp_path: Path) -> None:
    write(tmp_path / "c")
    found = checkpoint.read(tmp_path / "c")
    assert found is not None
    net, optimizer = stepped()
    net.suffix.requires_grad_(False)
    with pytest.raises(RunError) as raised:
        checkpoint.unpack(found, net, optimizer)
    assert str(raised.value) == ("the checkpoint trains other tensors than this recipe does.")


def test_the_old_one_survives_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "c"
    write(path)
    before = path.read_bytes()

    def full(temporary: Path, *rest: Any) -> None:
        temporary.write_bytes(b"half")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(checkpoint, "save_tensors", full)
    with pytest.raises(DiskError) as raised:
        checkpoint.write(path, {}, {"a": torch.zeros(3)})
    assert str(raised.value) == (
        f"{path}: the disk is full; what was finished before is kept. "
        "Make room, or name another place, and run the same command again."
    )
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]
    assert checkpoint.read(path) is not None


def test_a_new_one_takes_the_old_one_s_place(tmp_path: Path) -> None:
    write(tmp_path / "c")
    checkpoint.write(tmp_path / "c", {"stage": 2}, {"a": torch.zeros(3)})
    found = checkpoint.read(tmp_path / "c")
    assert found is not None
    assert found.facts == {"format": checkpoint.FORMAT, "stage": 2}
    assert list(found.tensors) == ["a"]


@pytest.mark.parametrize(
    "value",
    [
        torch.tensor(3.0),
        torch.tensor(7),
        torch.zeros(0),
        torch.tensor([True, False]),
        torch.tensor([1.5, -2], dtype=torch.bfloat16),
        torch.arange(6.0).reshape(2, 3).T,
        torch.arange(24.0).reshape(1, 2, 3, 4).to(memory_format=torch.channels_last),
        torch.zeros(2, requires_grad=True),
    ],
)
def test_every_kind_of_tensor_comes_back(tmp_path: Path, value: Tensor) -> None:
    checkpoint.write(tmp_path / "c", {}, {"a": value, "b": value})
    found = checkpoint.read(tmp_path / "c")
    assert found is not None
    assert torch.equal(found.tensors["a"], value)
    assert found.tensors["b"].dtype == value.dtype


@dataclasses.dataclass
class Time:
    now: float = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock_time(monkeypatch: pytest.MonkeyPatch) -> Time:
    told = Time()
    monkeypatch.setattr(time, "monotonic", told)
    return told


def due_after(clock: CheckpointClock, told: Time) -> float:
    begun = told.now
    while not clock.is_due():
        told.now += 0.25
    return told.now - begun


@pytest.mark.parametrize(
    ("cost_s", "wait_s"), [(0.0, 1.0), (0.001, 1.0), (0.05, 10.0), (0.3, 30.0), (5.0, 30.0)]
)
def test_checkpoints_take_a_small_share_of_the_time_but_come_every_thirty_seconds(
    clock_time: Time, cost_s: float, wait_s: float
) -> None:
    clock = CheckpointClock(_last=clock_time.now)
    assert due_after(clock, clock_time) == 1.0
    clock_time.now += cost_s
    clock.wrote(cost_s)
    assert due_after(clock, clock_time) == pytest.approx(wait_s)


def test_a_clock_adds_up_what_checkpoints_took(clock_time: Time) -> None:
    clock = CheckpointClock()
    clock.wrote(0.25)
    clock.wrote(0.5)
    assert (clock.count, clock.spent_s) == (2, 0.75)
    assert not clock.is_due()
