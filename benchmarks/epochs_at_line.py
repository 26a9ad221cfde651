"""Training epochs from the cache against the same epochs live in plain PyTorch.

    python benchmarks/epochs_at_line.py PHOTOS --weights FOLDER --line blocks.5 [--epochs 3]

Both train the same layers (all above the line, and a new head) with AdamW at the same rates and
decay, on the same images in batches of the same size, in bf16 by autocast, channels last, batch
norms in eval mode. The rival is what one would write oneself: torchvision's `ImageFolder` with the
network's own preprocessing, a `DataLoader` with two workers, everything below the line frozen. Our
epochs come from a cache that was filled just before; that pass is told apart. Epochs take turns,
after one of each to warm up; the ratio is the median of pairs. Both start from the same head.
"""

import copy
import itertools
import math
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from torch import nn
from torch.utils.data import DataLoader
from torchvision import datasets, transforms
from torchvision.transforms import InterpolationMode

from common import bar, middle, note, parser, table, workplace
from frostline.activations import engines, sources
from frostline.activations.cache.key import row_id
from frostline.base.console import QUIET
from frostline.images import listing as listings
from frostline.images.augment import CENTER
from frostline.images.listing import Row
from frostline.images.preprocessing import Preprocessing
from frostline.model import classifier, heads
from frostline.model.classifier import Classifier
from frostline.networks import catalog
from frostline.training import loop, parameters, scoring
from frostline.training.examples import Examples
from frostline.training.state import TrainSettings, TrainState

RATE, SUFFIX_SHARE, DECAY = 1e-3, 0.1, 0.01


class Whole(nn.Module):
    """The whole network from pixels, in one piece, as plain PyTorch would run it."""

    def __init__(self, model: Classifier) -> None:
        super().__init__()
        self.below, self.above = copy.deepcopy(model.prefix), copy.deepcopy(model.trainable.suffix)
        self.head = copy.deepcopy(model.trainable.head)
        self.below.requires_grad_(False)
        self.above.requires_grad_(True)
        self.head.requires_grad_(True)
        self.to(memory_format=torch.channels_last)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.above(self.below(x)))


def prepared(settings: Preprocessing) -> Callable:
    """Returns torchvision's transform for a network's preprocessing in crop mode `center`."""
    short_px = math.floor(settings.height_px / settings.crop_pct)
    return transforms.Compose(
        [
            transforms.Resize(short_px, InterpolationMode(settings.interpolation)),
            transforms.CenterCrop((settings.height_px, settings.width_px)),
            transforms.ToTensor(),
            transforms.Normalize(settings.mean, settings.std),
        ]
    )


def rival_epochs(net: Whole, loader: DataLoader, compute: torch.dtype) -> Iterator[None]:
    """Trains for one epoch each time it is asked for the next."""
    groups = [
        {"params": list(net.above.parameters()), "lr": RATE * SUFFIX_SHARE},
        {"params": list(net.head.parameters()), "lr": RATE},
    ]
    optimizer = torch.optim.AdamW(groups, weight_decay=DECAY)
    net.eval()
    half = compute.itemsize == 2
    while True:
        for x, targets in loader:
            optimizer.zero_grad(set_to_none=True)
            with torch.autocast("cpu", compute if half else None, enabled=half):
                logits = net(x.to(memory_format=torch.channels_last))
                loss = nn.functional.cross_entropy(logits.float(), targets)
            loss.backward()
            optimizer.step()
        yield


@torch.inference_mode()
def rival_accuracy(net: Whole, loader: DataLoader, compute: torch.dtype) -> float:
    right = count = 0
    half = compute.itemsize == 2
    with torch.autocast("cpu", compute if half else None, enabled=half):
        for x, targets in loader:
            logits = net(x.to(memory_format=torch.channels_last))
            right += int((logits.argmax(1) == targets).sum())
            count += len(targets)
    return right / count


def examples(rows: tuple[Row, ...], labels: tuple[str, ...]) -> Examples:
    ids = tuple(row_id(row.digest, CENTER.name) for row in rows)
    return Examples(ids, torch.tensor([labels.index(row.label) for row in rows]))


def our_epochs(
    model: Classifier, fetch: examples.Fetch, training: Examples, batch_size: int
) -> Iterator[None]:
    """Trains for one epoch each time it is asked for the next."""
    trainable = model.trainable
    trainable.requires_grad_(True)
    made = parameters.groups(trainable.suffix, trainable.head, RATE, SUFFIX_SHARE, DECAY)
    lines = loop.train(
        trainable,
        parameters.make_optimizer("adamw", made),
        lambda *_: 1.0,
        fetch,
        lambda _: training,
        None,
        TrainSettings(epochs=1000, batch_size=batch_size),
        model.engine.device,
        TrainState(),
    )
    for line in lines:
        if line is not None:
            yield


def main() -> None:
    arguments = parser(__doc__)
    arguments.add_argument("--line", default="blocks.5")
    arguments.add_argument("--epochs", type=int, default=3, help="measured ones")
    arguments.add_argument("--batch-size", type=int, default=32)
    arguments.add_argument("--workers", type=int, default=2, help="of the rival's loader")
    arguments.add_argument("--precision", default="auto")
    args = arguments.parse_args()
    listing = listings.scan(args.photos)
    train, val, labels = listing.of("train"), listing.of("val"), tuple(listing.labels)
    cpu = torch.device("cpu")
    compute = engines.pick_precision(args.precision, cpu)
    torch.manual_seed(0)
    head = heads.parse("linear")
    opened = catalog.find(args.weights)
    model = classifier.assemble(opened, labels, head, args.line, cpu, compute)
    net = Whole(model)
    transform = prepared(model.preprocessing)
    loaders = [
        DataLoader(
            datasets.ImageFolder(Path(args.photos) / part, transform),
            args.batch_size,
            shuffle=part == "train",
            num_workers=args.workers,
            persistent_workers=args.workers > 0,
        )
        for part in ("train", "val")
    ]
    with workplace() as work:
        source = sources.from_pixels(model, work, QUIET)
        source.prepare(sources.image_views_of((*train, *val)))
        ways = {
            "frostline, from the cache": our_epochs(
                model, source.fetch, examples(train, labels), args.batch_size
            ),
            "plain PyTorch, live": rival_epochs(net, loaders[0], compute),
        }
        taken: dict[str, list[float]] = {name: [] for name in ways}
        for number, (name, epochs) in itertools.product(range(args.epochs + 1), ways.items()):
            begun = time.perf_counter()
            next(epochs)
            seconds = time.perf_counter() - begun
            note(f"epoch {number}, {name}: {seconds:.2f} s")
            if number:
                taken[name].append(seconds)
        for epochs in ways.values():
            epochs.close()
        score = scoring.score(model.trainable, source.fetch, examples(val, labels), cpu)
    accuracies = [score.accuracy, rival_accuracy(net, loaders[1], compute)]
    rows = [
        [name, f"{len(train) / middle(s):.0f}", f"{middle(s):.2f}", f"{accuracy:.4f}", len(s)]
        for (name, s), accuracy in zip(taken.items(), accuracies, strict=True)
    ]
    table(["epochs", "images/s", "s an epoch", "val accuracy", "epochs measured"], rows)
    ratio = middle(b / a for a, b in zip(*taken.values(), strict=True))
    print(
        f"\nLine {args.line}, {str(compute).removeprefix('torch.')}: {ratio:.1f} × as fast, median "
        f"of pairs. Filling the cache took {source.seconds:.1f} s ({source.computed} images), once."
    )
    what = f"epochs at {args.line} from the cache, {args.photos.name}"
    bar(what, "≥ 6 × plain PyTorch live", f"{ratio:.1f} ×", ratio >= 6)


if __name__ == "__main__":
    main()
