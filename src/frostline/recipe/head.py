"""The specification of a head, as text or as a list of layers."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from frostline.base.errors import RecipeError, did_you_mean, raise_all
from frostline.recipe.head_layers import (
    MAX_WIDTH,
    LayerSpec,
    layers_from,
    read_layers,
    to_table,
    words,
)
from frostline.recipe.schema import INITS, POOLINGS, HeadChoice

KINDS = ("linear", "mlp")


@dataclass(frozen=True)
class HeadSpec:
    """The new layers: `linear`, `mlp:WIDTH[,WIDTH…][,dropout=P]`, or a list of layers.

    Attributes:
        text: The specification as text; empty for a list of layers.
        widths: Of the hidden layers; none for a linear head.
        dropout: The dropout rate after each hidden layer, in [0, 1).
        pooling: `avg`, `max` or `flatten`; a list of layers has its own.
        layers: The list of layers, if there is one.
        init: One of `INITS`: how new weights are initialised.
    """

    text: str
    widths: tuple[int, ...]
    dropout: float
    pooling: str
    layers: tuple[LayerSpec, ...] = ()
    init: str = "default"

    @property
    def is_linear(self) -> bool:
        """Whether the head is a single linear layer, written as `linear`."""
        return not self.widths and not self.layers

    @property
    def is_native(self) -> bool:
        """Whether the backbone's own classifier has this form, so that timm can open the model."""
        return self.is_linear and self.pooling == "avg"

    @property
    def wants_map(self) -> bool:
        """Whether its input is a feature map or tokens, not the backbone's pooled vector."""
        types = (x.type for x in self.layers if x.type in ("conv", "pool", "flatten", "linear"))
        return next(types, "linear") != "linear" or self.pooling != "avg"


def parse(
    text: str, pooling: str = "avg", layers: Sequence[LayerSpec] = (), init: str = "default"
) -> HeadSpec:
    """Parses a specification.

    Args:
        text: `linear` or `mlp:WIDTH[,WIDTH…][,dropout=P]`; with `layers`, `linear` or empty.
        pooling: `avg`, `max` or `flatten`; with `layers`, `avg`.
        layers: A list of layers instead.
        init: One of `INITS`.

    Raises:
        RecipeError: If it is not valid; says what a head may be.
    """
    if init not in INITS:
        raise RecipeError(
            f"head.init: must be one of {', '.join(INITS)}, not {init!r}."
            + did_you_mean(init, INITS)
        )
    if layers:
        if text not in ("", "linear") or pooling != "avg":
            raise RecipeError(
                f"head.layers: stands instead of other words for a head, and here beside "
                f"{text!r} with {pooling} pooling; keep one of them, and write pooling as a layer."
            )
        checked = layers_from([to_table(layer) for layer in layers])
        return HeadSpec("", (), 0.0, "avg", checked, init)
    widths, dropout = _parse_text(text)
    return HeadSpec(text, widths, dropout, pooling, (), init)


def _parse_text(text: str) -> tuple[tuple[int, ...], float]:
    kind, _, rest = text.partition(":")
    if kind not in KINDS:
        raise RecipeError(
            f"head: must be linear or mlp:WIDTH[,WIDTH…][,dropout=P], not {text!r}."
            + did_you_mean(kind, KINDS)
        )
    widths: list[int] = []
    dropout = 0.0
    for part in filter(None, rest.split(",")):
        key, equals, value = part.partition("=")
        if not equals and part.isdecimal() and _is_width(part):
            widths.append(int(part))
        elif equals and key == "dropout" and _is_share(value):
            dropout = float(value)
        else:
            raise RecipeError(
                f"head: {part!r} in {text!r} must be a width from 1 to {MAX_WIDTH}, or dropout=P "
                "with P in [0, 1)."
            )
    if (kind == "mlp") != bool(widths) or (kind == "linear" and rest):
        raise RecipeError(f"head: write linear, or mlp with at least one width; got {text!r}.")
    return tuple(widths), dropout


def _is_width(text: str) -> bool:
    # The length first: Python refuses to parse numbers with thousands of digits.
    return len(text) <= len(str(MAX_WIDTH)) and 0 < int(text) <= MAX_WIDTH


def _is_share(text: str) -> bool:
    try:
        return 0 <= float(text) < 1
    except ValueError:
        return False


def to_facts(spec: HeadSpec) -> dict[str, Any]:
    """Returns the specification as plain JSON values, the inverse of `from_facts`."""
    if spec.layers:
        return {"layers": [to_table(layer) for layer in spec.layers], "init": spec.init}
    return {"spec": spec.text, "pooling": spec.pooling, "init": spec.init}


def from_facts(facts: Mapping[str, Any], where: str = "head", file: str = "model") -> HeadSpec:
    """Returns the specification from plain values, the inverse of `to_facts`.

    Args:
        facts: Keys `spec`, `pooling`, `init` and `layers`, all optional.
        where: The key under which they are stored, for messages.
        file: The file, for messages.

    Raises:
        RecipeError: If any value is invalid; names all problems.
    """
    if not isinstance(facts, Mapping):
        raise RecipeError(f"{file}: {where} must be a table, not {facts!r}.")
    known = ("spec", "pooling", "init", "layers")
    problems = [
        f"{where}.{key} is not a key of a head.{did_you_mean(str(key), known)}"
        for key in facts
        if key not in known
    ]
    for key, names in (("pooling", POOLINGS), ("init", INITS)):
        if key in facts and facts[key] not in names:
            problems.append(f"{where}.{key} must be one of {', '.join(names)}, not {facts[key]!r}.")
    layers, layer_problems = read_layers(facts.get("layers", ()), f"{where}.layers")
    text = facts.get("spec", "linear")
    if not isinstance(text, str):
        problems.append(f"{where}.spec must be text, not {text!r}.")
    raise_all(RecipeError, file, problems + layer_problems)
    return parse(text, facts.get("pooling", "avg"), layers, facts.get("init", "default"))


def describe(spec: HeadSpec) -> str:
    """Returns a short description, such as `conv 128 3×3, relu, global pool, linear`.

    A last layer without a width has one output per class.
    """
    if spec.layers:
        return ", ".join(words(layer) for layer in spec.layers)
    return spec.text if spec.pooling == "avg" else f"{spec.text} with {spec.pooling} pooling"


def problems_of_head(choice: HeadChoice) -> list[str]:
    """Returns the problems of a recipe's head that can be found without knowing shapes."""
    layers, problems = read_layers(choice.layers, "head.layers")
    if choice.start == "probe" and layers:
        last = layers[-1]
        if last.type != "linear":
            problems.append(
                "head.start: the probe is put in place of the head's last layer, which must be "
                f'linear; here it is {last.type}. Leave it out, or write start = "random".'
            )
        elif not last.bias:
            problems.append(
                "head.start: the probe has a bias, and the head's last layer has bias = false. "
                'Leave one of them out, or write start = "random".'
            )
    # Unknown poolings and initialisers are reported by `checks`, with the other single values.
    pooling = choice.pooling if choice.pooling in POOLINGS else "avg"
    try:
        parse(choice.spec, pooling, layers)
    except RecipeError as error:
        problems.append(f"head.spec: {str(error).removeprefix('head: ')}")
    return problems
