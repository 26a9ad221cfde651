"""A head's layers as a list of tables: their keys, their values, and what is wrong with them.

Everything that does not depend on shapes is checked here; `model.heads.build` checks the rest.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from frostline.base.errors import RecipeError, did_you_mean, raise_all

LAYERS = ("conv", "pool", "flatten", "linear", "norm", "activation", "dropout")
MAX_WIDTH = 65536
WEIGHTED = ("conv", "linear")


@dataclass(frozen=True)
class LayerSpec:
    """One layer, from one table of `[[head.layers]]`; defaults mean "not given".

    Attributes:
        type: One of `LAYERS`.
        out: Output channels of a conv, output features of a linear; 0 for one per class, which only
            the last of these layers may use.
        kernel: Kernel size of a conv or pool, in pixels of the feature map.
        stride: Stride; 0 means 1 for a conv, and the kernel size for a pool.
        padding: Zeros added at each edge; -1 means none, except for a conv with an odd kernel and
            stride 1, which keeps the size of its map.
        kind: For a pool `avg`, `max` or `global` (global average pooling); for a norm `batch` or
            `layer`; for an activation `relu`, `gelu`, `silu`, `tanh` or `sigmoid`.
        rate: The dropout rate, in [0, 1).
        bias: Whether a conv or linear has a bias.
    """

    type: str
    out: int = 0
    kernel: int = 0
    stride: int = 0
    padding: int = -1
    kind: str = ""
    rate: float = -1.0
    bias: bool = True


@dataclass(frozen=True)
class _Rule:
    """The required and the optional keys of a type of layer, and its kinds."""

    needs: tuple[str, ...] = ()
    takes: tuple[str, ...] = ()
    kinds: tuple[str, ...] = ()


_POOLS = ("avg", "max", "global")
_ACTIVATIONS = ("relu", "gelu", "silu", "tanh", "sigmoid")
_GLOBAL = _Rule(needs=("kind",), kinds=_POOLS)
_RULES: Mapping[str, _Rule] = {
    "conv": _Rule(needs=("kernel",), takes=("out", "stride", "padding", "bias")),
    "pool": _Rule(needs=("kind", "kernel"), takes=("stride", "padding"), kinds=_POOLS),
    "flatten": _Rule(),
    "linear": _Rule(takes=("out", "bias")),
    "norm": _Rule(needs=("kind",), kinds=("batch", "layer")),
    "activation": _Rule(needs=("kind",), kinds=_ACTIVATIONS),
    "dropout": _Rule(needs=("rate",)),
}
# Types that may not follow the layer that gives the class scores.
_ARTICLES = {"activation": "an activation", "norm": "a norm", "dropout": "a dropout"}
_RANGES: Mapping[str, tuple[int, int]] = {
    "out": (0, MAX_WIDTH),
    "kernel": (1, 255),
    "stride": (1, 255),
    "padding": (0, 255),
}


def layers_from(
    tables: Sequence[Mapping[str, Any]], where: str = "head.layers", file: str = "recipe"
) -> tuple[LayerSpec, ...]:
    """Reads a list of layers and checks everything that does not depend on shapes.

    Args:
        tables: One per layer, as read from TOML or JSON.
        where: The key of the list, for messages such as `head.layers.0.kernel …`.
        file: The file, for messages.

    Raises:
        RecipeError: If anything is invalid; names all problems.
    """
    layers, problems = read_layers(tables, where)
    raise_all(RecipeError, file, problems)
    return layers


def read_layers(tables: Any, at: str) -> tuple[tuple[LayerSpec, ...], list[str]]:
    """Returns the layers (none if there is a problem) and all problems; see `layers_from`."""
    if not isinstance(tables, list | tuple):
        return (), [f"{at} must be a list of tables, not {tables!r}."]
    problems: list[str] = []
    for number, table in enumerate(tables):
        problems += _layer_problems(table, f"{at}.{number}")
    problems += _order_problems(tables, at) if tables else []
    return (() if problems else tuple(LayerSpec(**table) for table in tables)), problems


def _layer_problems(table: Any, at: str) -> list[str]:
    """Returns the problems of one table."""
    if not isinstance(table, Mapping):
        return [f"{at} must be a table, not {table!r}."]
    name = table.get("type")
    if not isinstance(name, str) or name not in _RULES:
        return [_type_problem(name, at)]
    is_global = name == "pool" and table.get("kind") == "global"
    rule = _GLOBAL if is_global else _RULES[name]
    keys = (*rule.needs, *rule.takes)
    problems = []
    for key, value in table.items():
        if key != "type" and key not in keys:
            takes = f"takes {', '.join(keys)}" if keys else "takes none"
            shown = "global pool" if is_global else name
            hint = did_you_mean(str(key), keys)
            problems.append(f"{at}.{key} is not a key of a {shown} layer, which {takes}.{hint}")
        elif key != "type":
            problems += _value_problems(key, value, rule, f"{at}.{key}")
    problems += [
        f"{at}.{key} must be given{_choice(rule) if key == 'kind' else ''}."
        for key in rule.needs
        if key not in table
    ]
    if name == "pool" and not problems and 2 * table.get("padding", 0) > table.get("kernel", 0):
        half = table["kernel"] // 2
        problems.append(
            f"{at}.padding must be at most half of kernel, {half}, not {table['padding']}."
        )
    return problems


def _type_problem(name: Any, at: str) -> str:
    if name is None:
        return f"{at}.type must be given: one of {', '.join(LAYERS)}."
    hint = did_you_mean(str(name), LAYERS)
    for type_, rule in _RULES.items():
        # `type = "relu"` is a likely mistake.
        if name in rule.kinds:
            hint = f' Write type = "{type_}" and kind = "{name}".'
    return f"{at}.type must be one of {', '.join(LAYERS)}, not {name!r}.{hint}"


def _choice(rule: _Rule) -> str:
    return f": one of {', '.join(rule.kinds)}"


def _value_problems(key: str, value: Any, rule: _Rule, at: str) -> list[str]:
    if key == "kind":
        if value in rule.kinds:
            return []
        hint = did_you_mean(str(value), rule.kinds)
        return [f"{at} must be one of {', '.join(rule.kinds)}, not {value!r}.{hint}"]
    if key == "bias":
        return [] if type(value) is bool else [f"{at} must be true or false, not {value!r}."]
    if key == "rate":
        is_rate = type(value) in (int, float) and 0 <= value < 1
        return [] if is_rate else [f"{at} must be a number in [0, 1), not {value!r}."]
    low, high = _RANGES[key]
    if type(value) is int and low <= value <= high:
        return []
    return [f"{at} must be a whole number from {low} to {high}, not {value!r}."]


def _order_problems(tables: Sequence[Any], at: str) -> list[str]:
    """Returns the problems of the list as a whole, as far as its types are known."""
    types = [table.get("type") if isinstance(table, Mapping) else None for table in tables]
    weighted = [number for number, name in enumerate(types) if name in WEIGHTED]
    problems = [
        f"{at}.{number}.out must be given: only the last conv or linear layer may leave it out, "
        "which then gives the class scores."
        for number in weighted[:-1]
        if tables[number].get("out", 0) == 0
    ]
    if not weighted and all(name in LAYERS for name in types):
        problems.append(
            f"{at} must contain a conv or a linear layer, which gives the class scores."
        )
    if weighted:
        after = enumerate(types[weighted[-1] + 1 :], start=weighted[-1] + 1)
        problems += [
            f"{at}.{number} must not be {_ARTICLES[name]}: layer {weighted[-1]} gives the class "
            "scores, which training and prediction turn into probabilities. Move it up."
            for number, name in after
            if name in _ARTICLES
        ]
    return problems


def to_table(layer: LayerSpec) -> dict[str, Any]:
    """Returns a layer as a table, without the defaults."""
    given = {
        item.name: getattr(layer, item.name)
        for item in dataclasses.fields(layer)
        if getattr(layer, item.name) != item.default
    }
    return {"type": layer.type, **given}


def words(layer: LayerSpec) -> str:
    """Returns a short description of a layer, such as `conv 128 3×3 stride 2`."""
    names = {"pool": f"{layer.kind} pool", "norm": f"{layer.kind} norm", "activation": layer.kind}
    parts = [names.get(layer.type, layer.type)]
    parts += [str(layer.out)] if layer.out else []
    parts += [f"{layer.rate:g}"] if layer.type == "dropout" else []
    parts += [f"{layer.kernel}×{layer.kernel}"] if layer.kernel else []
    parts += [f"stride {layer.stride}"] if layer.stride else []
    parts += [f"padding {layer.padding}"] if layer.padding >= 0 else []
    parts += [] if layer.bias else ["without bias"]
    return " ".join(parts)
