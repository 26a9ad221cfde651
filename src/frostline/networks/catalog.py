"""Backbones by name: what a name says, the facts that ride with a network, finding and listing.

A name is `SOURCE:NAME[?key=value&…]`:

    timm:resnet50.a1_in1k               timm's architecture and weights
    timm:mobilenetv2_100?pad_type=same  the same with an argument of the architecture
    timm:resnet50?pretrained=false      random weights
    dir:PATH                            a timm or Hugging Face model folder, or a run
    hub:OWNER/NAME[@REVISION]           a timm model on the Hugging Face hub

Importing this module imports neither torch nor timm.
"""

import fnmatch
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from frostline.base.errors import BackboneError, did_you_mean, nearest
from frostline.images.preprocessing import Preprocessing

if TYPE_CHECKING:
    from torch import nn

    from frostline.networks.weights import Match

SOURCES = ("timm", "dir", "hub")

# Both are licensed Apache-2.0, weights included.
DEFAULTS = {
    "cpu": "timm:mobilenetv4_conv_small.e2400_r224_in1k",
    "cuda": "timm:convnext_tiny.in12k_ft_in1k",
}

_WORDS: Mapping[str, bool | None] = {"true": True, "false": False, "none": None}
_INT = re.compile(r"[+-]?\d+")
_FLOAT = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?", re.IGNORECASE)
_QUERY = re.compile(r"[A-Za-z_]\w*=[^&=]*(&[A-Za-z_]\w*=[^&=]*)*")


@dataclass(frozen=True)
class BackboneName:
    """A parsed name; `str()` gives its canonical form, with the arguments in order.

    Attributes:
        source: One of `SOURCES`.
        path: What stands between the source and the question mark; absolute for `dir`.
        arguments: The architecture's arguments that the name gives.
        pretrained: False where the name asks for random weights.
    """

    source: str
    path: str
    arguments: Mapping[str, Any] = field(default_factory=dict)
    pretrained: bool = True

    def __str__(self) -> str:
        parts = [f"{key}={_written(self.arguments[key])}" for key in sorted(self.arguments)]
        parts += [] if self.pretrained else ["pretrained=false"]
        query = "?" + "&".join(parts) if parts else ""
        return f"{self.source}:{self.path}{query}"


@dataclass(frozen=True)
class BackboneRecord:
    """The facts that ride with a network.

    Attributes:
        name: The canonical name, which opens the same network again.
        source: One of `SOURCES`.
        architecture: timm's name of the architecture.
        arguments: What the architecture was built with, as JSON values.
        pretrained_tag: timm's tag of the weights; empty for random or local ones.
        preprocessing: How an image becomes its input.
        parameters: The number of parameters of the whole network as opened.
        licence: Of the weights; empty where unknown.
        classes: The names of the weights' own classes, one an output; empty where unknown.
        num_features: The width of the features before the classifier.
    """

    name: str
    source: str
    architecture: str
    arguments: Mapping[str, Any]
    pretrained_tag: str
    preprocessing: Preprocessing
    parameters: int
    licence: str
    classes: tuple[str, ...]
    num_features: int


@dataclass(frozen=True)
class OpenedBackbone:
    """A network and its facts.

    Attributes:
        record: The facts.
        module: The network, in eval mode.
        extras: The `frostline` block of a model folder's `config.json`; empty elsewhere.
        match: What became of each tensor of `--weights`; None where no such file was given.
    """

    record: BackboneRecord
    module: "nn.Module"
    extras: Mapping[str, Any] = field(default_factory=dict)
    match: "Match | None" = None


@dataclass(frozen=True)
class BackboneEntry:
    """One line of the list of backbones.

    Attributes:
        name: Opens it.
        input_px: The side of its input.
        licence: Of the weights; empty where unknown.
        interpolation: Of its preprocessing.
        classes: How many the weights tell apart; 0 for features alone.
        default: The device it is the default for, `cpu` or `cuda`, or nothing.
    """

    name: str
    input_px: int
    licence: str
    interpolation: str
    classes: int
    default: str = ""


def default_name(device: str) -> str:
    """Returns the backbone to take on `device` (`cpu`, `cuda`, `cuda:1`…) where none is named."""
    return DEFAULTS["cuda" if device.startswith("cuda") else "cpu"]


def parse(name: str) -> BackboneName:
    """Reads `SOURCE:NAME[?key=value&…]`.

    Values are read as whole number, decimal number, true, false, none, or else as text. The key
    `pretrained` is no argument: `pretrained=false` asks for random weights.

    Raises:
        BackboneError: Where the source is absent or unknown, or the arguments are not
            `key=value`; with the name that was probably meant.
    """
    source, colon, rest = name.partition(":")
    if not colon or "/" in source:
        raise BackboneError(_bare(name))
    if source not in SOURCES:
        raise BackboneError(
            f"{name}: unknown source {source!r}; known are {', '.join(SOURCES)}."
            + did_you_mean(source, SOURCES)
        )
    path, query = _split(source, rest, name)
    if not path:
        raise BackboneError(f"{name}: a name must follow {source!r}, such as {_EXAMPLES[source]}.")
    arguments = _arguments(query, name)
    pretrained = arguments.pop("pretrained", True)
    if not isinstance(pretrained, bool):
        raise BackboneError(f"{name}: pretrained must be true or false, not {pretrained!r}.")
    if source == "dir":
        path = os.path.abspath(os.path.expanduser(path))  # noqa: PTH100, PTH111 (keeps `..` of links)
    return BackboneName(source, path, arguments, pretrained)


def find(
    name: str, *, pretrained: bool = True, weights: Path | None = None, partial: bool = False
) -> OpenedBackbone:
    """Opens a backbone, on the CPU, in eval mode.

    Args:
        name: Such as `timm:resnet50.a1_in1k`; see the head of this module.
        pretrained: False for random weights, like `?pretrained=false` in the name.
        weights: A local weights file to load into the named timm architecture.
        partial: Load what matches of `weights` and leave the rest random.

    Raises:
        BackboneError: Where the name is unknown, its arguments do not hold, or its weights are
            not here and cannot be downloaded.
        WeightsError: Where weights do not fit, or are not safe to read.
    """
    parsed = parse(name)
    parsed = BackboneName(
        parsed.source, parsed.path, parsed.arguments, pretrained and parsed.pretrained
    )
    if weights is not None and parsed.source != "timm":
        raise BackboneError(
            f"{name}: --weights goes with an architecture by name (timm:NAME); "
            f"{parsed.source}: brings its own weights."
        )
    if partial and weights is None:
        raise BackboneError(f"{name}: --partial goes with --weights FILE, and none is given.")
    if parsed.source == "timm":
        from frostline.networks import timm_networks as timm_source

        return timm_source.open_timm(parsed, weights_file=weights, partial=partial)
    if parsed.source == "hub":
        from frostline.networks import hub
        from frostline.networks import model_folder as folder

        return folder.open_at(hub.fetch(parsed), parsed)
    from frostline.networks import model_folder as folder

    return folder.open_dir(parsed)


def search(pattern: str = "") -> list[BackboneEntry]:
    """Lists timm's pretrained networks, those that are a default first.

    Args:
        pattern: Part of a name, or a pattern with `*` and `?`; everything where empty.
    """
    import timm
    from timm.models import get_pretrained_cfg

    wanted = pattern.removeprefix("timm:").lower()
    wanted = wanted if any(sign in wanted for sign in "*?[") else f"*{wanted}*"
    defaults = {name: device for device, name in DEFAULTS.items()}
    names = [n for n in timm.list_pretrained() if fnmatch.fnmatchcase(n.lower(), wanted)]
    found = [(f"timm:{n}", config) for n in names if (config := get_pretrained_cfg(n))]
    entries = [
        BackboneEntry(
            name=name,
            input_px=int(config.input_size[-1]),
            licence=known_licence(config.license),
            interpolation=config.interpolation,
            classes=int(config.num_classes or 0),
            default=defaults.get(name, ""),
        )
        for name, config in found
    ]
    return sorted(entries, key=lambda entry: not entry.default)


def known_licence(value: Any) -> str:
    """Returns a licence's identifier in lower case, or nothing where it says nothing."""
    text = str(value or "").strip().lower()
    return "" if text in {"unknown", "none", "other"} else text


_EXAMPLES = {"timm": DEFAULTS["cpu"], "dir": "dir:runs/ants/model", "hub": "hub:OWNER/NAME"}


def _split(source: str, rest: str, name: str) -> tuple[str, str]:
    if source == "dir":
        # A folder's own name may hold a question mark; arguments are what reads as arguments.
        path, mark, query = rest.rpartition("?")
        return (path, query) if mark and _QUERY.fullmatch(query) else (rest, "")
    path, mark, query = rest.partition("?")
    if mark and not _QUERY.fullmatch(query):
        raise BackboneError(
            f"{name}: after the question mark must stand key=value, joined by &; got {query!r}."
        )
    return path, query


def _arguments(query: str, name: str) -> dict[str, Any]:
    arguments: dict[str, Any] = {}
    for part in query.split("&") if query else []:
        key, _, value = part.partition("=")
        if key in arguments:
            raise BackboneError(f"{name}: the argument {key!r} is given twice.")
        arguments[key] = _value(value)
    return arguments


def _value(text: str) -> Any:
    if text.lower() in _WORDS:
        return _WORDS[text.lower()]
    if _INT.fullmatch(text):
        return int(text)
    return float(text) if _FLOAT.fullmatch(text) else text


def _written(value: Any) -> str:
    words = {True: "true", False: "false", None: "none"}
    return words[value] if value is None or isinstance(value, bool) else str(value)


def _bare(name: str) -> str:
    """Returns the error for a name without a source, with what was probably meant."""
    sources = "a backbone is named SOURCE:NAME (timm:, dir: or hub:)"
    path = Path(name).expanduser()
    if path.is_dir():
        return f"{name}: {sources}. For this folder write dir:{name}"
    if path.is_file():
        return f"{name}: {sources}. For a weights file write timm:ARCHITECTURE --weights {name}"
    import timm

    short = name.partition("?")[0]
    if timm.is_model(short):
        return f"{name}: {sources}. For timm's network write timm:{name}"
    if "/" in name:
        return f"{name}: {sources}, and no such folder exists. On the hub it would be hub:{name}"
    close = [f"timm:{found}" for found in nearest(short, timm.list_models())]
    return f"{name}: {sources}." + (f" Did you mean {', '.join(close)}?" if close else "")
