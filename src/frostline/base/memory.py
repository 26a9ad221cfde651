"""Where memory runs out: recognising it, and going on with smaller parts."""

import errno
import re
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from torch import Tensor

_T = TypeVar("_T")
# What torch, OpenMP, CUDA, the loader of shared libraries, Python's threads and other frameworks
# say of it.
_WORDS = re.compile(
    r"out of memory|can't allocate memory|cannot allocate memory|not enough memory|bad_alloc|"
    r"failed to map segment|failed to allocate|can't start new thread|could not create a primitive|"
    r"OOM when allocating",
    re.IGNORECASE,
)
ADVICE = (
    "Close other programs, raise the limit that is set (ulimit -v), or take less at once: a "
    "smaller --image-px, another --backbone; when training, --batch-size 8."
)


def is_out_of_memory(error: BaseException) -> bool:
    """Says whether an error means that memory ran out, in Python, in C or on a device."""
    if isinstance(error, MemoryError):
        return True
    if isinstance(error, OSError) and error.errno == errno.ENOMEM:
        return True
    return isinstance(error, RuntimeError | ImportError | OSError) and bool(
        _WORDS.search(str(error))
    )


class Parts:
    """How much is taken at once: all, until memory runs out; from then on ever smaller parts."""

    def __init__(self) -> None:
        """Begins without a limit."""
        self.most = 0

    def each(self, count: int, attempt: Callable[[slice], _T]) -> list[_T]:
        """Returns what `attempt` gives for all of `count`, in as few parts as memory allows.

        Args:
            count: How many there are; at least one.
            attempt: Called with a part; where it runs out of memory, nothing of it may stay.

        Raises:
            Exception: Whatever `attempt` raises; where memory runs out, for a part of one.
        """
        found: list[_T] = []
        start = 0
        while start < count:
            size = min(self.most or count, count - start)
            try:
                found.append(attempt(slice(start, start + size)))
            except Exception as error:
                if size == 1 or not is_out_of_memory(error):
                    raise
                self.most = size // 2
            else:
                start += size
                continue
            # Here the error is gone, and with it what its frames held.
            _release()
        return found

    def through(self, run: "Callable[[Tensor], Tensor]", batch: "Tensor") -> "list[Tensor]":
        """Returns what `run` gives for a batch [n, …], part by part; see `each`."""
        return self.each(len(batch), lambda part: run(batch[part]))


def _release() -> None:
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_initialized():
        torch.cuda.empty_cache()
