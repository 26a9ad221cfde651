"""Networks of timm: by an architecture's name, with timm's, local or random weights.

Their model folders are timm's own: `config.json` and `model.safetensors`, which
`timm.create_model("local-dir:PATH", pretrained=True)` opens.
"""

import dataclasses
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any
from urllib.parse import urlparse

import timm
import torch
from timm.data import ImageNetInfo, infer_imagenet_subset
from timm.models import get_deprecated_models, get_pretrained_cfg
from torch import Tensor, nn

from frostline import frost
from frostline.base.errors import BackboneError, did_you_mean
from frostline.images.preprocessing import Preprocessing, from_timm, to_timm
from frostline.networks import (
    downloads,
    foreign_weights,
    hub,
    input_channels,
    open_clip_towers,
    weights,
)
from frostline.networks.arguments import refused_arguments
from frostline.networks.downloads import Download
from frostline.networks.folder_config import ModelFolder, licence_of
from frostline.networks.names import BackboneName
from frostline.networks.record import (
    BackboneEntry,
    BackboneRecord,
    LocalWeights,
    OpenedBackbone,
    known_licence,
)

# Arguments of timm's factory that are not the architecture's: each would go round a check here,
# or give something that is no classifier.
_FACTORY = {
    "pretrained_cfg": "",
    "pretrained_cfg_overlay": "",
    "pretrained_model_args": "",
    "checkpoint_path": " Use --weights FILE.",
    "cache_dir": " Set HF_HUB_CACHE instead.",
    "features_only": " Cut the network at a line instead.",
    "scriptable": "",
    "exportable": "",
    "no_jit": "",
    "device": "",
    "dtype": "",
}


# Facts of where the weights came from and of other sizes, untrue of weights trained since.
_ORIGIN = {
    *("url", "file", "state_dict", "hf_hub_id", "hf_hub_filename", "source", "architecture"),
    *("label_names", "label_descriptions", "label_offset"),
    *("test_input_size", "test_crop_pct", "test_pool_size"),
}


def architectures() -> Sequence[str]:
    """Returns the names of timm's architectures."""
    names: Sequence[str] = timm.list_models()
    return names


def entries() -> Iterator[BackboneEntry]:
    """Yields timm's pretrained networks."""
    for name in timm.list_pretrained():
        if config := get_pretrained_cfg(name):
            yield BackboneEntry(
                name=f"timm:{name}",
                input_px=int(config.input_size[-1]),
                licence=known_licence(config.license),
                interpolation=config.interpolation,
                classes=int(config.num_classes or 0),
            )


def open_named(name: BackboneName, local: LocalWeights | None) -> OpenedBackbone:
    """Opens `timm:NAME`; see `NetworkKind.open_named`."""
    architecture, _, tag = name.path.partition(".")
    where = str(replace(name, pretrained=True))
    check_architecture(architecture, where)
    _check_tag(architecture, tag, where)
    match = None
    if local is not None:
        module, into = build(name.path, name.arguments, where), f"{local.file} into {where}"
        shape = _preprocessing(module, name.arguments, where).input_shape
        checkpoint = foreign_weights.load_for(module, local, shape, into)
        match = fit(module, checkpoint, into, partial=local.partial)
        match = foreign_weights.told(match, checkpoint)
        name, tag = replace(name, pretrained=True), ""
    elif name.pretrained:
        module, tag = _download(name, where)
        name = replace(name, path=f"{architecture}.{tag}" if tag else architecture)
    else:
        module, tag = build(name.path, name.arguments, where), ""
    config = dict(module.pretrained_cfg)  # type: ignore[arg-type]
    record = record_of(
        module,
        name,
        architecture=architecture,
        arguments=name.arguments,
        licence=known_licence(config.get("license")) if tag else "",
        classes=_imagenet_names(config, module) if tag else (),
        tag=tag,
    )
    return OpenedBackbone(record, module.eval(), match=match)


def download_of(name: BackboneName) -> Download | None:
    """Returns the download of `timm:NAME`; see `NetworkKind.download_of`."""
    architecture, _, tag = name.path.partition(".")
    where = str(replace(name, pretrained=True))
    check_architecture(architecture, where)
    _check_tag(architecture, tag, where)
    return _reachable(name, where) if name.pretrained else None


def open_folder(folder: ModelFolder, name: BackboneName) -> OpenedBackbone:
    """Opens a network from timm's model folder, or OpenCLIP's; see `NetworkKind.open_folder`."""
    architecture, built_with, pretrained = _configured(folder)
    check_architecture(architecture, f"{folder.config_file}")
    arguments = {**built_with, **name.arguments}
    module = build(architecture, arguments, str(name), config=pretrained)
    if name.pretrained:
        file = folder.weights_file()
        checkpoint = weights.load(file)
        if folder.is_open_clip:
            classifier = str(pretrained["classifier"])
            tensors = open_clip_towers.image_tensors(checkpoint.tensors, classifier)
            checkpoint = replace(checkpoint, tensors=tensors)
        fit(module, checkpoint, f"{file} into {architecture}", partial=None)
    stated = (pretrained.get("license"), folder.config.get("license"))
    record = record_of(
        module,
        name,
        architecture=architecture,
        arguments=arguments,
        licence=licence_of(folder, stated) if name.pretrained else "",
        classes=_classes(folder, pretrained, outputs(module)) if name.pretrained else (),
        tag=str(pretrained.get("tag") or "") if name.pretrained else "",
    )
    notes = ("of OpenCLIP, the image tower alone is opened",) if folder.is_open_clip else ()
    return OpenedBackbone(record, module.eval(), extras=folder.block, notes=notes)


def configuration(
    module: nn.Module, record: BackboneRecord, classes: Sequence[str]
) -> dict[str, Any]:
    """Returns timm's own `config.json`; see `NetworkKind.configuration`."""
    count = outputs(module)
    known = dict(getattr(module, "pretrained_cfg", None) or {})
    kept = {key: value for key, value in known.items() if key not in _ORIGIN}
    kept |= to_timm(record.preprocessing)
    kept |= {"num_classes": count, "custom_load": False, "tag": record.pretrained_tag or None}
    kept |= {"license": record.licence or None}
    if record.preprocessing.channels != 3:
        # timm would adapt a first convolution that it finds named, which is done already.
        kept["first_conv"] = None
    return {
        "architecture": record.architecture,
        "num_classes": count,
        "num_features": record.num_features,
        "model_args": {k: v for k, v in record.arguments.items() if k != "num_classes"},
        "label_names": list(classes),
        "pretrained_cfg": {key: value for key, value in kept.items() if value is not None},
    }


def trace(module: nn.Module, input_shape: tuple[int, int, int]) -> frost.TracedNetwork:
    """Finds the lines of a network; timm's networks tell their classifier themselves."""
    return frost.trace(module, input_shape)


def size_argument(module: nn.Module) -> str:
    """Returns the argument for the input size of a network that is made for one size."""
    config = dict(getattr(module, "pretrained_cfg", None) or {})
    return "img_size" if config.get("fixed_input_size") else ""


def outputs(module: nn.Module) -> int:
    """Returns how many outputs the classifier has; 0 where it was removed."""
    return int(getattr(module, "num_classes", 0))


def remove_classifier(module: nn.Module) -> None:
    """Takes the classifier away, so that the network gives features."""
    module.reset_classifier(0)  # type: ignore[operator]


def replace_classifier(module: nn.Module, outputs: int) -> nn.Linear | None:
    """Puts a new classifier in; see `NetworkKind.replace_classifier`."""
    module.reset_classifier(outputs)  # type: ignore[operator]
    own = module.get_classifier()  # type: ignore[operator]
    return own if isinstance(own, nn.Linear) else None


def build(
    architecture: str,
    arguments: Mapping[str, Any],
    where: str,
    *,
    config: Mapping[str, Any] | None = None,
    pretrained: bool = False,
) -> nn.Module:
    """Builds a network, with random weights unless `pretrained`.

    Args:
        architecture: timm's name, with a tag or without.
        arguments: The architecture's arguments.
        where: The backbone's name, for messages.
        config: timm's `pretrained_cfg` to use instead of the registered one.
        pretrained: Let timm download and load its weights.

    Raises:
        BackboneError: Where the architecture does not take the arguments.
    """
    _check_arguments(arguments, where)
    chosen = _known_keys(config) if config is not None else None
    try:
        module = timm.create_model(
            architecture, pretrained=pretrained, pretrained_cfg=chosen, **arguments
        )
    # An argument that does not hold fails wherever the architecture first uses it.
    except Exception as error:
        if pretrained and downloads.is_connection(error):
            raise downloads.not_downloaded(where, error) from error
        if not arguments and config is None:
            raise
        raise refused_arguments(where, arguments, error) from error
    # What cannot be fed is refused before any weights are read.
    _preprocessing(module, arguments, where)
    return module


def fit(
    module: nn.Module, checkpoint: weights.Checkpoint, where: str, *, partial: bool | None
) -> weights.Match:
    """Loads weights into a timm network; names and shapes are adapted by timm where it can.

    `partial` is that of `weights.apply`.

    timm knows the names that an architecture's first authors used, and how to resample position
    embeddings to another input size. What it gives is taken only where everything then fits.

    Raises:
        WeightsError: Where the weights do not fit; the network is then unchanged.
    """
    found, renamed = weights.compare(module, checkpoint.tensors)
    state = checkpoint.tensors if found.complete else _adapted(module, renamed)
    return weights.apply(
        module,
        state or input_channels.adapt_state(checkpoint.tensors, module),
        where=where,
        partial=partial,
        wrapping=checkpoint.wrapping,
    )


def record_of(
    module: nn.Module,
    name: BackboneName,
    *,
    architecture: str,
    arguments: Mapping[str, Any],
    licence: str,
    classes: tuple[str, ...],
    tag: str,
) -> BackboneRecord:
    """Returns the facts of a network that timm built."""
    return BackboneRecord(
        name=str(name),
        kind="timm",
        architecture=architecture,
        arguments=dict(arguments),
        pretrained_tag=tag,
        preprocessing=_preprocessing(module, arguments, str(name)),
        parameters=sum(p.numel() for p in module.parameters()),
        licence=licence,
        classes=classes,
        num_features=int(getattr(module, "num_features", 0)),
    )


def check_architecture(architecture: str, where: str) -> None:
    """Raises `BackboneError` with the nearest names where timm has no such architecture."""
    renamed = get_deprecated_models()
    if architecture in renamed:
        now = renamed[architecture]
        advice = f"it is now called {now}" if now else "it was removed"
        raise BackboneError(f"{where}: timm {timm.__version__} no longer has it; {advice}.")
    if not timm.is_model(architecture):
        raise BackboneError(
            f"{where}: timm {timm.__version__} has no architecture {architecture!r}."
            + did_you_mean(architecture, timm.list_models())
        )


def _configured(folder: ModelFolder) -> tuple[str, dict[str, Any], dict[str, Any]]:
    """Returns architecture, its arguments, and `pretrained_cfg`.

    timm's older form has all keys of the last in the table itself.
    """
    if folder.is_open_clip:
        return open_clip_towers.tower(folder.config, str(folder.config_file))
    config = dict(folder.config)
    architecture = config.pop("architecture", None)
    if not isinstance(architecture, str):
        kind = config.get("model_type")
        note = (
            f" It seems to be a transformers model ({kind!r}). Name it transformers:{folder.path}."
            if kind
            else ""
        )
        raise BackboneError(
            f"{folder.config_file}: must name timm's 'architecture', and does not.{note} "
            "Folders of timm models are read."
        )
    pretrained = folder.table("pretrained_cfg") if "pretrained_cfg" in config else config
    if config.get("num_classes") is not None:
        pretrained = {**pretrained, "num_classes": config["num_classes"]}
    return architecture, folder.table("model_args"), dict(pretrained)


def _classes(folder: ModelFolder, pretrained: Mapping[str, Any], outputs: int) -> tuple[str, ...]:
    """Returns the class names; none where the network was asked for with other outputs."""
    named = folder.config.get("label_names") or pretrained.get("label_names")
    if outputs != pretrained.get("num_classes", outputs):
        return ()
    return folder.class_names(named or folder.config.get("labels"), outputs)


def _check_tag(architecture: str, tag: str, where: str) -> None:
    known = timm.list_models(f"{architecture}.*", include_tags=True)
    if tag and f"{architecture}.{tag}" not in known:
        tags = [name.partition(".")[2] for name in known]
        raise BackboneError(
            f"{where}: timm has no weights {tag!r} of {architecture}; known are "
            f"{', '.join(filter(None, tags)) or 'none'}.{did_you_mean(tag, tags)}"
        )


def _check_arguments(arguments: Mapping[str, Any], where: str) -> None:
    for key in arguments:
        if key in _FACTORY:
            raise BackboneError(f"{where}: {key!r} cannot be given in a name.{_FACTORY[key]}")
    input_channels.count_of(arguments, where)


def _download(name: BackboneName, where: str) -> tuple[nn.Module, str]:
    _reachable(name, where)
    config = get_pretrained_cfg(name.path)
    tag = config.tag if config else None
    return build(name.path, name.arguments, where, pretrained=True), tag or ""


def _reachable(name: BackboneName, where: str) -> Download:
    """Returns the download of timm's weights, which are here or can be asked for.

    Raises:
        BackboneError: Where neither holds, or there are none.
    """
    config = get_pretrained_cfg(name.path)
    if config is None or not config.has_weights:
        raise BackboneError(
            f"{where}: timm has no pretrained weights of it. Give a file with --weights FILE, or "
            f"take random weights: {replace(name, pretrained=False)}"
        )
    if not config.hf_hub_id:
        return Download(urlparse(str(config.url)).netloc, 0, here=False)
    files = (config.hf_hub_filename,) if config.hf_hub_filename else hub.WEIGHTS
    here = hub.is_here(config.hf_hub_id, files)
    return hub.check_reachable(config.hf_hub_id, files, where, 0 if here else _about_bytes(name))


def _about_bytes(name: BackboneName) -> int:
    """Returns the size of a network's tensors as they are published; 0 where it is not known."""
    try:
        # Built without values: nothing is drawn, and no memory is taken.
        with torch.device("meta"):
            state = timm.create_model(name.path, pretrained=False).state_dict()
    # A network that computes with numbers while it is built fails in its own way.
    except Exception:
        return 0
    return sum(tensor.numel() * tensor.element_size() for tensor in state.values())


def _adapted(module: nn.Module, state: dict[str, Tensor]) -> dict[str, Tensor] | None:
    filter_names = getattr(sys.modules[type(module).__module__], "checkpoint_filter_fn", None)
    try:
        adapted = filter_names(dict(state), module) if filter_names else dict(state)
    # It expects the weights of its own architecture, and fails in any way on others.
    except Exception:
        return None
    adapted = input_channels.adapt_state(adapted, module)
    return adapted if weights.compare(module, adapted)[0].complete else None


def _known_keys(config: Mapping[str, Any]) -> dict[str, Any]:
    known = {field.name for field in dataclasses.fields(timm.models.PretrainedCfg)}
    # Weights are loaded here, by our own reader, so where they lie is not timm's to know.
    known -= {"url", "file", "state_dict", "hf_hub_id", "hf_hub_filename", "source"}
    return {key: value for key, value in config.items() if key in known}


def _preprocessing(module: nn.Module, arguments: Mapping[str, Any], where: str) -> Preprocessing:
    config = dict(module.pretrained_cfg)  # type: ignore[arg-type]
    channels, height, width = config.get("input_size") or (3, 224, 224)
    size = arguments.get("img_size")
    if size is not None:
        height, width = (size, size) if isinstance(size, int) else size
    channels = arguments.get(input_channels.ARGUMENT, channels)
    config["input_size"] = (channels, height, width)
    try:
        return from_timm(config, where)
    except (TypeError, ValueError) as error:
        raise BackboneError(f"{where}: its preprocessing does not hold ({error}).") from error


def _imagenet_names(config: dict[str, Any], module: nn.Module) -> tuple[str, ...]:
    """Returns the names of ImageNet's classes where timm's weights tell these apart."""
    subset = infer_imagenet_subset(config)
    if subset is None or getattr(module, "num_classes", 0) != config.get("num_classes"):
        return ()
    info = ImageNetInfo(subset)
    count = int(config["num_classes"])
    names = [info.index_to_description(index) for index in range(count)]
    uses = Counter(names)
    # A crane is a bird and a machine: where words meet, the synset tells them apart.
    return tuple(
        f"{name} ({info.index_to_label_name(index)})" if uses[name] > 1 else name
        for index, name in enumerate(names)
    )
