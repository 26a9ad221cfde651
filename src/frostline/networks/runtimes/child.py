"""The process that runs a graph for another one: bounded memory, no files, and no way out.

It is asked in frames on standard input, and answers on standard output. Before it sees a graph it
gives up what running one takes no need of.
"""

import importlib
import os
import sys
from pathlib import Path
from types import ModuleType
from typing import IO, Any

from frostline.base.memory import is_out_of_memory
from frostline.networks.runtimes import frames
from frostline.networks.runtimes.session import Program, RefusedError, Session
from frostline.networks.weights_files import bounds

# Reading it would take any file's path for a module's place.
_NOWHERE = Path(__file__).resolve().parent


def main() -> None:
    """Answers until the other side ends."""
    source, to = sys.stdin.buffer, _own_output()
    asked, _ = frames.read(source)
    try:
        runtime = _imported(asked["runtime"])
        frames.write(to, {})
        asked, (program,) = frames.read(source)
        session = _load(runtime, asked, program.tobytes())
    except EOFError:
        return
    except Exception as error:
        frames.write(to, _reason(error))
        return
    frames.write(to, {})
    while True:
        try:
            asked, arrays = frames.read(source)
        except EOFError:
            return
        _answer(to, session, asked, arrays)


def _answer(to: IO[bytes], session: Session, asked: dict[str, Any], arrays: list[Any]) -> None:
    try:
        found = session.run(arrays[0])
        if asked["only_shapes"]:
            shapes = [None if one is None else list(one.shape) for one in found]
            frames.write(to, {"shapes": shapes})
            return
        if any(one is None for one in found):
            raise RefusedError("it gives what is no tensor of numbers")
        frames.write(to, {}, [one for one in found if one is not None])
    except Exception as error:
        frames.write(to, _reason(error))


def _imported(runtime: str) -> ModuleType:
    """Returns the module that makes sessions of a runtime, its libraries imported."""
    chosen = importlib.import_module(f"frostline.networks.runtimes.{runtime}_session")
    chosen.prepare()
    return chosen


def _load(runtime: ModuleType, asked: dict[str, Any], program: bytes) -> Session:
    bounds.limit(asked["memory_bytes"])
    sys.addaudithook(bounds.watch(_NOWHERE))
    session: Session = runtime.load(
        Program(program, asked["input"], tuple(asked["outputs"]), asked["one_by_one"]),
        asked["threads"],
    )
    return session


def _reason(error: Exception) -> dict[str, Any]:
    # Libraries have errors of their own for it, which say it in words.
    if is_out_of_memory(error) or is_out_of_memory(RuntimeError(str(error))):
        return {"memory": True}
    return {"refused": " ".join(str(error).split())[:400] or type(error).__name__}


def _own_output() -> IO[bytes]:
    """Keeps standard output for answers; what libraries print goes elsewhere."""
    own = os.dup(sys.stdout.fileno())
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    return os.fdopen(own, "wb")
