"""A graph in another framework's runtime, as those see it who run it: pictures in, tensors out."""

import subprocess
import sys
import threading
import weakref
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from frostline.base import machine
from frostline.base.errors import BackboneError
from frostline.networks.runtimes import frames
from frostline.networks.runtimes.frames import Array
from frostline.networks.runtimes.names import RUNTIMES
from frostline.networks.weights_files import guarded

# What the process may take beyond what the libraries take.
MEMORY_BYTES = 4 << 30
# No batch takes minutes, nor does the import of TensorFlow on a busy machine.
TIME_S = 300
_PROGRAM = (
    "import sys; sys.argv[1] in sys.path or sys.path.insert(0, sys.argv[1]); "
    "from frostline.networks.runtimes.child import main; main()"
)
# What the libraries print, where they find a GPU or count their threads.
_QUIET = {"TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1", "GLOG_minloglevel": "3"}


@dataclass(frozen=True)
class RuntimeGraph:
    """A graph that a runtime is to run.

    Attributes:
        where: Where it comes from, for messages.
        runtime: A key of `names.RUNTIMES`.
        input: The tensor that the pictures go into.
        outputs: The tensors that are asked for.
        one_by_one: Whether it takes a single picture at a time.
    """

    where: str
    runtime: str
    input: str
    outputs: Sequence[str]
    one_by_one: bool


class RuntimeProcess:
    """A process that runs one graph; several threads may ask it, one after the other.

    It is started when it is asked for the first time, and ends with this object. A copy is the same
    process, since a graph keeps nothing from picture to picture.
    """

    def __init__(self, memory_bytes: int = MEMORY_BYTES, time_s: int = TIME_S) -> None:
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._memory_bytes, self._time_s = memory_bytes, time_s

    def __deepcopy__(self, memo: object) -> "RuntimeProcess":
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        # Another program starts a process of its own.
        return RuntimeProcess, (self._memory_bytes, self._time_s)

    def run(self, graph: RuntimeGraph, data: Callable[[], bytes], pictures: Array) -> list[Array]:
        """Returns the outputs for pictures [n, …], as float32.

        Args:
            graph: The graph; always the same one.
            data: Gives it in the runtime's own format, when the process is started.
            pictures: In the source's axes.

        Raises:
            BackboneError: Where the runtime is not installed, refuses the graph, takes too long
                or ends.
            MemoryError: Where memory runs out.
        """
        return self._ask(graph, data, pictures, False)[1]

    def shapes(
        self, graph: RuntimeGraph, data: Callable[[], bytes], pictures: Array
    ) -> list[tuple[int, ...] | None]:
        """Returns the shapes of the outputs; None for what is no tensor of numbers. See `run`."""
        said, _ = self._ask(graph, data, pictures, True)
        return [None if one is None else tuple(one) for one in said["shapes"]]

    def close(self) -> None:
        """Ends the process; the next question starts it again."""
        with self._lock:
            if self._process is not None:
                _end(self._process)
                self._process = None

    def _ask(
        self, graph: RuntimeGraph, data: Callable[[], bytes], pictures: Array, only_shapes: bool
    ) -> tuple[Mapping[str, Any], list[Array]]:
        with self._lock:
            if self._process is None:
                self._process = self._start(graph, data)
            asked = {"only_shapes": only_shapes}
            return self._exchange(self._process, graph, asked, [pictures], self._time_s)

    def _start(self, graph: RuntimeGraph, data: Callable[[], bytes]) -> "subprocess.Popen[bytes]":
        runtime, program = RUNTIMES[graph.runtime], data()
        if not runtime.is_installed():
            raise BackboneError(
                f"{graph.where}: a part of it is run by {runtime.title}, which is not installed: "
                f"{runtime.install}."
            )
        process = subprocess.Popen(
            [sys.executable, "-P", "-c", _PROGRAM, str(Path(__file__).resolve().parents[3])],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={**guarded.environment(), **_QUIET},
        )
        weakref.finalize(self, _end, process)
        asked = {
            "input": graph.input,
            "outputs": list(graph.outputs),
            "one_by_one": graph.one_by_one,
            "threads": machine.cores(),
            "memory_bytes": self._memory_bytes,
        }
        # The libraries are imported first: only what the file makes them do is timed closely.
        self._exchange(process, graph, {"runtime": graph.runtime}, [], TIME_S)
        self._exchange(process, graph, asked, [np.frombuffer(program, np.uint8)], self._time_s)
        return process

    def _exchange(
        self,
        process: "subprocess.Popen[bytes]",
        graph: RuntimeGraph,
        asked: Mapping[str, Any],
        arrays: Sequence[Array],
        time_s: int,
    ) -> tuple[Mapping[str, Any], list[Array]]:
        """Asks, and reads the answer; a process that takes too long is ended."""
        assert process.stdin is not None
        assert process.stdout is not None
        title = RUNTIMES[graph.runtime].title
        late = threading.Event()
        clock = threading.Timer(time_s, _stop, (process, late))
        clock.start()
        try:
            frames.write(process.stdin, asked, arrays)
            said, found = frames.read(process.stdout)
        except (OSError, EOFError, ValueError) as error:
            _end(process)
            self._process = None
            reason = f"took more than {time_s} s" if late.is_set() else "ended"
            raise BackboneError(
                f"{graph.where}: {title} {reason} in its own process. The file is damaged, made to "
                "do harm, or too large for this machine."
            ) from error
        except BaseException:
            # An answer that nobody read would be taken for the next one's.
            _end(process)
            self._process = None
            raise
        finally:
            clock.cancel()
        if said.get("memory"):
            raise MemoryError(f"{graph.where}: {title} is out of memory")
        if "refused" in said:
            raise BackboneError(f"{graph.where}: {title} cannot run it: {said['refused']}")
        return said, found


def _stop(process: "subprocess.Popen[bytes]", late: threading.Event) -> None:
    late.set()
    process.kill()


def _end(process: "subprocess.Popen[bytes]") -> None:
    process.kill()
    process.wait()
    for stream in (process.stdin, process.stdout):
        if stream is not None:
            try:
                stream.close()
            except OSError:
                # What was not written yet has no reader any more.
                continue
