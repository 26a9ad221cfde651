"""Which layer reads which, as Keras of each age writes it down."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from frostline.base.errors import BackboneError

# A layer's name and the number of its call.
Value = tuple[str, int]


@dataclass(frozen=True)
class Call:
    """One use of a layer.

    Attributes:
        reads: What it reads, in order.
        numbers: Fixed numbers among its arguments, each with its position.
    """

    reads: tuple[Value, ...]
    numbers: tuple[tuple[int, Any], ...] = ()


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


def uses(layer: Mapping[str, Any], what: str) -> list[Call]:
    """Returns the calls of a layer.

    Raises:
        BackboneError: Where a call is written in no known way.
    """
    return [_call(call, what) for call in layer.get("inbound_nodes") or []]


@dataclass
class _Arguments:
    what: str
    reads: list[Value] = field(default_factory=list)
    numbers: list[tuple[int, Any]] = field(default_factory=list)

    def gather(self, argument: Any) -> None:
        """Takes the tensors and numbers out of an argument, in order."""
        if isinstance(argument, Mapping):
            if argument.get("class_name") == "__keras_tensor__":
                self.reads.append(_value(argument["config"]["keras_history"], self.what))
                return
            argument = list(argument.values())
        if _is_value(argument):
            self.reads.append(_value(argument, self.what))
        elif _is_number(argument):
            self.numbers.append((len(self.reads), argument))
        elif isinstance(argument, list | tuple):
            if argument and all(_is_number(one) for one in argument):
                self.numbers.append((len(self.reads), list(argument)))
                return
            for one in argument:
                self.gather(one)

    def done(self) -> Call:
        return Call(tuple(self.reads), tuple(self.numbers))


def _call(call: Any, what: str) -> Call:
    arguments = _Arguments(what)
    if isinstance(call, Mapping):
        arguments.gather(call.get("args"))
        arguments.gather(call.get("kwargs"))
        return arguments.done()
    if not isinstance(call, list | tuple):
        raise BackboneError(f"{what}: its inputs cannot be read.")
    # A single input may stand without the list around it.
    for one in [call] if _is_value(call) else call:
        if not _is_value(one):
            raise BackboneError(f"{what}: its inputs cannot be read.")
        arguments.gather(one)
        arguments.gather(dict(one[3] or {}) if len(one) > 3 else None)
    return arguments.done()


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_value(value: Any) -> bool:
    return (
        isinstance(value, list | tuple)
        and len(value) >= 3
        and isinstance(value[0], str)
        and all(isinstance(number, int) for number in value[1:3])
    )


def _value(value: Any, what: str) -> Value:
    if not _is_value(value) or value[2] != 0:
        raise BackboneError(f"{what}: reads {value!r}, which is no layer's only output.")
    return str(value[0]), int(value[1])
