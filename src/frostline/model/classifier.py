"""Prefix, suffix and head as one classifier; and the folder it is shipped in."""

import copy
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from frostline import frost
from frostline.activations.engines import (
    Engine,
    Normalise,
    pick_precision,
    prepare,
)
from frostline.base.errors import BackboneError
from frostline.base.files import save_tensors, write_atomic
from frostline.frost import GraphPart, Line
from frostline.frost.choice import TOP as TOP
from frostline.frost.choice import auto_lines as auto_lines
from frostline.frost.choice import find_line as find_line
from frostline.images.preprocessing import Preprocessing
from frostline.model import heads
from frostline.model.heads import HeadSpec
from frostline.model.suffix import SuffixWithHead
from frostline.networks import catalog, model_folder, weights
from frostline.networks.folder_config import CONFIG
from frostline.networks.names import BackboneName
from frostline.networks.record import BackboneRecord, OpenedBackbone
from frostline.networks.registry import kind_of
from frostline.recipe import PRECISIONS, TARGETS

HEAD_FILE = "head.safetensors"
PRECISION_NAMES = {torch.bfloat16: "bf16", torch.float32: "fp32"}


@dataclass(frozen=True)
class Classifier:
    """A network that can be run on pixels, and what is known of it.

    Attributes:
        module: The whole backbone, whose parameters the suffix shares.
        record: The backbone's facts.
        labels: Class names, in the order of the scores.
        line: Where it is cut.
        top: Where the suffix ends and the head begins.
        head: The head's specification; None where the backbone's own classifier serves.
        prefix: The layers below the line, as they are in `module`.
        engine: A copy of them, ready to run.
        trainable: Suffix and head, on the engine's device.
        traced: The backbone's lines, for cutting it elsewhere.
        targets: `multiclass`, `binary` (one sigmoid) or `multilabel` (one sigmoid a class).
        flip: Whether scores are the mean over an image and its mirror image.
    """

    module: nn.Module
    record: BackboneRecord
    labels: tuple[str, ...]
    line: Line
    top: Line
    head: HeadSpec | None
    prefix: GraphPart
    engine: Engine
    trainable: SuffixWithHead
    traced: frost.TracedNetwork
    targets: str = "multiclass"
    flip: bool = False

    @property
    def architecture(self) -> str:
        """The backbone's architecture."""
        return self.record.architecture

    @property
    def preprocessing(self) -> Preprocessing:
        """How images become its input."""
        return self.record.preprocessing

    @torch.inference_mode()
    def score(self, activations: Tensor) -> Tensor:
        """Returns probabilities [n, classes], float64 on the CPU, for activations at the line."""
        self.trainable.eval()
        return probabilities(self.trainable(activations.to(self.engine.device)).cpu(), self.targets)


def probabilities(logits: Tensor, targets: str) -> Tensor:
    """Returns probabilities [n, classes], float64, of logits [n, scores]."""
    exact = logits.double()
    if targets == "multiclass":
        return exact.softmax(1)
    probabilities = exact.sigmoid()
    return (
        torch.cat([1 - probabilities, probabilities], 1) if targets == "binary" else probabilities
    )


def score_count(targets: str, labels: tuple[str, ...]) -> int:
    """Returns how many scores a head must give."""
    return 1 if targets == "binary" else len(labels)


def assemble(
    opened: OpenedBackbone,
    labels: tuple[str, ...],
    head: HeadSpec,
    line: str,
    device: torch.device,
    compute: torch.dtype,
    on: str = "",
    targets: str = "multiclass",
) -> Classifier:
    """Cuts a backbone at `line` and puts a new head on top.

    Args:
        opened: The backbone.
        labels: Class names.
        head: What the head is; its weights are drawn from torch's generator.
        line: Where to cut, as `find_line` takes it.
        device: Where to run.
        compute: The type to compute in.
        on: The line that the head sits on; the backbone's end where empty.
        targets: `multiclass`, `binary` or `multilabel`.

    Raises:
        LineError: Where the network cannot be cut there.
        RecipeError: Where the head does not fit.
    """
    traced = catalog.trace(opened)
    top = top_of(traced, head, on)
    layers = heads.build(head, top.shape, opened.record.num_features, score_count(targets, labels))
    parts = _ClassifierParts(
        opened.module, opened.record, labels, top, head, layers, traced, targets
    )
    return _cut(parts, find_line(traced, line, top), device, compute)


def top_of(traced: frost.TracedNetwork, head: HeadSpec, on: str = "") -> Line:
    """Returns the line that a head sits on: the last map where it pools by itself, else `pooled`.

    Raises:
        LineError: Where there is none, or none of that name.
    """
    if on:
        return traced.find(on)
    return frost.top_map(traced.lines) if head.wants_map else traced.find(frost.POOLED)


def with_own_classes(
    opened: OpenedBackbone, line: str, device: torch.device, compute: torch.dtype
) -> Classifier:
    """Makes a classifier of a network with its own classes, cut at `line`.

    Classes that have no names are numbered.

    Raises:
        LineError: Where the network cannot be cut there.
    """
    traced = catalog.trace(opened)
    # `pooled`, where the network has it.
    top = traced.lines[-1]
    scores = traced.part(top, None)
    count = scores(torch.zeros(1, *top.shape)).shape[1]
    labels = opened.record.classes or tuple(str(number) for number in range(count))
    targets = str(opened.extras.get("targets", "multiclass"))
    parts = _ClassifierParts(
        opened.module, opened.record, labels, top, None, scores, traced, targets
    )
    return _cut(parts, find_line(traced, line, top), device, compute)


def recut(model: Classifier, line: Line | str) -> Classifier:
    """Moves the frost line; all weights stay as they are.

    Raises:
        LineError: Where the network cannot be cut there.
    """
    below = find_line(model.traced, line, model.top) if isinstance(line, str) else line
    parts = _ClassifierParts(
        model.module,
        model.record,
        model.labels,
        model.top,
        model.head,
        model.trainable.head,
        model.traced,
        model.targets,
        model.flip,
    )
    return _cut(parts, below, model.engine.device, model.trainable.compute)


def with_head(model: Classifier, spec: HeadSpec, layers: nn.Module) -> Classifier:
    """Returns the same cut under another head, which sits at the same place.

    Args:
        model: Whose backbone, suffix and engine are shared.
        spec: What the head is.
        layers: Its layers, from `new_head`.
    """
    own = model.trainable
    trainable = SuffixWithHead(own.suffix, layers, own.compute, own.normalise)
    return replace(model, head=spec, trainable=trainable)


def new_head(model: Classifier, spec: HeadSpec) -> nn.Module:
    """Returns a head on top of a network, its weights drawn from torch's generator."""
    scores = score_count(model.targets, model.labels)
    made = heads.build(spec, model.top.shape, model.record.num_features, scores)
    return made.to(model.engine.device)


def depths(model: Classifier) -> dict[str, int]:
    """Returns for each parameter of the suffix how many blocks lie above it."""
    blocks = [one for one in model.traced.lines if one.block]
    inside = [one for one in blocks if model.line.index < one.index < model.top.index]
    found: dict[str, int] = {}
    for depth, line in enumerate(reversed([model.line, *inside])):
        for name, _ in model.traced.part(line, model.top).named_parameters():
            found.setdefault(name, depth)
    return found


def open_folder(path: Path, device: torch.device, precision: str = "recorded") -> Classifier:
    """Opens a model folder that `save` wrote, cut and computed as in training.

    Args:
        path: The folder, or a run's.
        device: Where to run.
        precision: What to compute in; `recorded` is what training computed in, or float32 where
            this processor has no instructions for that.

    Raises:
        BackboneError: Where it is no model folder.
    """
    # Not by name: a folder's own name may read like a name's arguments.
    opened = model_folder.open_dir(BackboneName("dir", str(path.absolute())))
    facts = opened.extras
    if precision == "recorded":
        precision = str(facts.get("compute", "auto"))
        if precision not in PRECISIONS:
            raise BackboneError(
                f"{path / CONFIG}: frostline.compute must be one of "
                f"{', '.join(PRECISIONS)}, not {precision!r}."
            )
        if pick_precision("auto", device) == torch.float32:
            precision = "fp32"
    compute = pick_precision(precision, device)
    line, targets = str(facts.get("line", "pooled")), str(facts.get("targets", "multiclass"))
    flip = bool(facts.get("flip", False))
    if targets not in TARGETS:
        raise BackboneError(
            f"{path / CONFIG}: frostline.targets must be one of {', '.join(TARGETS[1:])}, "
            f"not {targets!r}."
        )
    if "head" not in facts:
        return replace(with_own_classes(opened, line, device, compute), flip=flip)
    spec = heads.from_facts(facts["head"], "frostline.head", str(path / CONFIG))
    on = str(facts.get("on", ""))
    labels = opened.record.classes
    model = assemble(opened, labels, spec, line, device, compute, on, targets)
    model = replace(model, flip=flip)
    weights.apply(
        model.trainable.head,
        weights.read(path / HEAD_FILE),
        where=str(path / HEAD_FILE),
        partial=False,
    )
    return model


@dataclass(frozen=True)
class _ClassifierParts:
    """What a classifier is made of, wherever it is cut."""

    module: nn.Module
    record: BackboneRecord
    labels: tuple[str, ...]
    top: Line
    head: HeadSpec | None
    layers: nn.Module
    traced: frost.TracedNetwork
    targets: str
    flip: bool = False


def _cut(
    parts: _ClassifierParts, below: Line, device: torch.device, compute: torch.dtype
) -> Classifier:
    # The proof of a cut runs on the CPU.
    parts.module.cpu()
    prefix, suffix = parts.traced.cut(below, top=parts.top)
    preprocessing = parts.record.preprocessing
    is_pixels = below.name == frost.PIXELS
    engine = prepare(
        prefix, preprocessing, below.shape, device, compute, is_pixels, below.is_vector
    )
    parts.module.to(device)
    trainable = SuffixWithHead(
        suffix, parts.layers, compute, Normalise(preprocessing) if is_pixels else None
    )
    return Classifier(
        module=parts.module,
        record=parts.record,
        labels=parts.labels,
        line=below,
        top=parts.top,
        head=parts.head,
        prefix=prefix,
        engine=engine,
        trainable=trainable.to(device),
        traced=parts.traced,
        targets=parts.targets,
        flip=parts.flip,
    )


def save(classifier: Classifier, path: Path) -> None:
    """Writes the model folder.

    Where the backbone's own classifier has the form of the head, the folder is one of the whole
    network with the new classes. Otherwise it is one of the bare backbone, with the head beside
    it. Either way it is a folder of the backbone's kind: timm opens those of timm's networks.

    Args:
        classifier: What to write.
        path: The folder.

    Raises:
        DiskError: Where it cannot be written.
    """
    module = copy.deepcopy(classifier.module).cpu()
    block: dict[str, Any] = {
        "line": classifier.line.node,
        "compute": PRECISION_NAMES[classifier.trainable.compute],
        "targets": classifier.targets,
        "flip": classifier.flip,
    }
    how = classifier.preprocessing
    block |= {"levels": str(how.levels)} if how.levels.ranges else {}
    block |= {"most_px": how.most_px} if how.most_px else {}
    block |= {"spectrogram": how.spectrogram.as_dict()} if how.spectrogram else {}
    layers = classifier.trainable.head
    if classifier.head is not None and _move_into_network(
        module, classifier.head, layers, classifier
    ):
        # One sigmoid became a softmax over two classes, which says the same.
        block["targets"] = "multilabel" if classifier.targets == "multilabel" else "multiclass"
    elif classifier.head is not None:
        block["head"] = heads.to_facts(classifier.head)
        block["on"] = classifier.top.node
        kind_of(classifier.record.kind).remove_classifier(module)
        state = {key: value.detach().cpu() for key, value in layers.state_dict().items()}
        write_atomic(path / HEAD_FILE, lambda temporary: save_tensors(temporary, state))
    model_folder.write_folder(path, module, classifier.record, classifier.labels, block)


def _move_into_network(
    module: nn.Module, spec: HeadSpec, layers: nn.Module, classifier: Classifier
) -> bool:
    """Moves a linear head into the network's own classifier; says whether that could be done."""
    if not spec.is_native or classifier.top.name != frost.POOLED:
        return False
    own = kind_of(classifier.record.kind).replace_classifier(module, len(classifier.labels))
    new = {key: value.cpu() for key, value in layers[-1].state_dict().items()}  # type: ignore[index]
    if classifier.targets == "binary":
        new = {key: torch.cat([torch.zeros_like(value), value]) for key, value in new.items()}
    if own is None or own.weight.shape != new["weight"].shape:
        return False
    own.load_state_dict(new)
    return True
