"""Prefix, suffix and head as one classifier; and the folder it is shipped in."""

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from frostline import frost, heads
from frostline.backbones import catalog, folder, weights
from frostline.engines import Engine, Normalise, pick_precision, prepare
from frostline.errors import BackboneError
from frostline.files import digest, save_tensors, write_atomic
from frostline.frost import Line
from frostline.preprocessing import Preprocessing
from frostline.recipe import PRECISIONS

HEAD_FILE = "head.safetensors"
TOP = "top"
PRECISION_NAMES = {torch.bfloat16: "bf16", torch.float32: "fp32"}


class Upper(nn.Module):
    """What lies above the line: suffix and head.

    The suffix runs in `compute` by autocast; the head runs in float32.
    """

    def __init__(
        self,
        suffix: nn.Module,
        head: nn.Module,
        compute: torch.dtype,
        normalise: Normalise | None = None,
    ) -> None:
        """Takes the parts; `normalise` where the line is `pixels`."""
        super().__init__()
        self.suffix, self.head, self.normalise = suffix, head, normalise
        self.compute = compute

    def top(self, activations: Tensor) -> Tensor:
        """Returns what the suffix makes of activations [n, *shape], in float32."""
        x = activations
        if self.normalise is not None:
            x = self.normalise(x)
        if x.ndim == 4:
            x = x.contiguous(memory_format=torch.channels_last)
        half = self.compute.itemsize == 2
        with torch.autocast(x.device.type, self.compute if half else None, enabled=half):
            made: Tensor = self.suffix(x if half else x.float())
        return made.float()

    def forward(self, activations: Tensor) -> Tensor:
        """Returns logits [n, classes] in float32."""
        scores: Tensor = self.head(self.top(activations))
        return scores


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
        upper: Suffix and head, on the engine's device.
    """

    module: nn.Module
    record: catalog.Record
    labels: tuple[str, ...]
    line: Line
    top: Line
    head: heads.HeadSpec | None
    prefix: frost.Half
    engine: Engine
    upper: Upper

    @property
    def preprocessing(self) -> Preprocessing:
        """How images become its input."""
        return self.record.preprocessing

    @torch.inference_mode()
    def score(self, activations: Tensor) -> Tensor:
        """Returns probabilities [n, classes], float64 on the CPU, for activations at the line."""
        self.upper.eval()
        logits = self.upper(activations.to(self.engine.device))
        chances: Tensor = logits.double().softmax(1).cpu()
        return chances


def assemble(
    opened: catalog.Opened,
    labels: tuple[str, ...],
    head: heads.HeadSpec,
    line: str,
    device: torch.device,
    compute: torch.dtype,
) -> Classifier:
    """Cuts a backbone at `line` and puts a new head on top.

    Args:
        opened: The backbone.
        labels: Class names.
        head: What the head is; its weights are drawn from torch's generator.
        line: Where to cut; `TOP` is the last place below the head.
        device: Where to run.
        compute: The type to compute in.

    Raises:
        LineError: Where the network cannot be cut there.
    """
    traced = _trace(opened)
    above = traced.find("pooled")
    if head.pooling != "avg":
        above = frost.top_map(traced.lines)
    layers = heads.build(head, above.shape, opened.record.num_features, len(labels))
    parts = _Parts(opened.module, opened.record, labels, above, head, layers)
    return _cut(parts, traced, line, device, compute)


def as_it_is(
    opened: catalog.Opened, line: str, device: torch.device, compute: torch.dtype
) -> Classifier:
    """Makes a classifier of a network with its own classes, cut at `line`.

    Classes that have no names are numbered.

    Raises:
        LineError: Where the network cannot be cut there.
    """
    traced = _trace(opened)
    above = traced.find("pooled")
    scores = traced.part(above, None)
    count = scores(torch.zeros(1, *above.shape)).shape[1]
    labels = opened.record.classes or tuple(str(number) for number in range(count))
    parts = _Parts(opened.module, opened.record, labels, above, None, scores)
    return _cut(parts, traced, line, device, compute)


def recut(model: Classifier, line: str) -> Classifier:
    """Moves the frost line; all weights stay as they are.

    Raises:
        LineError: Where the network cannot be cut there.
    """
    device, compute = model.engine.device, model.upper.compute
    traced = _trace(catalog.Opened(model.record, model.module.cpu()))
    layers = model.upper.head
    parts = _Parts(model.module, model.record, model.labels, model.top, model.head, layers)
    return _cut(parts, traced, line, device, compute)


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
    opened = folder.open_dir(catalog.Name("dir", str(path.absolute())))
    facts = opened.extras
    if precision == "recorded":
        precision = str(facts.get("compute", "auto"))
        if precision not in PRECISIONS:
            raise BackboneError(
                f"{path / folder.CONFIG}: frostline.compute must be one of "
                f"{', '.join(PRECISIONS)}, not {precision!r}."
            )
        if pick_precision("auto", device) == torch.float32:
            precision = "fp32"
    compute = pick_precision(precision, device)
    line = str(facts.get("line", "pooled"))
    if "head" not in facts:
        return as_it_is(opened, line, device, compute)
    spec = heads.parse(str(facts["head"]), str(facts.get("pooling", "avg")))
    model = assemble(opened, opened.record.classes, spec, line, device, compute)
    weights.apply(
        model.upper.head, weights.read(path / HEAD_FILE), where=str(path / HEAD_FILE), partial=False
    )
    return model


def _trace(opened: catalog.Opened) -> frost.Traced:
    how = opened.record.preprocessing
    return frost.trace(opened.module, (3, how.height_px, how.width_px))


@dataclass(frozen=True)
class _Parts:
    """What a classifier is made of, wherever it is cut."""

    module: nn.Module
    record: catalog.Record
    labels: tuple[str, ...]
    top: Line
    head: heads.HeadSpec | None
    layers: nn.Module


def _cut(
    parts: _Parts, traced: frost.Traced, line: str, device: torch.device, compute: torch.dtype
) -> Classifier:
    below = parts.top if line == TOP else traced.find(line)
    prefix, suffix = traced.cut(below, top=parts.top)
    how = parts.record.preprocessing
    is_pixels = below.name == "pixels"
    engine = prepare(prefix, how, below.shape, device, compute, is_pixels)
    parts.module.to(device)
    upper = Upper(suffix, parts.layers, compute, Normalise(how) if is_pixels else None)
    return Classifier(
        module=parts.module,
        record=parts.record,
        labels=parts.labels,
        line=below,
        top=parts.top,
        head=parts.head,
        prefix=prefix,
        engine=engine,
        upper=upper.to(device),
    )


def prefix_digest(model: Classifier) -> str:
    """Returns the digest of everything below the line: code, settings, weights and buffers."""
    state = model.prefix.state_dict()
    parts: list[bytes | memoryview] = [
        repr(model.prefix).encode(),
        model.prefix.graph.python_code("self").src.encode(),
    ]
    for name in sorted(state):
        tensor = state[name].detach().cpu().contiguous()
        parts.append(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        parts.append(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest(*parts)


def save(classifier: Classifier, path: Path, facts: Mapping[str, Any]) -> None:
    """Writes the model folder.

    Where the backbone's own classifier has the form of the head, the folder is a plain timm model
    folder with the new classes. Otherwise it is one of the bare backbone, which timm opens too,
    with the head beside it.

    Args:
        classifier: What to write.
        path: The folder.
        facts: What else to keep in `config.json`, under `frostline`.

    Raises:
        DiskError: Where it cannot be written.
    """
    module = copy.deepcopy(classifier.module).cpu()
    block: dict[str, Any] = {
        **facts,
        "line": classifier.line.node,
        "compute": PRECISION_NAMES[classifier.upper.compute],
    }
    layers = classifier.upper.head
    if classifier.head is not None and not _take_over(module, classifier.head, layers, classifier):
        block["head"] = classifier.head.text
        block["pooling"] = classifier.head.pooling
        module.reset_classifier(0)  # type: ignore[operator]
        state = {key: value.detach().cpu() for key, value in layers.state_dict().items()}
        write_atomic(path / HEAD_FILE, lambda temporary: save_tensors(temporary, state))
    folder.write_folder(path, module, classifier.record, classifier.labels, block)


def _take_over(
    module: nn.Module, spec: heads.HeadSpec, layers: nn.Module, classifier: Classifier
) -> bool:
    """Moves a linear head into the network's own classifier; says whether that could be done."""
    if not spec.is_native:
        return False
    module.reset_classifier(len(classifier.labels))  # type: ignore[operator]
    own = module.get_classifier()  # type: ignore[operator]
    new = layers[-1]  # type: ignore[index]
    if not isinstance(own, nn.Linear) or own.weight.shape != new.weight.shape:
        return False
    own.load_state_dict({key: value.cpu() for key, value in new.state_dict().items()})
    return True
