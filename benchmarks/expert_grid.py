"""What a patient expert gets from a network on a GPU: a probe and 27 trainings, on each split.

    python benchmarks/expert_grid.py [--sets grocery …] [--networks mobilenetv2_imagenet …]
        [--seeds 1] [--streams 5] [--keep FILE]

The splits are those of `accuracy.py`: the best setting is chosen on `val`, and told with its
accuracy on `test`, on which nothing is chosen. Nothing of Frostline trains here: plain PyTorch, a
timm network, every picture decoded once into the memory of the device, views made there. A probe
is fitted by L-BFGS, and each training starts from its head. Several trainings run at once, each a
CUDA graph on a stream of its own; on a CPU they run one after the other, slowly.

Each setting is a JSON line of FILE; what stands there is not run again. The table comes last.
"""

import argparse
import itertools
import json
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import timm
import torch
import torch.nn.functional as F
from PIL import Image
from safetensors.torch import load_file
from torch import Tensor, nn

from accuracy import Case, add_cases, source_of, split_anew
from common import note, table
from frostline.images import listing

DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")
SIDE, SHORT, LONG, BATCH = 224, 256, 512, 32
# Blocks that stay frozen, counted from below: about 65 % of the work, 45 %, and nothing.
FROZEN = (5, 3, -1)
RATES = (1e-3, 3e-4, 3e-3)
EPOCHS = (5, 15, 30)
VIEWS = ("none", "light", "standard")
PENALTIES = (1e-4, 1e-3, 3e-3, 1e-2, 3e-2, 1e-1, 1.0)
WARMUP = 0.1


@dataclass(frozen=True)
class Setting:
    """One training: frozen blocks (-1: none, and the stem learns too), rate, length, views."""

    frozen: int
    lr: float
    epochs: int
    views: str
    smoothing: float


@dataclass(frozen=True)
class Part:
    """A split: where its pictures stand among all, and their targets [n, classes] of 0 and 1."""

    at: Tensor
    targets: Tensor


def settings() -> Iterator[Setting]:
    """Gives every line with every rate and length; views and smoothing vary with them."""
    for (i, frozen), (j, lr), (k, epochs) in itertools.product(
        enumerate(FROZEN), enumerate(RATES), enumerate(EPOCHS)
    ):
        views = VIEWS[(i + j + k) % len(VIEWS)]
        yield Setting(frozen, lr, epochs, views, 0.1 * ((i + j + k + (i + k) // 2) % 2))


class Pictures:
    """All pictures of a set on the device, decoded once: short side 256, long side up to 512."""

    def __init__(self, paths: Sequence[str]) -> None:
        arrays = [self._read(path) for path in paths]
        height, width = (max(array.shape[side] for array in arrays) for side in (0, 1))
        self.pixels = torch.zeros(len(arrays), 3, height, width, dtype=torch.uint8, device=DEVICE)
        for at, array in enumerate(arrays):
            self.pixels[at, :, : array.shape[0], : array.shape[1]] = torch.from_numpy(
                array.transpose(2, 0, 1).copy()
            ).to(DEVICE)
        self.sizes = torch.tensor([array.shape[:2] for array in arrays], device=DEVICE).float()

    @staticmethod
    def _read(path: str) -> np.ndarray:
        image = Image.open(path).convert("RGB")
        scale = SHORT / min(image.size)
        width, height = (max(SHORT, round(side * scale)) for side in image.size)
        return np.asarray(image.resize((width, height), Image.Resampling.BICUBIC))[:LONG, :LONG]

    def views(self, at: Tensor, kind: str) -> Tensor:
        """Returns the middle of each, or a random part of it: [n, 3, 224, 224] in 0 to 1."""
        count, (height, width) = len(at), self.pixels.shape[2:]
        h, w = self.sizes[at].T
        if kind == "none":
            ch = cw = torch.full((count,), float(SIDE), device=DEVICE)
            top, left, flip = ((h - ch) / 2).round(), ((w - cw) / 2).round(), torch.ones_like(h)
        else:
            least, ratios = (0.8, 0.3) if kind == "light" else (0.35, 0.575)
            area = (least + (1 - least) * torch.rand_like(h)) * h * w
            ratio = torch.exp((torch.rand_like(h) - 0.5) * ratios)
            ch = torch.minimum((area / ratio).sqrt(), h)
            cw = torch.minimum((area * ratio).sqrt(), w)
            top, left = torch.rand_like(h) * (h - ch), torch.rand_like(h) * (w - cw)
            flip = torch.where(torch.rand_like(h) < 0.5, -1.0, 1.0)
        theta = torch.zeros(count, 2, 3, device=DEVICE)
        theta[:, 0, 0], theta[:, 0, 2] = cw / width * flip, (2 * left + cw) / width - 1
        theta[:, 1, 1], theta[:, 1, 2] = ch / height, (2 * top + ch) / height - 1
        grid = F.affine_grid(theta, [count, 3, SIDE, SIDE], align_corners=False)
        pixels = self.pixels[at].float()
        x = F.grid_sample(pixels, grid, padding_mode="border", align_corners=False) / 255
        if kind == "standard":  # Brightness and contrast, by up to a fifth.
            by = 0.8 + 0.4 * torch.rand(2, count, 1, 1, 1, device=DEVICE)
            x = x * by[0]
            mean = x.mean((1, 2, 3), keepdim=True)
            x = (mean + (x - mean) * by[1]).clamp(0, 1)
        return x


class Network(nn.Module):
    """A timm network of blocks with pretrained weights and a linear head; batch norms in eval."""

    def __init__(self, folder: Path, classes: int) -> None:
        super().__init__()
        config = json.loads((folder / "config.json").read_text())
        args = {k: v for k, v in config["model_args"].items() if k != "num_classes"}
        self.body = timm.create_model(config["architecture"], num_classes=0, **args)
        state = load_file(folder / "model.safetensors")
        wanted = {name: state[name] for name in self.body.state_dict()}
        self.body.load_state_dict(wanted)
        self.head = nn.Linear(self.body.num_features, classes)
        facts = config["pretrained_cfg"]
        for name in ("mean", "std"):
            self.register_buffer(name, torch.tensor(facts[name]).view(1, 3, 1, 1))
        self.to(DEVICE, memory_format=torch.channels_last).eval().requires_grad_(False)

    def normalised(self, x: Tensor) -> Tensor:
        """Returns what the network is fed."""
        return ((x - self.mean) / self.std).contiguous(memory_format=torch.channels_last)

    def below(self, x: Tensor, frozen: int) -> Tensor:
        """Runs the stem and the frozen blocks; nothing where all of it learns."""
        if frozen < 0:
            return x
        x = self.body.bn1(self.body.conv_stem(x))
        return nn.Sequential(*self.body.blocks[:frozen])(x)

    def above(self, x: Tensor, frozen: int) -> Tensor:
        """Returns the features: [n, d]."""
        if frozen < 0:
            x = self.body.bn1(self.body.conv_stem(x))
        x = nn.Sequential(*self.body.blocks[max(frozen, 0) :])(x)
        return self.body.global_pool(self.body.bn2(self.body.conv_head(x)))

    def learning(self, frozen: int) -> list[nn.Parameter]:
        """Returns the parameters of the layers above, the head's aside."""
        stem = [self.body.conv_stem, self.body.bn1] if frozen < 0 else []
        layers = [*stem, *self.body.blocks[max(frozen, 0) :], self.body.conv_head, self.body.bn2]
        return [parameter for layer in layers for parameter in layer.parameters()]


def mixed() -> AbstractContextManager[None]:
    """bfloat16 where it is safe; no weights kept between steps, as a graph must read them anew."""
    return torch.autocast(DEVICE.type, torch.bfloat16, cache_enabled=False)


def loss_of(logits: Tensor, targets: Tensor, several: bool) -> Tensor:
    """Returns the loss of each picture: [n]."""
    if several:
        return F.binary_cross_entropy_with_logits(logits, targets, reduction="none").mean(1)
    return -(targets * logits.log_softmax(1)).sum(1)


def accuracy_of(logits: Tensor, targets: Tensor, several: bool) -> float:
    """Returns the share of pictures with every label right."""
    right = ((logits > 0) == targets.bool()).all(1) if several else None
    if right is None:
        right = logits.argmax(1) == targets.argmax(1)
    return float(right.float().mean())


class Trainer:
    """One training after the other above the same line, its step recorded once where CUDA can."""

    def __init__(self, folder: Path, classes: int, several: bool, frozen: int) -> None:
        self.network, self.several, self.frozen = Network(folder, classes), several, frozen
        self.body = self.network.learning(frozen)
        self.head = list(self.network.head.parameters())
        self.pretrained = [parameter.clone() for parameter in self.body]
        for parameter in (*self.body, *self.head):
            parameter.requires_grad_(True)
        self.x = torch.zeros(BATCH, 3, SIDE, SIDE, device=DEVICE)
        self.targets = torch.zeros(BATCH, classes, device=DEVICE)
        self.counts = torch.ones(BATCH, device=DEVICE)
        self.rates = [torch.zeros((), device=DEVICE) for _ in range(2)]
        groups = [
            {"params": [p for p in part if (p.ndim > 1) is decays], "lr": rate}
            | {"weight_decay": 0.01 if decays else 0.0}
            for part, rate in zip((self.body, self.head), self.rates, strict=True)
            for decays in (True, False)
        ]
        on_cuda = DEVICE.type == "cuda"
        self.optimizer = torch.optim.AdamW(groups, capturable=on_cuda, foreach=on_cuda)
        self.stream = torch.cuda.Stream() if on_cuda else None
        self.replay: Callable[[], None] = self._step
        if on_cuda:
            self._record()

    def on_stream(self) -> AbstractContextManager[None]:
        """Everything of this training happens there."""
        return torch.cuda.stream(self.stream) if self.stream else nullcontext()

    def _record(self) -> None:
        torch.cuda.synchronize()
        with self.on_stream():
            for _ in range(2):
                self._step()
        torch.cuda.synchronize()
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, stream=self.stream):
            self._step()
        torch.cuda.synchronize()
        self.replay = graph.replay

    def _step(self) -> None:
        self.optimizer.zero_grad(set_to_none=True)
        with mixed():
            with torch.no_grad():
                below = self.network.below(self.network.normalised(self.x), self.frozen)
            logits = self.network.head(self.network.above(below, self.frozen)).float()
        losses = loss_of(logits, self.targets, self.several)
        ((losses * self.counts).sum() / self.counts.sum()).backward()
        nn.utils.clip_grad_norm_([*self.body, *self.head], 1.0)
        self.optimizer.step()

    @torch.no_grad()
    def _start(self, head: Sequence[Tensor]) -> None:
        for parameter, first in zip(
            (*self.body, *self.head), (*self.pretrained, *head), strict=True
        ):
            parameter.copy_(first)
        for state in self.optimizer.state.values():
            for value in state.values():
                value.zero_()

    def train(
        self, setting: Setting, head: Sequence[Tensor], pictures: Pictures, learned: Part
    ) -> Iterator[None]:
        """Trains from the probe's head; gives after every step, so that others may take theirs."""
        with self.on_stream():
            self._start(head)
        count = len(learned.at)
        batches = math.ceil(count / BATCH)
        for step in range(batches * setting.epochs):
            at = step % batches
            with self.on_stream():
                if at == 0:
                    order = torch.randperm(count, device=DEVICE)
                take = order[at * BATCH : (at + 1) * BATCH]
                # The last batch is filled up with pictures that do not count.
                self.counts.copy_(torch.arange(BATCH, device=DEVICE) < len(take))
                take = torch.cat([take, order])[:BATCH]
                self.x.copy_(pictures.views(learned.at[take], setting.views))
                targets = learned.targets[take]
                even = 0.5 if self.several else 1 / targets.shape[1]
                self.targets.copy_(targets + setting.smoothing * (even - targets))
                now = setting.lr * schedule(step / (batches * setting.epochs))
                body, head_too = self.rates
                body.fill_(now * (0.3 if self.frozen < 0 else 1.0))
                head_too.fill_(now)
                self.replay()
            yield


def schedule(share: float) -> float:
    """A linear warm-up, then a cosine to zero."""
    if share < WARMUP:
        return share / WARMUP
    return 0.5 * (1 + math.cos(math.pi * (share - WARMUP) / (1 - WARMUP)))


def fit_probe(features: Tensor, targets: Tensor, several: bool, penalty: float) -> list[Tensor]:
    """Returns weight and bias of a logistic regression of standardised features."""
    mean, std = features.mean(0), features.std(0) + 1e-6
    z = (features - mean) / std
    weight = torch.zeros(targets.shape[1], z.shape[1], device=DEVICE, requires_grad=True)
    bias = torch.zeros(targets.shape[1], device=DEVICE, requires_grad=True)
    search = torch.optim.LBFGS([weight, bias], max_iter=150, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        search.zero_grad()
        loss = (
            loss_of(z @ weight.T + bias, targets, several).mean()
            * (targets.shape[1] if several else 1)
            + penalty / 2 * (weight**2).sum()
        )
        loss.backward()
        return loss

    search.step(closure)
    scaled = weight.detach() / std
    return [scaled, bias.detach() - scaled @ mean]


@torch.no_grad()
def passed(network: Network, pictures: Pictures, at: Tensor, head: bool) -> Tensor:
    """Returns features or logits of the pictures' middle."""
    found = []
    for some in at.split(256):
        with mixed():
            x = network.normalised(pictures.views(some, "none"))
            features = network.above(network.below(x, 0), 0)
            found.append((network.head(features) if head else features).float())
    return torch.cat(found)


class Record:
    """The lines of a file, one for each setting of a case."""

    def __init__(self, path: Path | None) -> None:
        lines = path.read_text("utf-8").splitlines() if path and path.is_file() else []
        self.path, self.entries = path, [json.loads(line) for line in lines]

    def has(self, case: Case, setting: dict[str, object]) -> bool:
        """Whether it was run."""
        return any(
            one["case"] == asdict(case) and one["setting"] == setting for one in self.entries
        )

    def add(self, case: Case, setting: dict[str, object], val: float, test: float) -> None:
        """Writes it down."""
        self.entries.append({"case": asdict(case), "setting": setting, "val": val, "test": test})
        if self.path:
            with self.path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(self.entries[-1]) + "\n")


def carry_out(case: Case, record: Record, streams: int) -> None:
    """Runs what is not there yet of one case."""
    found = listing.scan(source_of(case.set))
    rows = split_anew(found, case.seed)
    pictures = Pictures([row["path"] for row in rows])
    splits = {split: part_of(rows, split, found.several) for split in ("train", "val", "test")}
    classes = splits["train"].targets.shape[1]
    network = Network(case.weights, classes)
    features = {name: passed(network, pictures, one.at, False) for name, one in splits.items()}

    def score(logits: Tensor, split: str) -> float:
        return accuracy_of(logits, splits[split].targets, found.several)

    heads = [
        fit_probe(features["train"], splits["train"].targets, found.several, penalty)
        for penalty in PENALTIES
    ]
    head = max(heads, key=lambda one: score(features["val"] @ one[0].T + one[1], "val"))
    if not record.has(case, {"probe": True}):
        val, test = (
            score(features[split] @ head[0].T + head[1], split) for split in ("val", "test")
        )
        record.add(case, {"probe": True}, val, test)
    for frozen in FROZEN:
        left = [
            one for one in settings() if one.frozen == frozen and not record.has(case, asdict(one))
        ]
        trainers = [
            Trainer(case.weights, classes, found.several, frozen)
            for _ in range(min(streams if DEVICE.type == "cuda" else 1, len(left)))
        ]
        running: dict[Trainer, tuple[Setting, Iterator[None]]] = {}
        while left or running:
            for trainer in trainers:
                if trainer not in running and left:
                    setting = left.pop(0)
                    steps = trainer.train(setting, head, pictures, splits["train"])
                    running[trainer] = (setting, steps)
            for trainer, (setting, steps) in list(running.items()):
                if next(steps, True) is None:
                    continue
                with trainer.on_stream():
                    val, test = (
                        score(passed(trainer.network, pictures, splits[split].at, True), split)
                        for split in ("val", "test")
                    )
                record.add(case, asdict(setting), val, test)
                del running[trainer]


def part_of(rows: Sequence[dict[str, str]], split: str, several: bool) -> Part:
    """Returns the pictures of a split, and the classes of each."""
    labels = [row["label"].split(";") if several else [row["label"]] for row in rows]
    names = sorted({name for one in labels for name in one if name})
    at = [number for number, row in enumerate(rows) if row["split"] == split]
    targets = torch.tensor([[float(name in labels[number]) for name in names] for number in at])
    return Part(torch.tensor(at, device=DEVICE), targets.to(DEVICE))


def best_of(entries: Sequence[dict[str, object]]) -> dict[str, object]:
    """Returns the best on val; of equals the first."""
    return max(entries, key=lambda one: one["val"])


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add_cases(parser, seeds=1)
    parser.add_argument("--streams", type=int, default=5, help="trainings at once, on a GPU")
    parser.add_argument("--keep", type=Path, metavar="FILE")
    return parser.parse_args()


def main() -> None:
    args = arguments()
    record = Record(args.keep)
    rows = []
    for name, network, seed in itertools.product(args.sets, args.networks, range(args.seeds)):
        case = Case(name, network, seed)
        note(f"{name}, {network}, seed {seed}")
        carry_out(case, record, args.streams)
        entries = [one for one in record.entries if one["case"] == asdict(case)]
        best = best_of(entries)
        probe = next(one for one in entries if "probe" in one["setting"])
        told = " ".join(f"{key}={value}" for key, value in best["setting"].items())
        scores = (f"{probe['test']:.4f}", f"{best['val']:.4f}", f"{best['test']:.4f}")
        rows.append((name, network, seed, *scores, told))
    table(("set", "network", "seed", "probe, test", "best, val", "test", "best setting"), rows)


if __name__ == "__main__":
    main()
