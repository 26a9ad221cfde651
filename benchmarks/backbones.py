"""Writes docs/backbones.md: one network of every family of every kind, and what is known of it.

    python benchmarks/backbones.py [--measure] [--only PART]

Parameters, depth, input and lines are counted on networks without weights. `--measure` also times
the forward pass, in seconds of processor time of one thread. Rows that are in the page already are
kept where `--only` does not name them, and so are rates without `--measure`.
"""

import argparse
import re
import sys
import time
from collections.abc import Iterator
from dataclasses import astuple, dataclass
from pathlib import Path

import torch

from frostline.frost import TracedNetwork
from frostline.networks import catalog
from frostline.networks.keras.families import APPLICATIONS
from frostline.networks.opening import open_bare
from frostline.networks.registry import kind_of

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "backbones.md"
# Top-1 and top-5 on ImageNet in percent, from the table at keras.io/api/applications.
KERAS = {
    "Xception": (79.0, 94.5),
    "VGG16": (71.3, 90.1),
    "ResNet50": (74.9, 92.1),
    "ResNet50V2": (76.0, 93.0),
    "InceptionV3": (77.9, 93.7),
    "InceptionResNetV2": (80.3, 95.3),
    "MobileNet": (70.4, 89.5),
    "MobileNetV2": (71.3, 90.1),
    "MobileNetV3Small": (),
    "DenseNet121": (75.0, 92.3),
    "NASNetMobile": (74.4, 91.9),
    "EfficientNetB0": (77.1, 93.3),
    "EfficientNetV2B0": (78.7, 94.3),
    "ConvNeXtTiny": (),
    "VGG19": (71.3, 90.0),
}
TORCHVISION = (
    *(
        "alexnet",
        "convnext_tiny",
        "densenet121",
        "efficientnet_b0",
        "efficientnet_v2_s",
        "googlenet",
    ),
    *("inception_v3", "maxvit_t", "mnasnet0_5", "mobilenet_v2", "mobilenet_v3_small"),
    *("regnet_y_400mf", "resnet18", "resnext50_32x4d", "shufflenet_v2_x0_5", "squeezenet1_1"),
    *("swin_t", "vgg16", "vit_b_32", "wide_resnet50_2"),
)
HEAD = """\
# Backbones

One small network of each family of each kind, written by `python benchmarks/backbones.py`. Any
other of the same library opens in the same way; `frostline backbones PATTERN` lists those with
weights, and `frostline summary NAME --as-is` tells of any what stands here.

- *parameters*: without the running statistics of norms, which Keras counts as well
- *depth*: the longest chain of layers with a kernel or a matrix
- *MB*: the size in float32
- *input*: the side of the picture that the weights were trained at; *smallest*: the least side
  that the library states, or the only one
- *top-1*, *top-5*: what the library publishes for ImageNet: torchvision in its weights enums,
  Keras in the table at keras.io/api/applications; timm ships no such figures
- *licence*: of the default weights; nothing where the library tells none
- *images/s*: in a second of processor time of one thread, float32, batches of eight, random
  weights; measured on a machine that others used, so good to a fifth at best; nothing where that
  was not measured
- *lines*: at how many places it can be cut. Tests cut timm's and torchvision's families
  (`tests/frost/test_families.py`) and compare those of Keras with Keras itself
  (`tests/networks/`).

"""
COLUMNS = (
    *("network", "parameters", "depth", "MB", "input", "smallest", "top-1", "top-5"),
    *("licence", "images/s", "lines"),
)


@dataclass(frozen=True)
class Row:
    """A row of the table, in its order."""

    network: str
    parameters: str
    depth: str
    mb: str
    input: str
    smallest: str
    top1: str
    top5: str
    licence: str
    rate: str
    lines: str


def networks() -> Iterator[str]:
    """Gives the name of every network of the table."""
    yield from (f"keras:{name}" for name in KERAS)
    yield from (f"torchvision:{name}" for name in TORCHVISION)
    sys.path.insert(0, str(ROOT / "tests"))
    from timm_families import TIMM

    # Those that the tests build smaller stand here as they are.
    yield from (f"timm:{re.split('[?@]', name)[0]}" for name in TIMM.values())


def row_of(name: str, rate: str) -> Row:
    """Looks at one network; its weights are not needed."""
    opened = open_bare(name)
    traced = catalog.trace(opened)
    count = opened.record.parameters
    kind, _, architecture = name.partition(":")
    published, smallest, licence = _stated(kind, architecture)
    fixed = kind_of(kind).size_argument(opened.module)
    px = opened.record.preprocessing.width_px
    return Row(
        network=f"`{name}`",
        parameters=f"{count:,}",
        depth=str(depth_of(traced)),
        mb=f"{count * 4 / 1e6:,.0f}",
        input=str(px),
        smallest=smallest or (str(px) if fixed else ""),
        top1=f"{published[0]:.1f}" if published else "",
        top5=f"{published[1]:.1f}" if published else "",
        licence=licence,
        rate=rate,
        lines=str(len(traced.lines)),
    )


def depth_of(traced: TracedNetwork) -> int:
    """Returns the length of the longest chain of layers with a kernel or a matrix."""
    modules = dict(traced.net.named_modules())
    depth: dict[str, int] = {}
    for name, step in traced.evaluating.steps.items():
        below = max((depth[source.name] for source in step.node.all_input_nodes), default=0)
        module = modules.get(str(step.node.target)) if step.node.op == "call_module" else None
        own = module is not None and any(p.ndim > 1 for p in module.parameters())
        depth[name] = below + own
    return max(depth.values())


def rate_of(name: str) -> str:
    """Returns images a second of processor time, in batches of eight, on one thread."""
    torch.set_num_threads(1)
    off = "weights=none" if name.startswith("keras:") else "pretrained=false"
    opened = catalog.find(f"{name}?{off}")
    how = opened.record.preprocessing
    images = torch.rand(8, 3, how.height_px, how.width_px)
    with torch.inference_mode():
        opened.module(images)
        begun, rounds = time.process_time(), 0
        while rounds < 2 or time.process_time() - begun < 1.0:
            opened.module(images)
            rounds += 1
    return f"{8 * rounds / (time.process_time() - begun):.3g}"


def stored() -> dict[str, Row]:
    """Returns the rows of the page, by the network's name."""
    text = PAGE.read_text("utf-8") if PAGE.is_file() else ""
    lines = [line for line in text.splitlines() if line.startswith("| `")]
    rows = (Row(*(cell.strip() for cell in line.split("|")[1:-1])) for line in lines)
    return {row.network.strip("`"): row for row in rows}


def page_of(rows: dict[str, Row]) -> str:
    """Returns the whole page."""
    table = [COLUMNS, ("---",) * len(COLUMNS), *map(astuple, rows.values())]
    return HEAD + "".join(f"| {' | '.join(cells)} |\n" for cells in table)


def _stated(kind: str, name: str) -> tuple[tuple[float, ...], str, str]:
    """What the library states: top-1 and top-5, the smallest input, the weights' licence."""
    if kind == "keras":
        return KERAS[name], str(APPLICATIONS[name].smallest_px), ""
    if kind == "torchvision":
        from torchvision import models

        meta = models.get_model_weights(name).DEFAULT.meta
        found = meta["_metrics"]["ImageNet-1K"]
        least = max(meta["min_size"])
        licence = next((e.licence for e in kind_of(kind).entries() if f":{name}?" in e.name), "")
        return (found["acc@1"], found["acc@5"]), str(least) if least > 1 else "", licence
    from timm.models import get_pretrained_cfg

    config = get_pretrained_cfg(name, allow_unregistered=True)
    licence = (config.license or "") if config else ""
    return (), "", licence


def main() -> None:
    """Writes the page, row by row, so that what is done is kept."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--measure", action="store_true", help="time the forward passes")
    parser.add_argument("--only", default="", help="rows whose name holds this")
    given = parser.parse_args()
    before, rows = stored(), {}
    for name in networks():
        known = before.get(name)
        if given.only in name or known is None:
            rate = rate_of(name) if given.measure else known.rate if known else ""
            known = row_of(name, rate)
            print(known.network, known.parameters, known.rate, flush=True)
        rows[name] = known
        PAGE.write_text(page_of({**before, **rows}), "utf-8")
    PAGE.write_text(page_of(rows), "utf-8")


if __name__ == "__main__":
    main()
