"""Networks of torchvision: all classification families, by the names of its model registry.

`torchvision:NAME` takes the best weights there are; `?weights=IMAGENET1K_V1` others by their name
in the architecture's weights enum, `?weights=none` random ones. All other keys are arguments of
the architecture, such as `dropout=0.2` for a VGG. What the enum says of its weights is used:
preprocessing, categories and licence. A local file with `?weights=NAME` is taken for those weights,
categories included; without, for weights prepared like the best ones. Auxiliary classifiers of
GoogLeNet and Inception V3 are left out unless `aux_logits=true`: no head of Frostline trains them.
"""

import re
import urllib.request
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

import torch
import torchvision
from torch import Tensor, nn
from torchvision import models
from torchvision.models import WeightsEnum
from torchvision.models.vision_transformer import interpolate_embeddings

from frostline import frost
from frostline.base.errors import BackboneError, did_you_mean
from frostline.images.preprocessing import Preprocessing, crop_share, from_dict, network_facts
from frostline.networks import downloads, foreign_weights, weights
from frostline.networks.arguments import refused_arguments
from frostline.networks.downloads import Download
from frostline.networks.folder_config import ModelFolder
from frostline.networks.input_channels import (
    ARGUMENT,
    adapt_state,
    count_of,
    preprocessing_for,
    replace_first,
)
from frostline.networks.names import BackboneName
from frostline.networks.record import (
    BackboneEntry,
    BackboneRecord,
    LocalWeights,
    OpenedBackbone,
    known_licence,
)

# Where the last layer of the classifier stands, by the network's class.
_CLASSIFIERS = {
    "AlexNet": "classifier.6",
    "ConvNeXt": "classifier.2",
    "DenseNet": "classifier",
    "EfficientNet": "classifier.1",
    "GoogLeNet": "fc",
    "Inception3": "fc",
    "MaxVit": "classifier.5",
    "MNASNet": "classifier.1",
    "MobileNetV2": "classifier.1",
    "MobileNetV3": "classifier.3",
    "RegNet": "fc",
    "ResNet": "fc",
    "ShuffleNetV2": "fc",
    "SqueezeNet": "classifier.1",
    "SwinTransformer": "head",
    "VGG": "classifier.6",
    "VisionTransformer": "heads.head",
}
# Arguments of the builders that are not the architecture's.
_BUILDER = ("progress", "init_weights")
# Their pretrained weights expect pixels in [-1, 1], which these networks make of the usual input.
_TRANSFORMING = {"googlenet", "inception_v3"}
_AUXILIARY = ("aux1.", "aux2.", "AuxLogits.")
# Weights of the SWAG project name this file, which is CC BY-NC 4.0.
_LICENCES = {"https://github.com/facebookresearch/SWAG/blob/main/LICENSE": "cc-by-nc-4.0"}
_HASH = re.compile(r"-([a-f0-9]{8,})\.pth$")
# Weights of DenseNet from before 2017 write a dot where modules may no longer have one.
_OLD_DENSENET = re.compile(r"(denselayer\d+\.(?:norm|conv))\.(?=[12]\.)")
_TIMEOUT_S = 10.0


def architectures() -> Sequence[str]:
    """Returns the names of torchvision's classification networks."""
    return models.list_models(module=models)


def entries() -> Iterator[BackboneEntry]:
    """Yields every weights enum member of every architecture."""
    for architecture in architectures():
        for enum in dict.fromkeys(_weights_of(architecture).values()):
            how = _preprocessing(enum)
            yield BackboneEntry(
                name=f"torchvision:{architecture}?weights={enum.name}",
                input_px=how.width_px,
                licence=_licence(enum),
                interpolation=how.interpolation,
                classes=len(enum.meta["categories"]),
            )


def open_named(name: BackboneName, local: LocalWeights | None) -> OpenedBackbone:
    """Opens `torchvision:NAME`; see `NetworkKind.open_named`."""
    where = str(replace(name, pretrained=True))
    _check_architecture(name.path, where)
    enum, arguments, named = _chosen_weights(name, where)
    pretrained = name.pretrained and enum is not None
    trained = local is not None or pretrained
    described = enum or _weights_of(name.path)["DEFAULT"]
    arguments = _defaults(name.path, arguments, described, trained)
    count = arguments.get("num_classes")
    how = _fed(name.path, arguments, described, where)
    match = None
    if local is not None:
        module, features = _build(name.path, arguments, where, count)
        into, shape = f"{local.file} into {where}", how.input_shape
        checkpoint = foreign_weights.load_for(module, local, shape, into)
        match = _fit(module, checkpoint, into, local.partial)
        match = foreign_weights.told(match, checkpoint)
    elif pretrained and enum is not None:
        file = _fetch(enum, where)
        module, features = _build(name.path, arguments, where, len(enum.meta["categories"]))
        _fit(module, weights.load(file), f"{file} into {where}", partial=False)
        _set_outputs(module, count)
    else:
        module, features = _build(name.path, arguments, where, count)
    # A file is what its enum says only where the name says so.
    told = trained and (local is None or named)
    tag = enum.name if told and enum is not None else ""
    record = BackboneRecord(
        name=_canonical(name, tag, trained, enum if named else None),
        kind="torchvision",
        architecture=name.path,
        arguments=arguments,
        pretrained_tag=tag,
        preprocessing=how,
        parameters=sum(p.numel() for p in module.parameters()),
        licence=_licence(described) if tag else "",
        classes=_categories(described, module) if tag else (),
        num_features=features,
    )
    return OpenedBackbone(record, module.eval(), match=match)


def download_of(name: BackboneName) -> Download | None:
    """Returns the download of `torchvision:NAME`; see `NetworkKind.download_of`."""
    where = str(replace(name, pretrained=True))
    _check_architecture(name.path, where)
    enum, _, _ = _chosen_weights(name, where)
    if enum is None or not name.pretrained:
        return None
    file = _file_of(enum)
    here = file.is_file()
    size = file.stat().st_size if here else _about_bytes(enum)
    return Download(urlparse(enum.url).netloc, size, here)


def open_folder(folder: ModelFolder, name: BackboneName) -> OpenedBackbone:
    """Opens a network from a model folder; see `NetworkKind.open_folder`."""
    block, where = folder.block, str(name)
    architecture = str(block.get("architecture"))
    _check_architecture(architecture, f"{folder.config_file}")
    stored = {**folder.block_table("arguments"), "num_classes": folder.config.get("num_classes")}
    arguments = {**stored, **name.arguments}
    module, features = _build(architecture, arguments, where, arguments["num_classes"])
    if name.pretrained:
        file = folder.weights_file()
        weights.apply(
            module,
            adapt_state(weights.read(file), module),
            where=f"{file} into {architecture}",
            partial=None,
        )
    same = arguments["num_classes"] == stored["num_classes"]
    stored_how = from_dict(folder.block_table("preprocessing"), f"{folder.config_file}")
    classes = folder.class_names(folder.config.get("label_names"), outputs(module))
    record = BackboneRecord(
        name=where,
        kind="torchvision",
        architecture=architecture,
        arguments={k: v for k, v in arguments.items() if k != "num_classes"},
        pretrained_tag=str(block.get("tag") or "") if name.pretrained else "",
        preprocessing=preprocessing_for(stored_how, arguments.get(ARGUMENT, 3)),
        parameters=sum(p.numel() for p in module.parameters()),
        licence=known_licence(block.get("licence")) if name.pretrained else "",
        classes=classes if name.pretrained and same else (),
        num_features=features,
    )
    return OpenedBackbone(record, module.eval(), extras=block)


def configuration(
    module: nn.Module, record: BackboneRecord, classes: Sequence[str]
) -> dict[str, Any]:
    """Returns what `open_folder` reads; see `NetworkKind.configuration`."""
    return {
        "library_name": "torchvision",
        "num_classes": outputs(module),
        "label_names": list(classes),
        "frostline": {
            "kind": "torchvision",
            "architecture": record.architecture,
            "arguments": {k: v for k, v in record.arguments.items() if k != "num_classes"},
            "preprocessing": network_facts(record.preprocessing),
            "tag": record.pretrained_tag,
            "licence": record.licence,
        },
    }


def trace(module: nn.Module, input_shape: tuple[int, int, int]) -> frost.TracedNetwork:
    """Finds the lines of a network; `pooled` is what the last layer of its classifier is fed."""
    return frost.trace(module, input_shape, classifiers=(_classifier_path(module),))


def size_argument(module: nn.Module) -> str:
    """Returns the argument for the input size of a vision transformer."""
    return "image_size" if isinstance(module, models.VisionTransformer) else ""


def outputs(module: nn.Module) -> int:
    """Returns how many outputs the classifier has; 0 where it was removed."""
    last = module.get_submodule(_classifier_path(module))
    return int(getattr(last, "out_features", getattr(last, "out_channels", 0)))


def remove_classifier(module: nn.Module) -> None:
    """Puts an identity in the place of the classifier's last layer."""
    module.set_submodule(_classifier_path(module), nn.Identity())


def replace_classifier(module: nn.Module, outputs: int) -> nn.Linear | None:
    """Puts a new last layer in; see `NetworkKind.replace_classifier`."""
    last = _new_last(module.get_submodule(_classifier_path(module)), outputs)
    module.set_submodule(_classifier_path(module), last)
    # The score is a convolution's, made positive and pooled: no linear layer says the same.
    return last if isinstance(last, nn.Linear) else None


def _classifier_path(module: nn.Module) -> str:
    return _CLASSIFIERS[type(module).__name__]


def _weights_of(architecture: str) -> Mapping[str, WeightsEnum]:
    """Returns an architecture's weights by name, other names for the same ones included."""
    members: Mapping[str, WeightsEnum] = models.get_model_weights(architecture).__members__
    # One of VGG16's has no values in its classifier, and so none at the line `pooled`.
    return {name: enum for name, enum in members.items() if enum.meta["categories"]}


def _check_architecture(architecture: str, where: str) -> None:
    known = architectures()
    if architecture not in known:
        raise BackboneError(
            f"{where}: torchvision {torchvision.__version__} has no classification network "
            f"{architecture!r}.{did_you_mean(architecture, known)}"
        )


def _chosen_weights(
    name: BackboneName, where: str
) -> tuple[WeightsEnum | None, dict[str, Any], bool]:
    """Returns the weights that a name asks for, the arguments left, and whether it named some."""
    arguments = dict(name.arguments)
    known = _weights_of(name.path)
    if "weights" not in arguments:
        return known["DEFAULT"], arguments, False
    asked = arguments.pop("weights")
    if asked is None:
        return None, arguments, False
    # The enum's own name before it, as torchvision's texts write it, says nothing more.
    member = str(asked).rpartition(".")[2]
    if member not in known:
        raise BackboneError(
            f"{where}: torchvision has no weights {asked!r} of {name.path}; known are "
            f"{', '.join(known)} and none.{did_you_mean(member, known)}"
        )
    return known[member], arguments, True


def _canonical(name: BackboneName, tag: str, trained: bool, named: WeightsEnum | None) -> str:
    kept = {key: value for key, value in name.arguments.items() if key != "weights"}
    said = tag or (named.name if named else "")
    return str(
        replace(name, arguments=kept | ({"weights": said} if said else {}), pretrained=trained)
    )


def _defaults(
    architecture: str, arguments: Mapping[str, Any], described: WeightsEnum, trained: bool
) -> dict[str, Any]:
    """Returns the arguments with those that torchvision's builders take from the weights."""
    found = dict(arguments)
    if architecture in _TRANSFORMING:
        found.setdefault("aux_logits", False)
        if trained:
            found.setdefault("transform_input", found.get(ARGUMENT, 3) == 3)
    if architecture.startswith("vit_"):
        found.setdefault("image_size", int(described.meta["min_size"][0]))
    return found


def _build(
    architecture: str, arguments: Mapping[str, Any], where: str, count: Any
) -> tuple[nn.Module, int]:
    """Builds a network with random weights.

    Args:
        architecture: Its name.
        arguments: Of the architecture; the number of classes among them does not count.
        where: The backbone's name, for messages.
        count: How many outputs it gets; None for the architecture's own number, 0 for features.

    Returns:
        The network, and the width of its features.
    """
    for key in arguments:
        if key in _BUILDER:
            raise BackboneError(f"{where}: {key!r} cannot be given in a name.")
    channels = count_of(arguments, where)
    given = {k: v for k, v in arguments.items() if k not in ("num_classes", ARGUMENT)}
    # Either way of starting GoogLeNet and Inception warns of itself unless one is named.
    start = {"init_weights": True} if architecture in _TRANSFORMING else {}
    outputs = {"num_classes": count} if count else {}
    try:
        module = models.get_model(architecture, weights=None, **outputs, **start, **given)
    # An argument that does not hold fails wherever the architecture first uses it.
    except Exception as error:
        if not given and not outputs:
            raise
        raise refused_arguments(where, {**given, **outputs}, error) from error
    replace_first(module, channels, where)
    last = module.get_submodule(_classifier_path(module))
    features = int(getattr(last, "in_features", getattr(last, "in_channels", 0)))
    if count == 0:
        remove_classifier(module)
    return module, features


def _fed(
    architecture: str, arguments: Mapping[str, Any], described: WeightsEnum, where: str
) -> Preprocessing:
    """Returns how pictures become the input of a network that is built with these arguments."""
    size, channels = arguments.get("image_size"), count_of(arguments, where)
    how = _preprocessing(described, int(size) if size else 0)
    if channels != how.channels and architecture in _TRANSFORMING:
        # What these make of the usual input themselves, they make of three channels alone.
        how = replace(how, mean=(0.5,) * 3, std=(0.5,) * 3)
    return preprocessing_for(how, channels)


def _set_outputs(module: nn.Module, count: Any) -> None:
    """Puts a new last layer in where other outputs are asked for than the weights have."""
    if count == 0:
        remove_classifier(module)
    elif count is not None and count != outputs(module):
        replace_classifier(module, int(count))


def _new_last(last: nn.Module, outputs: int) -> nn.Module:
    if isinstance(last, nn.Conv2d):
        return nn.Conv2d(last.in_channels, outputs, kernel_size=1)
    assert isinstance(last, nn.Linear)
    return nn.Linear(last.in_features, outputs, bias=last.bias is not None)


def _fit(
    module: nn.Module, checkpoint: weights.Checkpoint, where: str, partial: bool
) -> weights.Match:
    """Loads weights; what belongs to a classifier that was left out is left over."""
    state = {_OLD_DENSENET.sub(r"\1", name): t for name, t in checkpoint.tensors.items()}
    own = {name.partition(".")[0] for name in module.state_dict()}
    absent = tuple(start for start in _AUXILIARY if start.partition(".")[0] not in own)
    absent += () if outputs(module) else (f"{_classifier_path(module)}.",)
    unused = tuple(name for name in state if name.startswith(absent))
    kept = {name: tensor for name, tensor in state.items() if name not in unused}
    if isinstance(module, models.VisionTransformer):
        kept = _resampled(module, kept)
    kept = adapt_state(kept, module)
    match = weights.apply(module, kept, where=where, partial=partial, wrapping=checkpoint.wrapping)
    return replace(match, unexpected=(*match.unexpected, *unused))


def _resampled(module: models.VisionTransformer, state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Returns weights whose position embeddings are those of the network's own input size."""
    try:
        resampled = interpolate_embeddings(
            module.image_size, module.patch_size, OrderedDict(state), reset_heads=False
        )
    # It expects weights of a vision transformer; what others hold is told when they are loaded.
    except Exception:
        return state
    return dict(resampled)


def _fetch(enum: WeightsEnum, where: str) -> Path:
    """Returns the file of torchvision's weights, downloaded where it is not here yet."""
    file = _file_of(enum)
    if file.is_file():
        return file
    digest = _HASH.search(enum.url)
    try:
        # torch waits for an answer without end; this tells at once.
        request = urllib.request.Request(enum.url, method="HEAD")
        with urllib.request.urlopen(request, timeout=_TIMEOUT_S):
            pass
        file.parent.mkdir(parents=True, exist_ok=True)
        torch.hub.download_url_to_file(
            enum.url, str(file), digest[1] if digest else None, progress=False
        )
    except Exception as error:
        if downloads.is_connection(error) or isinstance(error, RuntimeError):
            raise downloads.not_downloaded(where, error, _about_bytes(enum)) from error
        raise
    return file


def _file_of(enum: WeightsEnum) -> Path:
    """Returns where torch keeps a download of these weights."""
    return Path(torch.hub.get_dir()) / "checkpoints" / Path(urlparse(enum.url).path).name


def _about_bytes(enum: WeightsEnum) -> int:
    """Returns the size that torchvision states of its weights, in bytes."""
    return round(float(enum.meta.get("_file_size", 0)) * 2**20)


def _preprocessing(enum: WeightsEnum, image_px: int = 0) -> Preprocessing:
    """Returns what the weights' own transforms do; for another size, at the same scale."""
    how = enum.transforms()
    crop, resize = int(how.crop_size[0]), int(how.resize_size[0])
    return Preprocessing(
        height_px=image_px or crop,
        width_px=image_px or crop,
        crop_pct=crop_share(crop, resize),
        interpolation=how.interpolation.value,
        mean=tuple(how.mean),
        std=tuple(how.std),
    )


def _licence(enum: WeightsEnum) -> str:
    return _LICENCES.get(str(enum.meta.get("license")), "")


def _categories(enum: WeightsEnum, module: nn.Module) -> tuple[str, ...]:
    """Returns the names of the weights' classes, unlike each other, where it has these."""
    names = tuple(enum.meta["categories"])
    return names if outputs(module) == len(names) else ()
