"""The process that reads a weights file for another: bounded memory and time, and no way out.

It is asked in JSON on standard input and answers in JSON on standard output. Before it looks at the
file it gives up what reading takes no need of: more memory and time than the bounds, files to
write, files outside the weights' folder, other programs, the network.
"""

import json
import sys
from pathlib import Path

from frostline.base.errors import WeightsError
from frostline.networks.weights_files import bounds, inspection, look

_MOST_ANSWER_CHARACTERS = 256 << 20


def main() -> None:
    """Answers one question."""
    asked = json.load(sys.stdin)
    path = Path(asked["path"])
    _load_libraries()
    bounds.limit(asked["memory_bytes"], asked["time_s"])
    sys.addaudithook(bounds.watch(path))
    sys.stdout.write(_answer(path, asked["only"], asked["histogram"]))


def _answer(path: Path, only: str, histogram: str) -> str:
    try:
        found = inspection.to_json(look.inspect(path, only, histogram))
        text = json.dumps({"found": found}, allow_nan=False)
        if len(text) <= _MOST_ANSWER_CHARACTERS:
            return text
        return json.dumps({"refused": f"{path}: its names and attributes alone fill memory."})
    except WeightsError as error:
        return json.dumps({"refused": str(error)})
    # Some of Python's own parts written in C end so where memory runs out.
    except (MemoryError, SystemError):
        return json.dumps({"memory": True})
    except OSError as error:
        return json.dumps({"refused": f"{path}: cannot be read: {error.strerror or error}."})


def _load_libraries() -> None:
    """Imports what readers import late: it takes memory that is no part of reading."""
    try:
        import h5py  # noqa: F401
    except ImportError:
        return
