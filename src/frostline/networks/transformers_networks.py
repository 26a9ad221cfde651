"""Networks of transformers: image classifiers and image towers, from a folder or the hub.

`transformers:PATH` opens a folder as `save_pretrained` writes it, `transformers:OWNER/NAME` a model
of the hub. Weights are read from safetensors alone, and code that a model brings along is never
run. The network gives its logits, or features where it has no classifier (`transformers_features`);
its layers keep the names that transformers has for them.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from frostline import frost
from frostline.base.errors import BackboneError, WeightsError
from frostline.images.preprocessing import from_dict, network_facts
from frostline.networks import foreign_weights, hub, input_channels, weights
from frostline.networks.downloads import Download
from frostline.networks.folder_config import ModelFolder, licence_of, read
from frostline.networks.names import BackboneName
from frostline.networks.record import BackboneEntry, BackboneRecord, LocalWeights, OpenedBackbone
from frostline.networks.transformers_features import (
    CLASSIFIER,
    ImageFeatures,
    build,
    is_classifier,
    tower_of,
    transformers,
    without_pooler,
)
from frostline.networks.transformers_processor import PROCESSOR, preprocessing_of

_WEIGHTS = ("model.safetensors", "model.safetensors.index.json")
# What Frostline writes into `config.json` besides what transformers does.
_OURS = ("frostline", "num_classes", "label_names", "library_name")


class ImageClassifier(nn.Module):
    """An image classifier of transformers as a network from images to logits."""

    def __init__(self, model: nn.Module) -> None:
        """Takes over the parts of `model`, under their names."""
        super().__init__()
        # Not as a part: its own parts are parts of this network.
        self.__dict__["inner"] = model
        for name, part in model.named_children():
            self.add_module(name, part)

    def forward(self, images: Tensor) -> Tensor:
        """Returns logits [n, classes] of images [n, 3, h, w]."""
        logits: Tensor = self.__dict__["inner"].forward(images).logits
        return logits


def architectures() -> Sequence[str]:
    """Returns nothing: the hub has too many."""
    return ()


def entries() -> Iterator[BackboneEntry]:
    """Yields nothing: the hub has too many."""
    return iter(())


def open_named(name: BackboneName, local: LocalWeights | None) -> OpenedBackbone:
    """Opens `transformers:PATH|OWNER/NAME`; see `NetworkKind.open_named`.

    With a file of weights, the folder gives the network, its classes and its preprocessing alone.
    """
    where = str(name)
    own_weights = name.pretrained and local is None
    path = Path(name.path)
    if not path.is_absolute():
        path = hub.fetch(replace(name, pretrained=own_weights), _WEIGHTS, (PROCESSOR,))
    folder = read(path, where)
    config = _config(folder, name, where)
    channels = input_channels.count_of(
        {input_channels.ARGUMENT: getattr(config, "num_channels", 3), **name.arguments}, where
    )
    preprocessing = preprocessing_of(folder, where)
    preprocessing = input_channels.preprocessing_for(preprocessing, channels)
    model = _loaded(path, config, where) if own_weights else _built(config)
    model = _with_channels(model, config, channels, where)
    module = _wrapped(model, preprocessing.input_shape)
    match = None if local is None else _fit(module, local, preprocessing.input_shape, where)
    features = _feature_count(module)
    if name.arguments.get("num_classes") == 0:
        remove_classifier(module)
    is_trained = own_weights or (match is not None and match.complete)
    record = BackboneRecord(
        name=str(replace(name, pretrained=own_weights or local is not None)),
        kind="transformers",
        architecture=str(config.model_type),
        arguments={},
        pretrained_tag="",
        preprocessing=preprocessing,
        parameters=sum(p.numel() for p in module.parameters()),
        licence=licence_of(folder, ()) if own_weights else "",
        classes=_classes(config, outputs(module)) if is_trained else (),
        num_features=features,
    )
    return OpenedBackbone(record, module.eval(), match=match)


def download_of(name: BackboneName) -> Download | None:
    """Returns the download of a model of the hub; see `NetworkKind.download_of`."""
    here = Path(name.path).is_absolute() or not name.pretrained
    return None if here else hub.download_of(name, _WEIGHTS)


def open_folder(folder: ModelFolder, name: BackboneName) -> OpenedBackbone:
    """Opens a network from a model folder; see `NetworkKind.open_folder`."""
    where = str(folder.config_file)
    config = _config(folder, name, where)
    channels = input_channels.count_of(
        {input_channels.ARGUMENT: getattr(config, "num_channels", 3), **name.arguments}, where
    )
    if hasattr(config, "num_channels"):
        config.num_channels = channels
    preprocessing = input_channels.preprocessing_for(
        from_dict(folder.block_table("preprocessing"), where), channels
    )
    model = _built(config)
    if folder.block.get("has_pooler") is False:
        model.pooler = None  # type: ignore[assignment]
    module = _wrapped(model, preprocessing.input_shape)
    features = _feature_count(module)
    if isinstance(module, ImageFeatures) and folder.config.get("num_classes"):
        replace_classifier(module, int(folder.config["num_classes"]))
    if 0 in (folder.config.get("num_classes"), name.arguments.get("num_classes")):
        remove_classifier(module)
    if name.pretrained:
        file = folder.weights_file()
        state = weights.read(file)
        if name.arguments.get("num_classes") == 0:
            state = {key: state[key] for key in module.state_dict() if key in state}
        state = input_channels.adapt_state(state, module)
        weights.apply(module, state, where=f"{file} into {config.model_type}", partial=None)
    classes = folder.class_names(folder.config.get("label_names"), outputs(module))
    record = BackboneRecord(
        name=str(name),
        kind="transformers",
        architecture=str(config.model_type),
        arguments={},
        pretrained_tag="",
        preprocessing=preprocessing,
        parameters=sum(p.numel() for p in module.parameters()),
        licence=str(folder.block.get("licence") or "") if name.pretrained else "",
        classes=classes if name.pretrained and name.arguments.get("num_classes") != 0 else (),
        num_features=features,
    )
    return OpenedBackbone(record, module.eval(), extras=folder.block)


def configuration(
    module: nn.Module, record: BackboneRecord, classes: Sequence[str]
) -> dict[str, Any]:
    """Returns transformers' own `config.json`, and what it cannot say in Frostline's block."""
    count = outputs(module)
    config = module.__dict__["inner"].config
    plain = {key: value for key, value in config.to_dict().items() if key not in _OURS}
    named = {
        "id2label": dict(enumerate(classes)),
        "label2id": {n: i for i, n in enumerate(classes)},
    }
    return {
        **plain,
        **(named if count == len(classes) else {}),
        "library_name": "transformers",
        "num_classes": count,
        "label_names": list(classes),
        "frostline": {
            "kind": "transformers",
            "architecture": record.architecture,
            **({"has_pooler": False} if _lacks_pooler(module) else {}),
            "preprocessing": network_facts(record.preprocessing),
            "licence": record.licence,
        },
    }


def trace(module: nn.Module, input_shape: tuple[int, int, int]) -> frost.TracedNetwork:
    """Finds the lines of a network; `pooled` is what the last layer of its classifier is fed."""
    return frost.trace(module, input_shape, classifiers=(_classifier_path(module),))


def size_argument(module: nn.Module) -> str:
    """Returns nothing: position embeddings of these networks are not resampled."""
    return ""


def outputs(module: nn.Module) -> int:
    """Returns how many outputs the classifier has; 0 where it was removed."""
    last = module.get_submodule(_classifier_path(module))
    return last.out_features if isinstance(last, nn.Linear) else 0


def remove_classifier(module: nn.Module) -> None:
    """Puts an identity in the place of the classifier's last layer."""
    _put(module, nn.Identity())


def replace_classifier(module: nn.Module, outputs: int) -> nn.Linear | None:
    """Puts a new last layer in; see `NetworkKind.replace_classifier`."""
    layer = nn.Linear(_feature_count(module), outputs)
    _put(module, layer)
    return layer


def _put(module: nn.Module, layer: nn.Module) -> None:
    if isinstance(module, ImageFeatures):
        module.set_submodule(CLASSIFIER, layer)
        return
    for whole in (module, module.__dict__["inner"]):
        whole.set_submodule(_classifier_path(module), layer)


def _classifier_path(module: nn.Module) -> str:
    """Returns where the last layer of the part `classifier` stands, or where one is to stand."""
    if isinstance(module, ImageFeatures):
        return CLASSIFIER
    part = module.get_submodule("classifier")
    names = [name for name, one in part.named_modules() if not list(one.children())]
    return f"classifier.{names[-1]}".rstrip(".")


def _feature_count(module: nn.Module) -> int:
    if isinstance(module, ImageFeatures):
        return module.width
    last = module.get_submodule(_classifier_path(module))
    return last.in_features if isinstance(last, nn.Linear) else 0


def _built(config: Any) -> nn.Module:
    if not is_classifier(config):
        return build(config)
    model: nn.Module = transformers.AutoModelForImageClassification.from_config(config)
    return model


def _wrapped(model: nn.Module, input_shape: tuple[int, int, int]) -> nn.Module:
    if is_classifier(model.config):
        return ImageClassifier(model)
    return ImageFeatures(model, input_shape)


def _lacks_pooler(module: nn.Module) -> bool:
    return getattr(module.__dict__["inner"], "pooler", ...) is None


def _config(folder: ModelFolder, name: BackboneName, where: str) -> Any:
    """Returns transformers' configuration of the network in a folder."""
    facts = {key: value for key, value in folder.config.items() if key not in _OURS}
    kind = facts.pop("model_type", None)
    if "auto_map" in facts or kind not in transformers.CONFIG_MAPPING:
        raise BackboneError(
            f"{where}: transformers {transformers.__version__} has no model type {kind!r} of its "
            "own, and code that a model brings along is not run."
        )
    unknown = [key for key in name.arguments if key not in ("num_classes", input_channels.ARGUMENT)]
    if unknown or name.arguments.get("num_classes", 0) != 0:
        key = (*unknown, "num_classes")[0]
        raise BackboneError(f"{where}: the architecture takes no argument {key!r}.")
    config = transformers.CONFIG_MAPPING[kind].from_dict(facts)
    config = tower_of(config)
    takes_images = hasattr(config, "num_channels")
    has_classifier = type(config) in transformers.MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING
    if not has_classifier and not (takes_images and type(config) in transformers.MODEL_MAPPING):
        raise BackboneError(
            f"{where}: transformers has no image classifier and no image tower of type {kind!r}."
        )
    return config


def _with_channels(model: nn.Module, config: Any, channels: int, where: str) -> nn.Module:
    """Returns the network for another number of input channels; the same where it has them."""
    if channels == getattr(config, "num_channels", 3):
        return model
    if not hasattr(config, "num_channels"):
        raise BackboneError(
            f"{where}: {config.model_type} cannot be built for {channels} input channels."
        )
    other: nn.Module = type(model)(
        type(config).from_dict({**config.to_dict(), "num_channels": channels})
    )
    if getattr(model, "pooler", ...) is None:
        other.pooler = None  # type: ignore[assignment]
    state = input_channels.adapt_state(model.state_dict(), other)
    weights.apply(other, state, where=where, partial=None)
    return other


def _fit(
    module: nn.Module, local: LocalWeights, input_shape: tuple[int, int, int], where: str
) -> weights.Match:
    """Loads a file of weights into a network, under its own names or earlier ones."""
    into = f"{local.file} into {where}"
    found = foreign_weights.load_for(module, local, input_shape, into)
    match, renamed = weights.compare(module, found.tensors)
    state = found.tensors if match.complete else _renamed(module, renamed)
    state = input_channels.adapt_state(state, module)
    match = weights.apply(module, state, where=into, partial=local.partial, wrapping=found.wrapping)
    return foreign_weights.told(match, found)


def _renamed(module: nn.Module, state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Returns tensors under today's names where transformers knows the ones they have."""
    model = module.__dict__["inner"]
    try:
        twin, told = type(model).from_pretrained(
            None, config=model.config, state_dict=dict(state), output_loading_info=True
        )
    # Weights that do not belong to the configuration fail in many ways; names and shapes tell how.
    except Exception:
        return state
    missing, left_over = set(told["missing_keys"]), set(told["unexpected_keys"])
    known = {n: t for n, t in twin.state_dict().items() if n not in missing}
    return known | {name: state[name] for name in left_over if name in state}


def _auto(config: Any) -> Any:
    classifier = transformers.AutoModelForImageClassification
    return classifier if is_classifier(config) else transformers.AutoModel


def _loaded(path: Path, config: Any, where: str) -> nn.Module:
    """Loads the weights by transformers itself, which knows earlier names of its layers."""
    if not any((path / file).is_file() for file in _WEIGHTS):
        raise WeightsError(
            f"{where}: no safetensors in it ({' or '.join(_WEIGHTS)}); other files are not read."
        )
    try:
        model, told = _auto(config).from_pretrained(
            path,
            config=config,
            dtype=torch.float32,
            use_safetensors=True,
            local_files_only=True,
            trust_remote_code=False,
            output_loading_info=True,
        )
    # Weights that do not belong to the configuration fail in many ways.
    except Exception as error:
        reason = "".join(str(error).strip().splitlines()[:1])[:160]
        raise WeightsError(
            f"{where}: its weights cannot be loaded ({type(error).__name__}: {reason})."
        ) from error
    missing = {str(name) for name in told.get("missing_keys") or ()}
    if not is_classifier(config) and without_pooler(model, missing) is not None:
        told = {**told, "missing_keys": ()}
    what_it_is = "an image classifier" if is_classifier(config) else "its configuration"
    for what in ("missing_keys", "mismatched_keys"):
        if told.get(what):
            few = ", ".join(map(str, sorted(map(str, told[what]))[:3]))
            raise WeightsError(
                f"{where}: its weights are not those of {what_it_is}; "
                f"{what.partition('_')[0]} {len(told[what])} ({few})."
            )
    module: nn.Module = model
    for tensor in (*module.parameters(), *module.buffers()):
        # They lie in a mapped file until then, which may change.
        tensor.data = tensor.data.clone()
    return module


def _classes(config: Any, count: int) -> tuple[str, ...]:
    """Returns the class names; none where they are transformers' placeholders."""
    named: Mapping[int, str] = config.id2label or {}
    names = tuple(str(named.get(index, "")) for index in range(count))
    if not all(names) or names == tuple(f"LABEL_{index}" for index in range(count)):
        return ()
    # Two classes of one name could not be told apart.
    return tuple(f"{n} ({i})" if names.count(n) > 1 else n for i, n in enumerate(names))
