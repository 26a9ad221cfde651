"""Cores, memory and locks."""

import subprocess
import sys
from pathlib import Path

import pytest

from frostline.base import machine
from frostline.base.locks import try_lock

GROW = """
from frostline.base import machine
before = machine.resident_bytes()
held = bytes([1]) * (64 << 20)
print(before, machine.resident_bytes())
"""
HOLD = """
import os, sys
from frostline.base.locks import try_lock
handle = os.open(sys.argv[1], os.O_RDWR | os.O_CREAT)
print(try_lock(handle), flush=True)
sys.stdin.read()
"""


def test_there_are_cores() -> None:
    assert machine.cores() >= 1


@pytest.mark.skipif(sys.platform != "linux", reason="a set of cores can be chosen on Linux alone")
def test_cores_are_those_of_the_process() -> None:
    code = "import os; os.sched_setaffinity(0, [min(os.sched_getaffinity(0))]); "
    code += "from frostline.base import machine; print(machine.cores())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "1"


def test_memory_grows_with_what_is_held() -> None:
    # In a process of its own: in this one, other tests' memory may be given back in between.
    command = [sys.executable, "-c", GROW]
    told = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout
    before, after = map(int, told.split())
    assert before > 1 << 20
    assert after - before > 32 << 20


def test_a_lock_is_held_by_one_process_and_goes_with_it(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    command = [sys.executable, "-c", HOLD, str(path)]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline().strip() == "True"
        with path.open("r+b") as file:
            assert not try_lock(file.fileno())
        holder.kill()
        holder.wait()
        with path.open("r+b") as file:
            assert try_lock(file.fileno())
