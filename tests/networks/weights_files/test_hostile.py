"""Damaged and hostile files of every format are refused or read: no code, no hang, no way out."""

import json
import os
import random
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from frostline.base.errors import WeightsError
from frostline.networks import catalog
from frostline.networks.weights_files import guarded, look
from networks.weights_files import bounded, openers
from networks.weights_files.makers import FILES, IN_HDF5, MAKERS, make, mutants

READING = Path(__file__).resolve().parent / "reading.py"
MEMORY_BYTES = 768 << 20
TIME_S = 10


def outcomes(paths: Sequence[Path]) -> dict[Path, list[str]]:
    """Reads files in processes of bounded memory and time; one that dies costs its file only."""
    found: dict[Path, list[str]] = {}
    left = list(paths)
    while left:
        done = subprocess.run(
            [sys.executable, str(READING), str(MEMORY_BYTES), str(TIME_S)],
            input="\n".join(map(str, left)),
            capture_output=True,
            text=True,
            env=guarded.environment(),
            check=False,
        )
        for line in done.stdout.splitlines():
            path, *said = json.loads(line)
            found[Path(path)] = said
        assert any(path in found for path in left), done.stderr
        for path in left:
            if found.get(path) == ["began"]:
                found[path] = ["died", str(done.returncode)]
        left = [path for path in left if path not in found]
    return found


def check(kind: str, folder: Path, count: int) -> dict[str, int]:
    done = {path: what for what, path in mutants(kind, folder, count)}
    before = snapshot(folder)
    counts: dict[str, int] = {}
    for path, (outcome, *said) in outcomes(list(done)).items():
        counts[outcome] = counts.get(outcome, 0) + 1
        assert outcome != "broke", f"{done[path]}\n{said[0]}"
        if outcome == "refused":
            assert "\n" not in said[0], done[path]
        if outcome == "died":
            # Only the HDF5 library may crash; then the command still says so in one line.
            assert kind in IN_HDF5, f"{done[path]}: {said}"
            with pytest.raises(WeightsError, match=r"refused|not a whole"):
                guarded.inspect(path)
    assert sum(counts.values()) == count
    assert snapshot(folder) == before
    return counts


def snapshot(folder: Path) -> dict[Path, tuple[int, int]]:
    files = [path for path in folder.parent.rglob("*") if path.is_file()]
    return {path: (path.stat().st_size, path.stat().st_mtime_ns) for path in files}


@pytest.mark.parametrize("kind", MAKERS)
def test_forty_damaged_files_of_each_kind_are_refused_or_read(kind: str, tmp_path: Path) -> None:
    counts = check(kind, tmp_path / "mutants", 40)
    # Damage is noticed, or this would show nothing.
    assert counts.get("refused", 0) > 4


@pytest.mark.slow
@pytest.mark.parametrize("kind", MAKERS)
def test_three_hundred_damaged_files_of_each_kind_are_refused_or_read(
    kind: str, tmp_path: Path
) -> None:
    print(kind, check(kind, tmp_path / "mutants", 300))  # noqa: T201


@pytest.mark.skipif(sys.platform != "linux", reason="sizes of processes are read from /proc")
@pytest.mark.parametrize("kind", openers.NETWORKS)
def test_thirty_damaged_networks_of_each_kind_are_refused_or_opened(
    kind: str, tmp_path: Path
) -> None:
    work = openers.opener(kind)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(guarded, "check", look.inspect)
        work(make(kind, tmp_path / "whole"))
        made = list(mutants(kind, tmp_path / "mutants", 30, seed=1))
        before = snapshot(tmp_path / "mutants")
        done = bounded.run(work, [path for _, path in made])
    for (what, _), one in zip(made, done, strict=True):
        assert one.kind != "broke", f"{what}: {one.said}"
        # A process apart is lost first, where the HDF5 library crashes.
        assert one.kind != "died" or kind in IN_HDF5, f"{what}: {one.said}"
        assert one.bytes < 1 << 30
    assert snapshot(tmp_path / "mutants") == before
    assert {"read", "refused"} <= {one.kind for one in done}


@pytest.mark.skipif(sys.platform != "linux", reason="sizes of processes are read from /proc")
def test_what_no_file_may_do_is_noticed(tmp_path: Path) -> None:
    acts: dict[str, Callable[[Path], object]] = {
        "broke: os.system": lambda path: os.system("true"),
        "broke: opens /": lambda path: Path("/run/x").read_bytes(),
        "broke: opens to write": lambda path: path.write_text("x"),
        "broke: MemoryError": lambda path: bytearray(2 << 30),
        "broke: Traceback": lambda path: 1 / 0,
        "died: SIGKILL": lambda path: os.kill(os.getpid(), signal.SIGKILL),
        "refused: bad file": lambda path: look.inspect(path / "bad\nfile"),
        "read: ": lambda path: None,
    }
    for what, act in acts.items():
        one, other = bounded.run(act, [tmp_path / "a", tmp_path / "b"])
        kind, _, start = what.partition(": ")
        assert one.kind == other.kind == kind, one
        assert all(word in one.said for word in start.split()), one


@pytest.mark.parametrize("name", ["model.h5", "model.keras"])
def test_networks_in_hdf5_are_read_by_a_process_apart_first(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Path] = []
    monkeypatch.setattr(guarded, "check", asked.append)
    catalog.find(f"keras:{FILES / name}?mode=tf")
    assert asked == [FILES / name]


STRANGE = (
    None,
    True,
    -1,
    0,
    1 << 70,
    1.5,
    "",
    "x",
    [],
    [[]],
    {},
    {"name": {}},
    [None],
    ["x", 0, 0],
)


def with_another_value(whole: Any, random_: random.Random) -> Any:
    """Puts something else in one place of a nest of tables and lists."""
    if not isinstance(whole, (dict, list)) or not whole or random_.random() < 0.1:
        return random_.choice(STRANGE)
    copied = dict(whole) if isinstance(whole, dict) else list(whole)
    key = (
        random_.choice(list(copied)) if isinstance(copied, dict) else random_.randrange(len(whole))
    )
    copied[key] = with_another_value(copied[key], random_)
    return copied


@pytest.mark.parametrize("kind", ["tfjs_layers", "tfjs_graph", "safetensors"])
def test_values_of_the_wrong_kind_in_json_are_refused_or_read(kind: str, tmp_path: Path) -> None:
    path = make(kind, tmp_path / kind)
    file = path / "model.json" if path.is_dir() else path
    data = file.read_bytes()
    length = 0 if path.is_dir() else int.from_bytes(data[:8], "little")
    whole = json.loads(data[8 : 8 + length] if length else data)
    random_ = random.Random(0)
    refused = 0
    for _ in range(400):
        text = json.dumps(with_another_value(whole, random_)).encode()
        file.write_bytes(
            len(text).to_bytes(8, "little") + text + data[8 + length :] if length else text
        )
        try:
            look.inspect(path)
        except WeightsError as error:
            assert "\n" not in str(error)  # noqa: PT017
            refused += 1
    assert refused > 40
