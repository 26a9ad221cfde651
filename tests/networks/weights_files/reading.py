"""Reads weights files within the bounds of the reading process, one line of JSON for each.

    python reading.py MEMORY_BYTES TIME_S < PATHS

A line is `[path, "began"]`, then `[path, "read"]`, `[path, "refused", message]` or
`[path, "broke", traceback]`. A process that dies leaves a file that began and did not end.
"""

import json
import signal
import sys
import traceback
from pathlib import Path

import h5py  # noqa: F401 (what readers import late takes memory that is no part of reading)
import numpy as np

from frostline.base.errors import WeightsError
from frostline.networks.weights_files import bounds, look
from frostline.networks.weights_files.formats import open_file
from frostline.networks.weights_files.inspection import to_json


def read(path: Path) -> list[str]:
    try:
        json.dumps(to_json(look.inspect(path)), allow_nan=False)
        for tensor in open_file(path).tensors.values():
            if tensor.dtype not in ("string", "resource", "variant"):
                np.asarray(tensor.values()).shape  # noqa: B018
    except WeightsError as error:
        return ["refused", str(error)]
    except MemoryError:
        return ["refused", "memory"]
    except BaseException:
        return ["broke", traceback.format_exc()[-3000:]]
    return ["read"]


def say(*parts: object) -> None:
    sys.stdout.write(json.dumps(parts) + "\n")
    sys.stdout.flush()


def main() -> None:
    memory_bytes, time_s = map(int, sys.argv[1:3])
    paths = [Path(line) for line in sys.stdin.read().splitlines()]
    bounds.limit(memory_bytes, time_s * len(paths))
    # A hook stays for good; what it asks changes with the file.
    watched = {"by": bounds.watch(paths[0])}
    sys.addaudithook(lambda event, arguments: watched["by"](event, arguments))
    for path in paths:
        watched["by"] = bounds.watch(path)
        say(str(path), "began")
        # The default is to die: nothing that hangs goes on.
        signal.setitimer(signal.ITIMER_REAL, time_s)
        said = read(path)
        signal.setitimer(signal.ITIMER_REAL, 0)
        say(str(path), *said)


if __name__ == "__main__":
    main()
