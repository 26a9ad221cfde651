"""Backbones by name: finding, listing, and the lines of what was found.

A name is `KIND:NAME[?key=value&…]`:

    timm:resnet50.a1_in1k               timm's architecture and weights
    timm:mobilenetv2_100?pad_type=same  the same with an argument of the architecture
    timm:resnet50?pretrained=false      random weights
    torchvision:resnet50                torchvision's architecture with its best weights
    torchvision:resnet50?weights=IMAGENET1K_V1  with others of its weights
    transformers:OWNER/NAME             an image classifier of transformers, or PATH
    keras:MobileNetV2                   a network of keras.applications
    keras:PATH                          a Keras model of one's own
    tflite:FILE, onnx:FILE, tf:PATH     a network that a file holds as a graph
    py:MODULE:FACTORY                   a network of one's own
    dir:PATH                            a model folder, or a run
    hub:OWNER/NAME[@REVISION]           a model folder on the Hugging Face hub
    builtin:efficientnet_lite0          a model folder that ships with Frostline
    builtin:small_cnn?pretrained=false  a small network to train from scratch
    builtin:music_tagger_crnn?weights=FILE  a network that hears

Importing this module imports neither torch nor any library of networks.
"""

import fnmatch
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from frostline.base.errors import BackboneError, nearest
from frostline.base.paths import user_path
from frostline.networks import builtin_networks, names
from frostline.networks.folder_config import is_model_folder
from frostline.networks.names import BackboneName
from frostline.networks.record import BackboneEntry, LocalWeights, OpenedBackbone
from frostline.networks.registry import FOLDERS, FORMS, KINDS, kind_of
from frostline.run.folder import RunFolder

if TYPE_CHECKING:
    from frostline import frost
    from frostline.networks.downloads import Download

_KINDS_BY_ENDING = {
    ".keras": "keras",
    ".meta": "tf",
    ".onnx": "onnx",
    ".pb": "tf",
    ".tflite": "tflite",
}
# Both are licensed Apache-2.0, weights included.
DEFAULTS = {
    "cpu": "timm:mobilenetv4_conv_small.e2400_r224_in1k",
    "cuda": "timm:convnext_tiny.in12k_ft_in1k",
}


def default_name(device: str) -> str:
    """Returns the backbone to take on `device` (`cpu`, `cuda`, `cuda:1`…) where none is named."""
    return DEFAULTS["cuda" if device.startswith("cuda") else "cpu"]


def parse(name: str) -> BackboneName:
    """Reads `KIND:NAME[?key=value&…]`; see `frostline.networks.names.parse`.

    A run or a model folder may be named as it is, without `dir:`.

    Raises:
        BackboneError: Where the kind is absent or unknown, or the arguments are not `key=value`;
            with the name that was probably meant.
    """
    kind, colon, _ = name.partition(":")
    if not colon or "/" in kind:
        if _is_network(user_path(name)):
            return names.parse(f"dir:{name}", FORMS)
        raise BackboneError(_bare(name))
    return names.parse(name, FORMS)


def is_folder(name: str) -> bool:
    """Tells whether a name is that of a folder, which brings its own weights."""
    parsed = parse(name)
    is_builtin = parsed.kind == builtin_networks.KIND
    return parsed.kind in FOLDERS and (not is_builtin or builtin_networks.brings_weights(parsed))


def find(
    name: str,
    *,
    pretrained: bool = True,
    weights: Path | None = None,
    partial: bool = False,
    by: str = "auto",
) -> OpenedBackbone:
    """Opens a backbone, on the CPU, in eval mode.

    Args:
        name: Such as `timm:resnet50.a1_in1k`; see the head of this module.
        pretrained: False for random weights, like `?pretrained=false` in the name.
        weights: A local weights file to load into the named architecture.
        partial: Load what matches of `weights` and leave the rest random.
        by: How layers of `weights` are paired with the network's: by their `name`, in `order`,
            along the file's `graph`, or by whichever fills the network (`auto`).

    Raises:
        BackboneError: Where the name is unknown, its arguments do not hold, or its weights are
            not here and cannot be downloaded.
        WeightsError: Where weights do not fit, or are not safe to read.
    """
    parsed = parse(name)
    parsed = replace(parsed, pretrained=pretrained and parsed.pretrained)
    if weights is not None and is_folder(name):
        raise BackboneError(
            f"{name}: --weights goes with an architecture by name ({_named_kinds()}); "
            f"{parsed.kind}: brings its own weights."
        )
    if partial and weights is None:
        raise BackboneError(f"{name}: --partial goes with --weights FILE, and none is given.")
    local = LocalWeights(weights, partial, by) if weights is not None else None
    if parsed.kind in KINDS:
        return kind_of(parsed.kind).open_named(parsed, local)
    if (code := builtin_networks.as_code(parsed)) is not None:
        return _of_code(parsed, code, local)
    if parsed.kind == builtin_networks.KIND and parsed.path == builtin_networks.MUSIC_TAGGER:
        from frostline.networks import music_tagger

        return music_tagger.open_named(parsed, local)
    from frostline.networks import hub, model_folder

    if parsed.kind == "hub":
        return model_folder.open_at(hub.fetch(parsed), parsed)
    if parsed.kind == builtin_networks.KIND:
        return model_folder.open_at(builtin_networks.folder(parsed), parsed)
    return model_folder.open_dir(parsed)


def download_of(name: str) -> "Download | None":
    """Returns what must be fetched before `find` can open a network.

    Returns:
        The download, or what it was where it is here already; None for what is never fetched.

    Raises:
        BackboneError: Where the name does not hold, or whoever keeps it cannot be asked.
    """
    parsed = parse(name)
    if parsed.kind in KINDS:
        return kind_of(parsed.kind).download_of(parsed)
    from frostline.networks import hub

    return hub.download_of(parsed) if parsed.kind == "hub" else None


def trace(opened: OpenedBackbone, image_px: int = 0) -> "frost.TracedNetwork":
    """Finds the lines of a backbone.

    Args:
        opened: The backbone.
        image_px: The side of the square input; 0 for the backbone's own size.

    Raises:
        LineError: Where it cannot be followed, or does not run on such images.
    """
    how = opened.record.preprocessing
    shape = (how.channels, image_px or how.height_px, image_px or how.width_px)
    return kind_of(opened.record.kind).trace(opened.module, shape)


def search(pattern: str = "") -> list[BackboneEntry]:
    """Lists pretrained networks: those that are a default, those that ship with Frostline, others.

    Args:
        pattern: Part of a name, or a pattern with `*` and `?`; everything where empty. With a
            kind before it (`torchvision:res`) only networks of that kind are listed.
    """
    kind, colon, rest = pattern.partition(":")
    sources = {builtin_networks.KIND: builtin_networks.entries}
    known = (*sources, *_listed())
    chosen = (kind,) if colon and kind in known else known
    wanted = (rest if len(chosen) == 1 else pattern).lower()
    wanted = wanted if any(sign in wanted for sign in "*?[") else f"*{wanted}*"
    defaults = {name: device for device, name in DEFAULTS.items()}
    entries = [
        replace(entry, default=defaults.get(entry.name, ""))
        for one in chosen
        for entry in (sources[one] if one in sources else kind_of(one).entries)()
        if fnmatch.fnmatchcase(entry.name.partition(":")[2].lower(), wanted)
    ]
    return sorted(entries, key=lambda entry: not entry.default)


def _of_code(name: BackboneName, code: BackboneName, local: LocalWeights | None) -> OpenedBackbone:
    """Opens a network that ships as code alone, under its own name."""
    if local is None:
        builtin_networks.refuse_untrained(name)
    opened = kind_of(code.kind).open_named(code, local)
    named = replace(name, pretrained=local is not None)
    return replace(opened, record=replace(opened.record, name=str(named)))


def _listed() -> list[str]:
    return [name for name, kind in KINDS.items() if kind.listed]


def _named_kinds() -> str:
    return ", ".join(f"{kind}:NAME" for kind in KINDS)


def _is_network(path: Path) -> bool:
    """Says whether a path is a model folder, or a run, finished or not."""
    return is_model_folder(path) or RunFolder(path).is_run()


def _bare(name: str) -> str:
    """Returns the error for a name without a kind, with what was probably meant."""
    kinds = ", ".join(f"{kind}:" for kind in FORMS)
    rule = f"a backbone is named KIND:NAME ({kinds})"
    path = Path(name).expanduser()
    if path.is_dir():
        return f"{name}: {rule}, and this folder is neither a run nor a model folder"
    if (kind := _KINDS_BY_ENDING.get(path.suffix.lower())) and path.is_file():
        return f"{name}: {rule}. For this file write {kind}:{name}"
    if path.is_file():
        return f"{name}: {rule}. For a weights file write timm:ARCHITECTURE --weights {name}"
    short = name.partition("?")[0]
    known = dict.fromkeys(builtin_networks.architectures(), builtin_networks.KIND)
    for kind in _listed():
        for architecture in kind_of(kind).architectures():
            known.setdefault(architecture, kind)
    if short in known:
        kind = known[short]
        whose = "a network that ships with Frostline" if kind == "builtin" else f"{kind}'s network"
        return f"{name}: {rule}. For {whose} write {kind}:{name}"
    if "/" in name:
        return f"{name}: {rule}, and no such folder exists. On the hub it would be hub:{name}"
    close = [f"{known[found]}:{found}" for found in nearest(short, known)]
    return f"{name}: {rule}." + (f" Did you mean {', '.join(close)}?" if close else "")
