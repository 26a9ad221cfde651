"""The classifier as one thing: what its parts are known by."""

import pytest
import torch

from conftest import FinishedRun
from frostline.activations.between import between
from frostline.activations.cut_network import prefix_digest
from frostline.model import classifier, heads
from frostline.networks import catalog


def test_the_digest_of_a_prefix_follows_the_graph(finished_run: FinishedRun) -> None:
    # It once followed the order of a set of names, which each process draws anew: no cache that
    # another process had filled was ever found again.
    opened = catalog.find(f"dir:{finished_run.path}")
    linear, cpu = heads.parse("linear"), torch.device("cpu")
    made = [
        classifier.assemble(opened, ("a", "b"), linear, "layer4", cpu, torch.float32)
        for _ in range(2)
    ]
    assert prefix_digest(made[0]) == prefix_digest(made[1])
    called = [str(n.target) for n in made[0].prefix.graph.nodes if n.op == "call_module"]
    for parent in ("", "layer1.0", "layer2.0", "layer3.0"):
        there = [
            name
            for name, _ in made[0].prefix.get_submodule(parent).named_children()
            if f"{parent}.{name}".strip(".") in called
        ]
        within = [name for name in called if name.rpartition(".")[0] == parent]
        assert there == [name.rpartition(".")[2] for name in dict.fromkeys(within)]


def test_the_digest_of_a_prefix_knows_its_weights(finished_run: FinishedRun) -> None:
    opened = catalog.find(f"dir:{finished_run.path}")
    made = classifier.with_own_classes(opened, "layer3", torch.device("cpu"), torch.float32)
    before = prefix_digest(made)
    with torch.no_grad():
        next(made.trainable.suffix.parameters()).add_(1)
    assert prefix_digest(made) == before
    with torch.no_grad():
        next(made.prefix.parameters()).view(-1)[0].add_(1e-3)
    assert prefix_digest(made) != before


def test_the_digest_of_a_prefix_knows_what_is_in_no_state_dict(finished_run: FinishedRun) -> None:
    opened = catalog.find(f"dir:{finished_run.path}")
    made = classifier.with_own_classes(opened, "layer3", torch.device("cpu"), torch.float32)
    found = set()
    for value in (1.0, 2.0):
        made.prefix.register_buffer("table", torch.tensor([value]), persistent=False)
        found.add(prefix_digest(made))
    assert "table" not in made.prefix.state_dict()
    assert len(found) == 2


@pytest.mark.parametrize("below", ["pixels", "layer2"])
def test_what_is_derived_is_what_would_be_computed(finished_run: FinishedRun, below: str) -> None:
    opened = catalog.find(f"dir:{finished_run.path}")
    made = classifier.with_own_classes(opened, "pooled", torch.device("cpu"), torch.float32)
    how = made.preprocessing
    pixels = torch.randint(0, 256, (4, 3, how.height_px, how.width_px), dtype=torch.uint8)
    lower = classifier.recut(made, below)
    derived = between(made, lower.line)(lower.engine(pixels))
    torch.testing.assert_close(derived, made.engine(pixels), rtol=1e-2, atol=1e-2)
    assert derived.dtype == made.engine.storage
