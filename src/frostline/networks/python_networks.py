"""Networks of one's own: what a function or class in an importable module returns.

`py:package.module:factory[?key=value]` calls `factory(key=value)`. It returns the network, an
`nn.Module` of one batch of images, and its preprocessing: `(network, frostline.Preprocessing(…))`.
A network that has an attribute `preprocessing` may be returned alone. Modules are looked for where
Python looks, and in the current folder.

A model folder of such a network names code, and code in a folder that came from elsewhere is not
run unseen: it opens only where the factory says that it makes networks, and where the network's
code is what it was when the folder was written.
"""

import hashlib
import importlib
import inspect
import sys
import typing
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

from torch import nn

from frostline import frost
from frostline.base.errors import BackboneError, did_you_mean
from frostline.images.preprocessing import Preprocessing, from_dict, network_facts
from frostline.networks import foreign_weights, weights
from frostline.networks.folder_config import ModelFolder
from frostline.networks.names import BackboneName
from frostline.networks.record import (
    BackboneEntry,
    BackboneRecord,
    LocalWeights,
    OpenedBackbone,
    known_licence,
)

_DIGEST_HEX = 16
_OWN_PACKAGE = __name__.partition(".")[0]


def architectures() -> Sequence[str]:
    """Returns nothing: there is no list of everyone's networks."""
    return ()


def entries() -> Iterator[BackboneEntry]:
    """Yields nothing: there is no list of everyone's networks."""
    return iter(())


def open_named(name: BackboneName, local: LocalWeights | None) -> OpenedBackbone:
    """Opens `py:MODULE:FACTORY`; see `NetworkKind.open_named`."""
    where = str(name)
    factory = _factory(name.path, where)
    module, preprocessing, features = _made(factory, name.arguments, where)
    if preprocessing is None:
        raise BackboneError(
            f"{where}: does not say how an image becomes its input. Let it return the network and "
            "a frostline.Preprocessing, in this order."
        )
    match = None
    if local is not None:
        into = f"{local.file} into {where}"
        checkpoint = foreign_weights.load_for(module, local, preprocessing.input_shape, into)
        match = weights.apply(
            module,
            checkpoint.tensors,
            where=into,
            partial=local.partial,
            wrapping=checkpoint.wrapping,
        )
        match = foreign_weights.told(match, checkpoint)
    record = record_of(module, where, name.path, name.arguments, preprocessing)
    record = replace(record, num_features=features)
    return OpenedBackbone(record, module.eval(), match=match)


def download_of(name: BackboneName) -> None:
    """Returns nothing: the code of such a network is on this machine, and brings its weights."""


def open_folder(folder: ModelFolder, name: BackboneName) -> OpenedBackbone:
    """Opens a network from a model folder; see `NetworkKind.open_folder`."""
    block, where = folder.block, str(folder.config_file)
    path, _, digest = str(block.get("architecture", "")).partition("@")
    if name.kind != "dir" and not path.startswith(f"{_OWN_PACKAGE}."):
        raise BackboneError(
            f"{name}: its code is that of {path!r}, which no folder from elsewhere may run. "
            "Copy it to this machine and name it with dir:PATH."
        )
    factory = _factory(path, where)
    if not _makes_networks(factory):
        raise BackboneError(
            f"{where}: {path} does not say that it makes networks, so it is not run. Let it be a "
            "subclass of torch.nn.Module, or a function annotated to return one."
        )
    if code_digest(inspect.getmodule(factory)) != digest:
        raise BackboneError(
            f"{where}: the code of {path} has changed since the folder was written. Open it with "
            f"py:{path} --weights {folder.path / 'model.safetensors'} where it still fits."
        )
    arguments = {**folder.block_table("arguments"), **name.arguments}
    bare = {"num_classes": 0} if folder.config.get("num_classes") == 0 else {}
    module, _, features = _made(factory, {**arguments, **bare}, where)
    if name.pretrained:
        file = folder.weights_file()
        weights.apply(module, weights.read(file), where=f"{file} into {path}", partial=None)
    classes = folder.class_names(folder.config.get("label_names"), outputs(module))
    record = BackboneRecord(
        name=str(name),
        kind="py",
        architecture=f"{path}@{digest}".rstrip("@"),
        arguments={key: v for key, v in arguments.items() if key != "num_classes" or v != 0},
        pretrained_tag="",
        preprocessing=from_dict(folder.block_table("preprocessing"), where),
        parameters=sum(p.numel() for p in module.parameters()),
        licence=known_licence(block.get("licence")),
        classes=classes if name.pretrained and name.arguments.get("num_classes") != 0 else (),
        num_features=features,
    )
    return OpenedBackbone(record, module.eval(), extras=block)


def record_of(
    module: nn.Module,
    name: str,
    path: str,
    arguments: Mapping[str, Any],
    preprocessing: Preprocessing,
) -> BackboneRecord:
    """Returns the facts of a network of one's own.

    Args:
        module: The network.
        name: The backbone's name.
        path: `package.module:factory`.
        arguments: What the factory was called with.
        preprocessing: How an image becomes its input.
    """
    source = sys.modules.get(path.partition(":")[0])
    return BackboneRecord(
        name=name,
        kind="py",
        # Layers of one's own are taken in one piece, and activations are kept by this name: with
        # the code in it, none of an earlier version are ever taken for those of a later one.
        architecture=f"{path}@{code_digest(source)}".rstrip("@"),
        arguments=dict(arguments),
        pretrained_tag="",
        preprocessing=preprocessing,
        parameters=sum(p.numel() for p in module.parameters()),
        licence="",
        classes=(),
        num_features=feature_count(module),
    )


def configuration(
    module: nn.Module, record: BackboneRecord, classes: Sequence[str]
) -> dict[str, Any]:
    """Returns what `open_folder` reads; see `NetworkKind.configuration`."""
    return {
        "num_classes": outputs(module),
        "label_names": list(classes),
        "frostline": {
            "kind": "py",
            "architecture": record.architecture,
            "arguments": dict(record.arguments),
            "preprocessing": network_facts(record.preprocessing),
            "licence": record.licence,
        },
    }


def trace(module: nn.Module, input_shape: tuple[int, int, int]) -> frost.TracedNetwork:
    """Finds the lines of a network; `pooled` is what its last linear layer is fed."""
    last = _last_linear(module)
    return frost.trace(module, input_shape, classifiers=(last,) if last else ())


def size_argument(module: nn.Module) -> str:
    """Returns the network's own attribute `size_argument`; empty where it has none."""
    return str(getattr(module, "size_argument", ""))


def outputs(module: nn.Module) -> int:
    """Returns how many outputs the last linear layer has; 0 where it was removed."""
    last = _last_linear(module)
    layer = module.get_submodule(last) if last else None
    return layer.out_features if isinstance(layer, nn.Linear) else 0


def feature_count(module: nn.Module) -> int:
    """Returns the width of what the last linear layer is fed; 0 where there is none."""
    last = _last_linear(module)
    layer = module.get_submodule(last) if last else None
    return layer.in_features if isinstance(layer, nn.Linear) else 0


def remove_classifier(module: nn.Module) -> None:
    """Puts an identity in the place of the last linear layer."""
    if last := _last_linear(module):
        module.set_submodule(last, Removed())


def replace_classifier(module: nn.Module, outputs: int) -> nn.Linear | None:
    """Returns None: what such a network does with its scores is not known."""
    return None


class Removed(nn.Identity):
    """Stands where the last linear layer was."""


def code_digest(module: ModuleType | None) -> str:
    """Returns the digest of a module's source; empty where there is none, or it is Frostline's.

    What ships with Frostline is not code from elsewhere, and may be written differently tomorrow.
    """
    if module is not None and module.__name__.partition(".")[0] == _OWN_PACKAGE:
        return ""
    file = getattr(module, "__file__", None)
    if file is None or not Path(file).is_file():
        return ""
    return str(hashlib.sha256(Path(file).read_bytes()).hexdigest()[:_DIGEST_HEX])


def _last_linear(module: nn.Module) -> str:
    linear = [name for name, m in module.named_modules() if isinstance(m, nn.Linear)]
    removed = [name for name, m in module.named_modules() if isinstance(m, Removed)]
    return next(reversed(removed or linear), "")


def _factory(path: str, where: str) -> Callable[..., Any]:
    package, colon, attribute = path.partition(":")
    if not (colon and package and attribute):
        raise BackboneError(f"{where}: after py: must stand MODULE:FACTORY, with a colon between.")
    try:
        with _current_folder_importable():
            found: Any = importlib.import_module(package)
    except ModuleNotFoundError as error:
        if error.name is None or not package.startswith(error.name):
            raise  # Something that the module itself imports.
        raise BackboneError(
            f"{where}: there is no module {package!r}. It is looked for where Python looks "
            "(PYTHONPATH, installed packages) and in the current folder."
        ) from error
    for part in attribute.split("."):
        if not hasattr(found, part):
            public = [one for one in dir(found) if not one.startswith("_")]
            raise BackboneError(f"{where}: {package} has no {part!r}.{did_you_mean(part, public)}")
        found = getattr(found, part)
    if not callable(found):
        raise BackboneError(f"{where}: {attribute} is a {type(found).__name__}, not a function.")
    factory: Callable[..., Any] = found
    return factory


@contextmanager
def _current_folder_importable() -> Iterator[None]:
    here = str(Path.cwd())
    sys.path.insert(0, here)
    try:
        yield
    finally:
        sys.path.remove(here)


def _made(
    factory: Callable[..., Any], arguments: Mapping[str, Any], where: str
) -> tuple[nn.Module, Preprocessing | None, int]:
    """Calls the factory; `num_classes=0`, which few take, leaves the last linear layer out.

    Returns:
        The network, its preprocessing where it says so, and the width of its features.
    """
    bare = arguments.get("num_classes") == 0
    given = {key: value for key, value in arguments.items() if not (bare and key == "num_classes")}
    module, preprocessing = _called(factory, given, where)
    features = feature_count(module)
    if bare:
        remove_classifier(module)
    return module, preprocessing, features


def _called(
    factory: Callable[..., Any], arguments: Mapping[str, Any], where: str
) -> tuple[nn.Module, Preprocessing | None]:
    try:
        inspect.signature(factory).bind(**arguments)
    except TypeError as error:
        raise BackboneError(f"{where}: {factory.__name__}: {error}.") from error
    made = factory(**arguments)
    module, preprocessing = made if isinstance(made, tuple) and len(made) == 2 else (made, None)
    if not isinstance(module, nn.Module):
        raise BackboneError(
            f"{where}: must return a torch.nn.Module, alone or with its preprocessing; it returned "
            f"a {type(made).__name__}."
        )
    said = preprocessing or getattr(module, "preprocessing", None)
    if isinstance(said, Mapping):
        said = from_dict(said, where)
    return module, said if isinstance(said, Preprocessing) else None


def _makes_networks(factory: Callable[..., Any]) -> bool:
    if isinstance(factory, type):
        return issubclass(factory, nn.Module)
    if not inspect.isfunction(factory):
        return False
    told = typing.get_type_hints(factory).get("return")
    made = typing.get_args(told)[:1] if typing.get_origin(told) is tuple else (told,)
    return all(isinstance(one, type) and issubclass(one, nn.Module) for one in made)
