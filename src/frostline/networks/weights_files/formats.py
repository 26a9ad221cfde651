"""The formats of weights files, in one table, and opening one of any of them."""

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from frostline.base.errors import WeightsError, did_you_mean
from frostline.networks.weights_files import (
    keras_file,
    numpy_file,
    onnx_file,
    safetensors_file,
    tf_checkpoint,
    tf_graph_file,
    tfjs_file,
    tflite_file,
    torch_file,
)
from frostline.networks.weights_files.pickled import ForeignName
from frostline.networks.weights_files.records import Array, WeightsFile

_HEAD_BYTES = 64


@dataclass(frozen=True)
class Format:
    """A kind of weights file.

    Attributes:
        name: In one word.
        title: What a reader would call such a file.
        endings: Of its file names, for files that are too damaged to be recognised.
        recognise: Says, by path and first bytes, whether a file is of the kind.
        read: Opens one; raises ValueError where it is damaged.
    """

    name: str
    title: str
    endings: tuple[str, ...]
    recognise: Callable[[Path, bytes], bool]
    read: Callable[[Path], WeightsFile]


# In this order: what is told apart by its first bytes, then what its parts decide.
FORMATS = (
    Format(
        "safetensors",
        "safetensors file",
        (".safetensors",),
        safetensors_file.recognise,
        safetensors_file.read,
    ),
    Format(
        "torch",
        "PyTorch file",
        (".pth", ".pt", ".th", ".bin", ".tar"),
        torch_file.recognise,
        torch_file.read,
    ),
    Format("npy", "NumPy file", (".npy",), numpy_file.recognise_npy, numpy_file.read_npy),
    Format("npz", "NumPy archive", (".npz",), numpy_file.recognise_npz, numpy_file.read_npz),
    Format(
        "pickle",
        "pickle of arrays",
        (".pkl", ".pickle", ".p"),
        numpy_file.recognise_pickle,
        numpy_file.read_pickle,
    ),
    Format(
        "keras", "Keras archive", (".keras",), keras_file.recognise_archive, keras_file.read_archive
    ),
    Format(
        "keras_h5",
        "Keras HDF5 file",
        (".h5", ".hdf5"),
        keras_file.recognise_h5,
        keras_file.read_h5,
    ),
    Format("tflite", "TFLite file", (".tflite",), tflite_file.recognise, tflite_file.read),
    Format("tfjs", "TensorFlow.js model", ("model.json",), tfjs_file.recognise, tfjs_file.read),
    Format("onnx", "ONNX file", (".onnx",), onnx_file.recognise, onnx_file.read),
    Format(
        "saved_model",
        "SavedModel",
        ("saved_model.pb",),
        tf_graph_file.recognise_saved_model,
        tf_graph_file.read_saved_model,
    ),
    Format(
        "meta_graph",
        "TensorFlow meta graph",
        (".meta",),
        tf_graph_file.recognise_meta_graph,
        tf_graph_file.read_meta_graph,
    ),
    Format(
        "tf_checkpoint",
        "TensorFlow checkpoint",
        (".index", ".data-00000-of-00001"),
        tf_checkpoint.recognise,
        tf_checkpoint.read,
    ),
    Format(
        "graph_def",
        "TensorFlow graph",
        (".pb",),
        tf_graph_file.recognise_graph,
        tf_graph_file.read_graph,
    ),
)


def open_file(path: Path) -> WeightsFile:
    """Opens a weights file of any known format; nothing in it is run.

    Formats with a history of attacks are best opened by `guarded.inspect`, in a process of its own.

    Args:
        path: A file; or a folder, or the common beginning of several files, where a format is that.

    Raises:
        WeightsError: Where it is absent, of no known format, damaged, or not safe to read.
    """
    kind = format_of(path)
    with _told(path, kind.title):
        found = kind.read(path)
    tensors = {
        name: replace(one, load=partial(_load, path, kind.title, one.load))
        for name, one in found.tensors.items()
    }
    return replace(found, tensors=tensors)


def open_structure(path: Path) -> WeightsFile:
    """Opens a TensorFlow meta graph whose checkpoint is not there or not wanted.

    Raises:
        WeightsError: Where it is another file, or damaged.
    """
    kind = format_of(path)
    if kind.name != "meta_graph":
        return open_file(path)
    with _told(path, kind.title):
        return tf_graph_file.read_structure(path)


def format_of(path: Path) -> Format:
    """Returns the format of a file, by its content first and its name second.

    Raises:
        WeightsError: Where it is absent or of no known format.
    """
    if path.exists() and not (path.is_file() or path.is_dir()):
        # Opening a pipe or a device would wait, or worse.
        raise WeightsError(f"{path}: no weights file: neither a file nor a folder.")
    head = _head(path)
    for kind in FORMATS:
        with contextlib.suppress(ValueError):
            if kind.recognise(path, head):
                return kind
    if not path.exists():
        siblings = [p.name for p in path.parent.iterdir()] if path.parent.is_dir() else []
        raise WeightsError(f"{path}: no such weights file.{did_you_mean(path.name, siblings)}")
    named = [kind for kind in FORMATS if path.name.lower().endswith(kind.endings)]
    if named:
        return named[0]
    known = ", ".join(dict.fromkeys(ending for kind in FORMATS for ending in kind.endings))
    raise WeightsError(f"{path}: no weights file of a known format; known are {known}.")


def _head(path: Path) -> bytes:
    if not path.is_file():
        return b""
    with path.open("rb") as file:
        return file.read(_HEAD_BYTES)


def _load(path: Path, title: str, load: Callable[[], Array]) -> Array:
    with _told(path, title):
        return load()


@contextlib.contextmanager
def _told(path: Path, title: str) -> Iterator[None]:
    """Tells a reader's complaint in one line."""
    try:
        yield
    except ForeignName as error:
        raise WeightsError(
            f"{path}: refused: this pickle needs {error}, and pickles can run code; nothing was "
            "run. Where you trust it, save its arrays alone as .safetensors or .npz."
        ) from error
    except (ValueError, OverflowError, RecursionError) as error:
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise WeightsError(f"{path}: not a whole {title} ({reason}). Fetch it again.") from error
    except MemoryError as error:
        raise WeightsError(f"{path}: takes more memory than reading it may.") from error
