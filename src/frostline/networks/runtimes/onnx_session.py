"""A graph in ONNX, run by onnxruntime; imported in the process apart alone."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from frostline.networks.runtimes.frames import Array
from frostline.networks.runtimes.session import Program, as_numbers, in_turn

_TYPES = {"tensor(float)": "f4", "tensor(float16)": "f2", "tensor(double)": "f8"}
_ERRORS_ALONE = 3


def prepare() -> None:
    """Imports what takes memory that is no part of running a graph."""
    import onnxruntime

    onnxruntime.set_default_logger_severity(_ERRORS_ALONE)
    onnxruntime.disable_telemetry_events()


class OnnxSession:
    """A graph of ONNX. No libraries of further operations are loaded."""

    def __init__(self, program: Program, threads: int) -> None:
        """Makes a session of so many threads."""
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = _ERRORS_ALONE
        # Threads that spin take the cores from the layers above.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        self._session = onnxruntime.InferenceSession(
            program.data, options, providers=["CPUExecutionProvider"]
        )
        self._program = program
        kinds = {one.name: one.type for one in self._session.get_inputs()}
        self._dtype: Any = np.dtype(_TYPES.get(kinds[program.input], "u1"))

    def run(self, pictures: Array) -> Sequence[Array | None]:
        """Returns what the outputs are."""
        return in_turn(self._run, pictures, self._program.one_by_one)

    def _run(self, pictures: Array) -> list[Array | None]:
        given = {self._program.input: np.ascontiguousarray(pictures, self._dtype)}
        found = self._session.run(list(self._program.outputs), given)
        return [as_numbers(one) for one in found]


def load(program: Program, threads: int) -> OnnxSession:
    """Returns a graph that is ready to run."""
    return OnnxSession(program, threads)
