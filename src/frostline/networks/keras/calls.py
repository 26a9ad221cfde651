"""Which layer reads which, as Keras of each age writes it down."""

from collections.abc import Mapping
from typing import Any

from frostline.errors import BackboneError

# A layer's name and the number of its call.
Value = tuple[str, int]


def only(told: Any, what: str) -> Value:
    """Reads `input_layers` or `output_layers`, of which there must be one.

    Raises:
        BackboneError: Where there are several, or none.
    """
    listed = told
    while isinstance(listed, list | tuple) and len(listed) == 1:
        listed = listed[0]
    if isinstance(listed, Mapping) and len(listed) == 1:
        return only(list(listed.values()), what)
    if isinstance(listed, list | tuple) and listed and isinstance(listed[0], str):
        return _value(listed, what)
    count = len(listed) if isinstance(listed, list | tuple | Mapping) else 0
    raise BackboneError(f"{what}: there must be one, and there are {count}.")


def uses(layer: Mapping[str, Any], what: str) -> list[list[Value]]:
    """Returns, for each call of a layer, the values it reads.

    Raises:
        BackboneError: Where a call is written in no known way, or reads a constant.
    """
    return [_reads(call, what) for call in layer.get("inbound_nodes") or []]


def _reads(call: Any, what: str) -> list[Value]:
    if isinstance(call, Mapping):
        found: list[Value] = []
        _tensors(call.get("args"), found, what)
        inner: list[Value] = []
        _tensors(call.get("kwargs"), inner, what)
        return found + inner
    if not isinstance(call, list | tuple):
        raise BackboneError(f"{what}: its inputs cannot be read.")
    # A single input may stand without the list around it.
    return [_value(one, what) for one in ([call] if _is_value(call) else call)]


def _tensors(argument: Any, found: list[Value], what: str) -> None:
    """Gathers the tensors among a call's arguments, in order."""
    if isinstance(argument, Mapping):
        if argument.get("class_name") == "__keras_tensor__":
            found.append(_value(argument["config"]["keras_history"], what))
            return
        argument = list(argument.values())
    if isinstance(argument, list | tuple):
        for one in argument:
            _tensors(one, found, what)


def _is_value(value: Any) -> bool:
    return isinstance(value, list | tuple) and bool(value) and isinstance(value[0], str)


def _value(value: Any, what: str) -> Value:
    if not _is_value(value) or len(value) < 3 or value[2] != 0:
        raise BackboneError(f"{what}: reads {value!r}, which is no layer's only output.")
    if len(value) > 3 and any(_is_value(one) for one in dict(value[3] or {}).values()):
        raise BackboneError(f"{what}: is given layers by keyword, which is not translated.")
    return str(value[0]), int(value[1])
