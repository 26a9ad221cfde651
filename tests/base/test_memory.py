import pytest
import torch

from frostline.base.memory import Parts, is_out_of_memory


class Tight:
    """Takes at most so many at once."""

    def __init__(self, room: int, error: Exception) -> None:
        self.room, self.error, self.calls = room, error, list[int]()

    def __call__(self, batch: torch.Tensor) -> torch.Tensor:
        self.calls.append(len(batch))
        if len(batch) > self.room:
            raise self.error
        return batch + 1


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        RuntimeError("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory"),
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."),
        RuntimeError("could not create a primitive"),
        RuntimeError("can't start new thread"),
        OSError(12, "Cannot allocate memory"),
        ImportError("libtorch_cpu.so: failed to map segment from shared object"),
    ],
)
def test_out_of_memory_has_many_names(error: Exception) -> None:
    assert is_out_of_memory(error)


@pytest.mark.parametrize(
    "error", [RuntimeError("shapes differ"), ValueError("out of memory"), OSError(28, "full")]
)
def test_other_errors_are_others(error: Exception) -> None:
    assert not is_out_of_memory(error)
    with pytest.raises(type(error)):
        Parts().through(Tight(1, error), torch.zeros(4))


def test_all_goes_at_once_where_there_is_room() -> None:
    run = Tight(10, MemoryError())
    (made,) = Parts().through(run, torch.arange(10))
    assert made.tolist() == list(range(1, 11))
    assert run.calls == [10]


def test_parts_become_smaller_and_stay_so() -> None:
    run, parts = Tight(3, MemoryError()), Parts()
    for _ in range(2):
        made = torch.cat(parts.through(run, torch.arange(10)))
        assert made.tolist() == list(range(1, 11))
    assert parts.most == 2
    assert run.calls == [10, 5, *[2] * 5, *[2] * 5]


def test_one_that_is_too_much_is_an_error() -> None:
    with pytest.raises(MemoryError):
        Parts().through(Tight(0, MemoryError()), torch.zeros(4))
