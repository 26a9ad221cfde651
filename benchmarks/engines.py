"""The ways to run the frozen layers: speed, conversion, and agreement with float32.

    python benchmarks/engines.py PHOTOS --weights FOLDER [--line pooled] [--engines eager openvino]

Rates are of images from file to activation, as in the first pass, and of the network alone on
batches that are ready; rounds take turns, figures are medians. An engine's conversion pays after so
many images as its gain needs to make up for it. Relative errors are those against unfolded float32.
"""

import itertools
import time
from collections.abc import Callable

import torch

from common import middle, note, parser, table, workplace
from frostline.activations import engines, extraction
from frostline.activations.engines import Engine
from frostline.images import listing
from frostline.images.preprocessing import Preprocessing
from frostline.model import classifier
from frostline.networks import catalog


def rate(count: int, work: Callable[[], object]) -> float:
    begun = time.perf_counter()
    work()
    return count / (time.perf_counter() - begun)


def network(batches: list[torch.Tensor], engine: Engine) -> None:
    for batch in batches:
        engine(batch)


def files(items: list[extraction.ImageView], settings: Preprocessing, engine: Engine) -> None:
    for _ in extraction.activations(items, settings, engine, engine.on_cpu):
        pass


def main() -> None:
    device = engines.pick_device("auto")
    arguments = parser(__doc__)
    arguments.add_argument("--line", default="pooled")
    arguments.add_argument("--precisions", nargs="*", default=["auto", "fp32"])
    arguments.add_argument("--images", type=int, default=512)
    arguments.add_argument("--rounds", type=int, default=5)
    arguments.add_argument(
        "--engines", nargs="*", choices=engines.NAMES, default=engines.candidates(device)
    )
    args = arguments.parse_args()
    found = listing.scan_files([args.photos]).usable[: args.images]
    items = [extraction.ImageView(row.path, row.digest) for row in found]
    opened = catalog.find(args.weights)
    types = dict.fromkeys(engines.pick_precision(name, device) for name in args.precisions)
    made: dict[str, tuple[Engine, float]] = {}
    with workplace() as work:
        for compute, name in itertools.product(types, args.engines):
            model = classifier.with_own_classes(opened, args.line, device, compute)
            settings = model.preprocessing
            shape = (3, settings.height_px, settings.width_px)
            note(f"making {name}, {compute}")
            begun = time.perf_counter()
            engine = engines.make(name, model.engine, shape, work)
            made[engine.name] = engine, 0.0 if name == "eager" else time.perf_counter() - begun
        exact = engines.exact(model.prefix, settings, device)
        ready = [batch for _, batch, _ in extraction.pixels(items, settings) if batch is not None]
        sample = torch.cat(ready[:4])
        reference = exact(sample)
        rates: dict[str, list[tuple[float, float]]] = {name: [] for name in made}
        for number, (name, (engine, _)) in itertools.product(range(args.rounds + 1), made.items()):
            alone = rate(len(items), lambda engine=engine: network(ready, engine))
            whole = rate(len(items), lambda engine=engine: files(items, settings, engine))
            if number:
                rates[name].append((whole, alone))
        rows: list[list[object]] = []
        first = next(iter(made))
        slow = middle(whole for whole, _ in rates[first])
        for name, (engine, setup_s) in made.items():
            whole, alone = (middle(column) for column in zip(*rates[name], strict=True))
            gained = middle(a / b for (a, _), (b, _) in zip(rates[name], rates[first], strict=True))
            agrees = engines.agreement(reference, engine(sample), engine.compute)
            verdict = f"{agrees.turn:.4f}, {agrees.scale:.4f}"
            pays = f"{setup_s / (1 / slow - 1 / whole):.0f}" if whole > slow else "never"
            cells = [f"{whole:.0f}", f"{alone:.0f}", f"{gained:.2f}", f"{setup_s:.1f}"]
            cells.append(pays if setup_s else "-")
            cells += [verdict, "yes" if agrees.agrees else "NO"]
            rows.append([name, *cells, args.rounds])
    header = ["engine", "files: images/s", "network: images/s", f"over {first}", "conversion s"]
    header += ["pays after images", "error: across, along", "agrees", "rounds"]
    table(header, rows)
    print(f"\nLine {args.line}, {len(items)} images, errors on {len(sample)} of them.")


if __name__ == "__main__":
    main()
