"""The classifier as one thing: what its parts are known by."""

import os
import subprocess
import sys

from conftest import FinishedRun

DIGEST = """
import sys
import torch
from frostline import classifier, heads
from frostline.backbones import catalog
model = classifier.assemble(
    catalog.find(sys.argv[1]), ("a", "b"), heads.parse("linear"), "layer4",
    torch.device("cpu"), torch.float32,
)
print(classifier.prefix_digest(model))
"""


def test_the_digest_of_a_prefix_is_the_same_in_every_process(finished_run: FinishedRun) -> None:
    # It once followed the order of a set of names, which each process draws anew: no cache that
    # another process had filled was ever found again.
    found = set()
    for seed in ("1", "2"):
        done = subprocess.run(
            [sys.executable, "-c", DIGEST, f"dir:{finished_run.path}"],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            check=True,
            text=True,
        )
        found.add(done.stdout)
    assert len(found) == 1
