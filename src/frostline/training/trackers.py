"""What is recorded while training, sent on to TensorBoard and other trackers.

TensorBoard's event files are written here, with the messages of tensorboardX: it is imported in a
quarter of the time of `torch.utils.tensorboard`, and does not bring a web server along. Each record
is one write, so a process that is killed loses none. Every other tracker goes through the classes
of Hugging Face accelerate (`accelerate.tracking`), one of which exists for each name in `TRACKERS`.

Nothing of this is imported before it is used.
"""

import contextlib
import importlib
import math
import socket
import struct
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, BinaryIO, Protocol

import torch
from torch import Tensor, nn

from frostline.base.errors import FrostlineError, RecipeError, TrainingError, did_you_mean
from frostline.base.files import disk_error

PROJECT = "frostline"
TENSORBOARD = "tensorboard"
BINS = 64


class Trackers(Protocol):
    """Trackers of experiments, told together how training goes."""

    def scalars(self, values: Mapping[str, float | None], step: int) -> None:
        """Takes numbers by name; those that are `None` or not finite are left out.

        Args:
            values: By name; a `/` in a name makes a group.
            step: What they belong to, such as the epoch over all stages; it never goes back.

        Raises:
            DiskError: Where the disk is full or refuses.
            TrainingError: Where a tracker fails.
        """

    def histograms(self, tensors: Mapping[str, Tensor], step: int) -> None:
        """Takes tensors of any shape by name, to show how their finite values are spread.

        Only TensorBoard takes part; other trackers have no common way to say it.

        Args:
            tensors: By name, such as `weights/blocks.6.0.conv_pw.weight`.
            step: As for `scalars`.

        Raises:
            DiskError: Where the disk is full or refuses.
        """

    def close(self) -> None:
        """Ends the record; nothing may follow.

        Raises:
            TrainingError: Where a tracker fails; all have been asked to end.
        """


@dataclass(frozen=True)
class _Naming:
    """How a class of accelerate wants to be told what is recorded.

    Attributes:
        first: What its first argument names: the `project` or the `run`.
        run: The keyword that names the run; none where there is no such word.
    """

    first: str
    run: str = ""


# Each name is also that of the package, for import and for pip.
TRACKERS: dict[str, _Naming] = {
    "aim": _Naming("run"),
    "clearml": _Naming("project", "task_name"),
    "comet_ml": _Naming("project"),
    "dvclive": _Naming("run"),
    "mlflow": _Naming("project", "run_name"),
    "swanlab": _Naming("project", "experiment_name"),
    "trackio": _Naming("project", "name"),
    "wandb": _Naming("project", "name"),
}


def check_names(names: Sequence[str]) -> None:
    """Sees to it that each name is known, and its package is there; imports none of them.

    Args:
        names: `tensorboard`, or keys of `TRACKERS`.

    Raises:
        RecipeError: Where one is unknown, or a package is absent.
    """
    known = sorted({TENSORBOARD, *TRACKERS})
    for name in names:
        if name not in known:
            raise RecipeError(
                f"watch: there is no tracker {name!r}.{did_you_mean(name, known)} "
                f"Known are {', '.join(known)}."
            )
        needed = (name, "accelerate") if name in TRACKERS else ("tensorboardX",)
        if any(find_spec(package) is None for package in needed):
            extra = f" {name}" if name in TRACKERS else ""
            raise RecipeError(
                f"watch: {name} is not installed. Run: pip install 'frostline[trackers]'{extra}"
            )


def open_trackers(
    names: Sequence[str],
    folder: Path,
    run_name: str,
    facts: Mapping[str, Any],
    purge_step: int | None = None,
) -> Trackers:
    """Opens trackers by name and makes one of them; without names it does nothing.

    TensorBoard's files go into `folder`. Where any other tracker writes is its own setting, such
    as `WANDB_DIR` or `MLFLOW_TRACKING_URI`; there the project is called `frostline`, and a run
    that goes on is a new one of the same name, with the steps from there on.

    Call it in the main process only.

    Args:
        names: `tensorboard`, or keys of `TRACKERS`; twice the same is once.
        folder: For TensorBoard's event files; made where it is absent.
        run_name: What to call the run.
        facts: What to say of the run at its start, such as the recipe; mappings and lists may nest.
        purge_step: The first step that will be written, where a run goes on: what TensorBoard has
            from it onwards is void, so no step is there twice.

    Raises:
        RecipeError: Where a name is unknown, a package is absent, or a tracker does not start.
        DiskError: Where the disk is full or refuses.
    """
    check_names(names)
    flat = dict(_flatten(facts))
    opened: list[Trackers] = []
    try:
        for name in dict.fromkeys(names):
            if name == TENSORBOARD:
                opened.append(_TensorBoard(folder, flat, purge_step))
            else:
                opened.append(_Tracker(name, run_name, flat))
    except FrostlineError:
        with contextlib.suppress(FrostlineError):
            _Several(tuple(opened)).close()
        raise
    return _Several(tuple(opened))


def histogram_tensors(module: nn.Module, prefix: str = "") -> dict[str, Tensor]:
    """Returns the parameters of `module` by name, and their gradients where there are any.

    Args:
        module: Whose parameters; frozen ones take part, and have no gradient.
        prefix: Goes before each name, such as `head.`.

    Returns:
        `weights/NAME` and `gradients/NAME` to the tensors themselves, no copies: they are to be
        read before the next step changes them.
    """
    found = {}
    for name, parameter in module.named_parameters():
        found[f"weights/{prefix}{name}"] = parameter.detach()
        if parameter.grad is not None:
            found[f"gradients/{prefix}{name}"] = parameter.grad.detach()
    return found


class _Several:
    """Several trackers as one."""

    def __init__(self, parts: tuple[Trackers, ...]) -> None:
        self._parts = parts

    def scalars(self, values: Mapping[str, float | None], step: int) -> None:
        finite = {
            name: float(value)
            for name, value in values.items()
            if value is not None and math.isfinite(value)
        }
        if finite:
            for part in self._parts:
                part.scalars(finite, step)

    def histograms(self, tensors: Mapping[str, Tensor], step: int) -> None:
        for part in self._parts:
            part.histograms(tensors, step)

    def close(self) -> None:
        failed = None
        for part in self._parts:
            try:
                part.close()
            except FrostlineError as error:
                failed = error
        if failed:
            raise failed


class _TensorBoard:
    """One event file: records of protocol buffers, each with its length and check sums."""

    def __init__(self, folder: Path, facts: Mapping[str, Any], purge_step: int | None) -> None:
        now = time.time_ns()
        # TensorBoard reads the files of a folder in the order of their names. The nanoseconds
        # tell apart two that are opened within one second.
        name = f"events.out.tfevents.{now // 10**9:010d}.{socket.gethostname()}.{now}"
        self._path = folder / name
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._file: BinaryIO = self._path.open("xb", buffering=0)
        except OSError as error:
            raise disk_error(error, self._path) from error
        self._write(file_version="brain.Event:2")
        if purge_step is not None:
            log = _load("tensorboardX.proto.event_pb2").SessionLog
            self._write(step=purge_step, session_log=log(status=log.START))
        elif facts:
            text = _load("tensorboardX.summary").text
            self._write(summary=text("facts", _table(facts)), step=0)

    def scalars(self, values: Mapping[str, float | None], step: int) -> None:
        summary = _load("tensorboardX.proto.summary_pb2").Summary
        rows = [summary.Value(tag=name, simple_value=value) for name, value in values.items()]
        self._write(summary=summary(value=rows), step=step)

    def histograms(self, tensors: Mapping[str, Tensor], step: int) -> None:
        messages = _load("tensorboardX.proto.summary_pb2")
        # One record each: together they may be larger than a record should be.
        for name, tensor in tensors.items():
            if spread := _spread(tensor):
                row = messages.Summary.Value(tag=name, histo=messages.HistogramProto(**spread))
                self._write(summary=messages.Summary(value=[row]), step=step)

    def close(self) -> None:
        self._file.close()

    def _write(self, **fields: Any) -> None:
        event = _load("tensorboardX.proto.event_pb2").Event
        check_sum = _load("tensorboardX.record_writer").masked_crc32c
        data = event(wall_time=time.time(), **fields).SerializeToString()
        size = struct.pack("<Q", len(data))
        sums = [struct.pack("<I", check_sum(part)) for part in (size, data)]
        try:
            self._file.write(size + sums[0] + data + sums[1])
        except OSError as error:
            raise disk_error(error, self._path) from error


class _Tracker:
    """One of accelerate's trackers, used without its `Accelerator`."""

    def __init__(self, name: str, run_name: str, facts: Mapping[str, Any]) -> None:
        self._name = name
        naming = TRACKERS[name]
        first = PROJECT if naming.first == "project" else run_name
        options = {naming.run: run_name} if naming.run else {}
        try:
            # Its trackers ask this for the rank, and their log refuses to work without.
            _load("accelerate").PartialState()
            classes = _load("accelerate.tracking").LOGGER_TYPE_TO_CLASS
            self._tracker = classes[name](first, **options)
            self._tracker.start()
            self._tracker.store_init_configuration({"run": run_name, **facts})
        except Exception as error:  # whatever a foreign library raises: not logged in, no server
            raise RecipeError(
                f"watch: {name} did not start: {_one_line(error)} "
                f"Set {name} up by its own means, or leave it out."
            ) from error

    def scalars(self, values: Mapping[str, float | None], step: int) -> None:
        self._call(lambda: self._tracker.log(dict(values), step=step))

    def histograms(self, tensors: Mapping[str, Tensor], step: int) -> None:
        """Nothing: see `Trackers.histograms`."""

    def close(self) -> None:
        self._call(self._tracker.finish)

    def _call(self, action: Callable[[], object]) -> None:
        try:
            action()
        except Exception as error:
            raise TrainingError(
                f"watch: {self._name} failed: {_one_line(error)} What was trained is kept. Set "
                "it right, and run the same command again."
            ) from error


def _load(module: str) -> Any:
    """Returns a module that is imported late, and that has no types."""
    return importlib.import_module(module)


def _spread(tensor: Tensor) -> dict[str, Any]:
    """Returns what TensorBoard's histogram holds; nothing where no value is finite."""
    values = tensor.detach().flatten().to("cpu", torch.float32)
    values = values[values.isfinite()]
    if not len(values):
        return {}
    low, high = values.min().item(), values.max().item()
    if low == high:
        limits, counts = [high], [float(len(values))]
    else:
        limits = torch.linspace(low, high, BINS + 1, dtype=torch.float64)[1:].tolist()
        counts = torch.histc(values, BINS, low, high).tolist()
    return {
        "min": low,
        "max": high,
        "num": len(values),
        "sum": values.sum(dtype=torch.float64).item(),
        "sum_squares": values.double().square().sum().item(),
        "bucket_limit": limits,
        "bucket": counts,
    }


def _flatten(value: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """Yields the leaves of nested mappings and lists with dotted names, as `stages.1.lr`."""
    if isinstance(value, Mapping):
        inner = [(str(key), part) for key, part in value.items()]
    elif isinstance(value, (list, tuple)):
        inner = [(str(index), part) for index, part in enumerate(value)]
    else:
        plain = value is None or isinstance(value, (bool, int, float, str))
        yield name, value if plain else str(value)
        return
    for key, part in inner:
        yield from _flatten(part, f"{name}.{key}" if name else key)


def _table(facts: Mapping[str, Any]) -> str:
    """Returns the facts as a Markdown table, which is what TensorBoard shows as text."""
    rows = [f"| {key} | {_cell(value)} |" for key, value in facts.items()]
    return "\n".join(["| what | value |", "| --- | --- |", *rows])


def _cell(value: Any) -> str:
    # A file name may hold bytes that are no UTF-8; a record cannot.
    text = str(value).encode("utf-8", "backslashreplace").decode()
    return text.replace("|", "\\|").replace("\n", " ")


def _one_line(error: Exception) -> str:
    text = " ".join(str(error).split()) or type(error).__name__
    return text if text.endswith((".", "!", "?")) else text + "."
