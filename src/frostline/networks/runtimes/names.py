"""The runtimes there are, and what to say where one is not installed."""

import importlib.util
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

ONNX, TENSORFLOW, TFLITE = "onnx", "tensorflow", "tflite"


@dataclass(frozen=True)
class RuntimeName:
    """A runtime.

    Attributes:
        title: What people call it.
        modules: The modules that bring it, the first that is installed being taken.
        extra: The extra of Frostline that installs it.
    """

    title: str
    modules: Sequence[str]
    extra: str

    def is_installed(self) -> bool:
        """Tells whether it is installed, without importing it."""
        return self.module() != ""

    def module(self) -> str:
        """Returns the module that brings it; empty where none is installed."""
        return next((one for one in self.modules if importlib.util.find_spec(one)), "")

    @property
    def install(self) -> str:
        """The command that installs it."""
        return f"pip install 'frostline[{self.extra}]'"


RUNTIMES: Mapping[str, RuntimeName] = {
    ONNX: RuntimeName("onnxruntime", ("onnxruntime",), "onnx"),
    TENSORFLOW: RuntimeName("TensorFlow", ("tensorflow",), "tensorflow"),
    TFLITE: RuntimeName("TensorFlow Lite", ("ai_edge_litert", "tensorflow"), "tflite"),
}
