"""A graph of TensorFlow, run by TensorFlow; imported in the process apart alone."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from frostline.networks.runtimes.frames import Array
from frostline.networks.runtimes.session import Program, RefusedError, as_numbers, in_turn

# Texts are names of files, and the others refer to what lies outside of a graph.
_NO_NUMBERS = ("DT_STRING", "DT_RESOURCE", "DT_VARIANT")
# What keeps nothing, but is noted as if it did.
_HARMLESS = ("Placeholder", "PartitionedCall", "StatefulPartitionedCall", "If", "While")


def prepare() -> None:
    """Imports what takes memory that is no part of running a graph."""
    import tensorflow as tf

    # The first session imports more.
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        session.run(tf.constant(0.0))


class TensorFlowSession:
    """A graph of TensorFlow that computes numbers from numbers: no texts, no files, no state."""

    def __init__(self, program: Program, threads: int) -> None:
        """Makes a session of so many threads."""
        import tensorflow as tf

        definition: Any = tf.compat.v1.GraphDef()
        definition.ParseFromString(program.data)
        _check(definition)
        graph = tf.Graph()
        with graph.as_default():
            tf.import_graph_def(definition, name="")
        config = tf.compat.v1.ConfigProto(
            intra_op_parallelism_threads=threads, inter_op_parallelism_threads=1
        )
        self._session = tf.compat.v1.Session(graph=graph, config=config)
        self._program = program
        self._input = graph.get_tensor_by_name(_with_index(program.input))
        self._outputs = [graph.get_tensor_by_name(_with_index(one)) for one in program.outputs]

    def run(self, pictures: Array) -> Sequence[Array | None]:
        """Returns what the outputs are."""
        return in_turn(self._run, pictures, self._program.one_by_one)

    def _run(self, pictures: Array) -> list[Array | None]:
        given = np.ascontiguousarray(pictures, self._input.dtype.as_numpy_dtype)
        found = self._session.run(self._outputs, {self._input: given})
        return [as_numbers(one) for one in found]


def load(program: Program, threads: int) -> TensorFlowSession:
    """Returns a graph that is ready to run."""
    return TensorFlowSession(program, threads)


def _with_index(tensor: str) -> str:
    return tensor if ":" in tensor else f"{tensor}:0"


def _check(definition: Any) -> None:
    """Refuses what keeps state, reads or writes anything, or calls code.

    Raises:
        RefusedError: Naming the first such operation.
    """
    from tensorflow.python.framework import op_def_registry

    functions = definition.library.function
    own = {one.signature.name for one in functions}
    nodes = [*definition.node, *(node for one in functions for node in one.node_def)]
    for node in nodes:
        if node.op in own:
            continue
        known = op_def_registry.get(node.op)
        if known is None:
            raise RefusedError(f"it does not know the operation {node.op}")
        stateful = known.is_stateful and node.op not in _HARMLESS
        if stateful or _types(node, known) & {*_NO_NUMBERS} or node.op.startswith("PyFunc"):
            raise RefusedError(f"the operation {node.op} does more than compute numbers")


def _types(node: Any, known: Any) -> set[str]:
    """Returns the names of all types that a node has to do with."""
    from tensorflow.core.framework import types_pb2

    numbers: set[int] = {one.type for one in (*known.input_arg, *known.output_arg)}
    for value in node.attr.values():
        numbers |= {value.type, *value.list.type, value.tensor.dtype}
    return {types_pb2.DataType.Name(number) for number in numbers}
