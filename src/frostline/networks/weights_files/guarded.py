"""Looking into weights files from strangers: another process does it, and may fail."""

import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

from frostline.base.errors import WeightsError
from frostline.networks.weights_files import formats
from frostline.networks.weights_files.inspection import (
    DIGESTED_BYTES,
    Inspection,
    digest_of,
    from_json,
)
from frostline.networks.weights_files.records import WeightsFile

_READ_BY_C = ("keras", "keras_h5")
MEMORY_BYTES = 768 << 20
TIME_S = 9
# This very package answers, wherever it was imported from; what is installed beside it does not
# come before Python's own modules.
_PROGRAM = (
    "import sys; sys.argv[1] in sys.path or sys.path.insert(0, sys.argv[1]); "
    "from frostline.networks.weights_files.child import main; main()"
)


def inspect(
    path: Path,
    only: str = "",
    histogram: str = "",
    *,
    memory_bytes: int = MEMORY_BYTES,
    time_s: int = TIME_S,
    clock_s: int = 0,
) -> Inspection:
    """Looks into a weights file in a process of its own, with bounded memory and time.

    Args:
        path: The file, or the folder of one.
        only: Part of a name, or a pattern with `*` and `?`: which tensors to list.
        histogram: The name of a tensor to count the values of.
        memory_bytes: What reading may take, beyond what the libraries take.
        time_s: What it may take of a processor.
        clock_s: What it may take by the clock; 0 for as much.

    Raises:
        WeightsError: Where it cannot be read within these bounds, is damaged or not safe to read.
    """
    asked = {
        "path": str(path),
        "only": only,
        "histogram": histogram,
        "memory_bytes": memory_bytes,
        "time_s": time_s,
    }
    answer = _answer(path, asked, clock_s or time_s)
    if "refused" in answer:
        raise WeightsError(answer["refused"])
    if "memory" in answer:
        raise _too_large(path)
    found = from_json(answer["found"])
    if sum(file["bytes"] for file in found.files) > DIGESTED_BYTES:
        return found
    return replace(found, digest=digest_of([Path(file["name"]) for file in found.files]))


def check(path: Path) -> None:
    """Reads a file in a process of its own first, so that what it may do is done there.

    By the clock it may take longer than an inspection: a busy machine is no reason to refuse one.

    Raises:
        WeightsError: Where it cannot be read within bounds, is damaged or not safe to read.
    """
    inspect(path, clock_s=20 * TIME_S)


def open_file(path: Path) -> WeightsFile:
    """Opens a weights file; where a library in C reads it, a process apart has read it before.

    HDF5's library may crash on damaged files, and would take this process with it.

    Raises:
        WeightsError: Where it is absent, of no known format, damaged, or not safe to read.
    """
    if formats.format_of(path).name in _READ_BY_C:
        check(path)
    return formats.open_file(path)


def _answer(path: Path, asked: dict[str, Any], time_s: int) -> dict[str, Any]:
    try:
        done = subprocess.run(
            [sys.executable, "-P", "-c", _PROGRAM, str(Path(__file__).resolve().parents[3])],
            input=json.dumps(asked),
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            timeout=time_s,
            env=environment(),
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise _too_slow(path, time_s) from error
    if done.returncode != 0:
        raise _ended(path, done, time_s)
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def environment() -> dict[str, str]:
    """Returns the surroundings of the process apart.

    One thread, since each reserves memory; and no libraries that HDF5 would load for a file.
    """
    said = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    return {**os.environ, **said, "HDF5_PLUGIN_PRELOAD": "::", "HDF5_USE_FILE_LOCKING": "FALSE"}


def _ended(path: Path, done: "subprocess.CompletedProcess[str]", time_s: int) -> Exception:
    """Returns the error for a process that gave no answer."""
    number = -done.returncode
    if sys.platform != "win32" and number in (signal.SIGXCPU, signal.SIGKILL):
        return _too_slow(path, time_s)
    if number > 0:
        name = signal.Signals(number).name
        return WeightsError(
            f"{path}: refused: reading it crashed a library ({name}); only a process apart was "
            "lost. The file is damaged or made to do harm. Fetch it again."
        )
    if "MemoryError" in done.stderr:
        return _too_large(path)
    return RuntimeError(f"reading {path} failed in its own process:\n{done.stderr[-4000:]}")


def _too_slow(path: Path, time_s: int) -> WeightsError:
    return WeightsError(
        f"{path}: refused: reading it takes more than {time_s} seconds. It is damaged, made to do "
        "harm, or on a very slow disk."
    )


def _too_large(path: Path) -> WeightsError:
    return WeightsError(
        f"{path}: refused: reading it takes more than {MEMORY_BYTES >> 20} MiB of memory. It is "
        "damaged, made to do harm, or larger than this command looks into."
    )
