"""Writes docs/backbones.md: one network of every family of every kind, and what is known of it.

    python benchmarks/backbones.py [--measure] [--only PART]

Parameters, depth, input and lines are counted on networks without weights; what their makers
publish is in `published.py`, what was tested follows from `tests/families.py`. `--measure` times
the forward pass instead, in seconds of processor time of one thread. Rows that are in the page
already are kept where `--only` does not name them, and so are rates without `--measure`.
"""

import argparse
import re
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import astuple, dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

from frostline.frost import TracedNetwork
from frostline.networks import builtin_networks, catalog
from frostline.networks.keras.families import APPLICATIONS
from frostline.networks.opening import open_bare
from frostline.networks.registry import kind_of

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "benchmarks")]

import families  # noqa: E402
import published  # noqa: E402

PAGE = ROOT / "docs" / "backbones.md"
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
weights, and `frostline summary NAME --as-is` tells of any what stands here. Of `transformers:`,
the class is named that opens and the figures are those of its configuration's defaults; after the
colon you write a folder or OWNER/NAME. Those of `py:`, `tf:`, `onnx:` and `tflite:` are the small
networks and files of the tests (`tests/own_network.py`, `tests/networks/weights_files/files`); you
write your own there.

- *parameters*: without the running statistics of norms, which Keras counts as well
- *depth*: the longest chain of layers with a kernel or a matrix
- *MB*: the size in float32
- *input*: the side of the picture that the weights were trained at; *smallest*: the least side
  that the library states, or the only one; nothing where neither is known
- *top-1*, *top-5*: what is published for ImageNet and these weights: torchvision in its weights
  enums, Keras in the table at keras.io/api/applications, timm in `results/results-imagenet.csv` of
  huggingface/pytorch-image-models (at 0173a13, at the size that stands there, which may be larger
  than *input*), EfficientNet-Lite0 in `models/official/efficientnet/lite` of tensorflow/tpu.
  Nothing where nothing is
- *licence*: of the default weights, as timm, torchvision and Keras tell it (of Keras, the page
  `docs/templates/applications.md` of keras-team/keras at 034466b); *unknown* where they tell none:
  torchvision says of its own that they may have terms derived from the pictures they learned from;
  *none* where there are no weights; *its own* where the folder or file that you name decides
- *images/s*: in a second of processor time of one thread, float32, random weights, at *input*, in
  batches of eight, or one by one where an image takes half a second; measured once on a machine
  that others used, so compare ratios, and those to a fifth at best
- *lines*: at how many places it can be cut
- *tested*: **all**: opened by its name, cut exactly at every third line with no weight and no mode
  on both sides, trained for a step, saved as a model folder, opened again, the same predictions
  (`tests/networks/test_every_family.py`, some of them smaller or on smaller pictures than here);
  **cuts**: more of what holds at its lines (`tests/frost/test_families.py`); **twin**: the values
  of the source library on the same weights (`tests/networks/`)

"""
COLUMNS = (
    *("network", "parameters", "depth", "MB", "input", "smallest", "top-1", "top-5"),
    *("licence", "images/s", "lines", "tested"),
)
SLOW_S = 0.5


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
    tested: str


@dataclass(frozen=True)
class Published:
    """What is known of a network without looking at it: accuracy, smallest side, licence."""

    accuracy: tuple[float, ...] = ()
    smallest: str = ""
    licence: str = "its own"


def networks() -> Iterator[str]:
    """Gives the name of every network of the table."""
    yield from (f"keras:{name}" for name in published.KERAS)
    yield from (f"torchvision:{name}" for name in TORCHVISION)
    # Those that the tests build smaller stand here as they are.
    yield from (f"timm:{re.split('[?@]', name)[0]}" for name in families.TIMM.values())
    yield from (f"transformers:{a}{b}" for a, b, _ in families.TRANSFORMERS.values())
    yield from families.SMALL


@contextmanager
def opening(name: str) -> Iterator[str]:
    """Gives the name under which a network of the table opens, without its weights."""
    kind, _, rest = name.partition(":")
    with TemporaryDirectory() as folder:
        if kind == "transformers":
            yield families.of_transformers(_case(name), Path(folder), default=True)
        elif name in families.SMALL:
            yield families.OPENING[kind](rest, Path(folder))
        else:
            yield f"{name}?{'weights=none' if kind == 'keras' else 'pretrained=false'}"


def row_of(name: str, rate: str) -> Row:
    """Looks at one network; its weights are not needed."""
    with opening(name) as where:
        opened = open_bare(where)
    traced = catalog.trace(opened)
    count = opened.record.parameters
    known = published_of(name)
    fixed = kind_of(opened.record.kind).size_argument(opened.module)
    px = opened.record.preprocessing.width_px
    top = [f"{value:.1f}" for value in known.accuracy]
    return Row(
        network=f"`{name}`",
        parameters=f"{count:,}",
        depth=str(depth_of(traced)),
        mb=f"{count * 4 / 1e6:,.0f}" if count > 1e6 else f"{count * 4 / 1e6:.2g}",
        input=str(px),
        smallest=known.smallest or (str(px) if fixed else ""),
        top1=top[0] if top else "",
        top5=top[1] if len(top) > 1 else "",
        licence=known.licence,
        rate=rate,
        lines=str(len(traced.lines)),
        tested=tested(name),
    )


def tested(name: str) -> str:
    """What the tests ask of a network."""
    kind, _, rest = name.partition(":")
    said = ["all"] if f"{kind}:{_case(name)}" in families.ALL else []
    if kind == "timm" or rest in families.CUT_OF_TORCHVISION:
        said.append("cuts")
    has_twin = kind in ("keras", "transformers", "tf", "onnx", "tflite")
    return ", ".join([*said, "twin"] if has_twin else said)


def _case(name: str) -> str:
    """Returns what a network is called in `tests/families.py`."""
    kind, _, rest = name.partition(":")
    if kind == "keras":
        return next(key for key, of in families.KERAS.items() if of.startswith(f"{rest}?"))
    if kind == "timm":
        return next(key for key, of in families.TIMM.items() if re.split("[?@]", of)[0] == rest)
    if kind == "transformers":
        named = families.TRANSFORMERS.items()
        return next(key for key, (start, end, _) in named if start + end == rest)
    return rest


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
    """Returns images a second of processor time, on one thread."""
    torch.set_num_threads(1)
    with opening(name) as where:
        opened = catalog.find(where)
    how = opened.record.preprocessing
    images = torch.rand(8, *how.input_shape)
    with torch.inference_mode():
        opened.module(images[:1])
        begun = time.process_time()
        opened.module(images[:1])
        if time.process_time() - begun > SLOW_S:
            images = images[:1]
        else:
            opened.module(images)
        begun, rounds = time.process_time(), 0
        while rounds < 2 or time.process_time() - begun < 1.0:
            opened.module(images)
            rounds += 1
    return f"{len(images) * rounds / (time.process_time() - begun):.3g}"


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


def published_of(name: str) -> Published:
    """Returns what is published of a network and its default weights."""
    kind, _, rest = name.partition(":")
    if kind == "keras":
        licence = published.KERAS_LICENCES.get(rest, "unknown")
        return Published(published.KERAS[rest], str(APPLICATIONS[rest].smallest_px), licence)
    if kind == "torchvision":
        return _of_torchvision(rest)
    if kind == "timm":
        return _of_timm(rest)
    if kind == "builtin":
        entries = {entry.name: entry.licence for entry in builtin_networks.entries()}
        return Published(published.BUILTIN.get(rest, ()), "", entries.get(name, "none"))
    return Published()


def _of_torchvision(name: str) -> Published:
    from torchvision import models

    meta = models.get_model_weights(name).DEFAULT.meta
    found = meta["_metrics"]["ImageNet-1K"]
    least = max(meta["min_size"])
    entries = kind_of("torchvision").entries()
    licence = next((e.licence for e in entries if f":{name}?" in e.name), "") or "unknown"
    return Published((found["acc@1"], found["acc@5"]), str(least) if least > 1 else "", licence)


def _of_timm(name: str) -> Published:
    from timm.models import get_pretrained_cfg

    config = get_pretrained_cfg(name, allow_unregistered=True)
    if config is None or not config.has_weights:
        return Published((), "", "none")
    accuracy = published.TIMM.get(f"{name}.{config.tag}", ())
    return Published(accuracy, "", config.license or "unknown")


def main() -> None:
    """Writes the page, row by row, so that what is done is kept."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--measure", action="store_true", help="only time the forward passes")
    parser.add_argument("--only", default="", help="rows whose name holds this")
    given = parser.parse_args()
    before, rows = stored(), {}
    for name in networks():
        row = before.get(name)
        if given.only in name or row is None:
            if row is None or not given.measure:
                row = row_of(name, row.rate if row else "")
            if given.measure:
                row = replace(row, rate=rate_of(name))
            print(row.network, row.parameters, row.rate, flush=True)
        rows[name] = row
        PAGE.write_text(page_of({**before, **rows}), "utf-8")
    PAGE.write_text(page_of(rows), "utf-8")


if __name__ == "__main__":
    main()
