"""A head's layers as a list of tables: what each may say, and what is wrong with it.

Everything is checked here that can be known without shapes; see `build` for the rest.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from frostline.base.errors import RecipeError, did_you_mean, raise_all

LAYERS = ("conv", "pool", "flatten", "linear", "norm", "activation", "dropout")
MOST_WIDE = 65536
WEIGHTED = ("conv", "linear")


@dataclass(frozen=True)
class LayerSpec:
    """One layer, as one table of `[[head.layers]]` says it; defaults mean "not given".

    Attributes:
        type: One of `LAYERS`.
        out: Channels of a conv, width of a linear; 0 is the number of scores, which only the last
            of these layers may leave to the head.
        kernel: Side of the square window of a conv or pool, in pixels of the map.
        stride: Its step; 0 is 1 for a conv, and the window's side for a pool.
        padding: Zeros at each edge; -1 is none, but for a conv with an odd window and stride 1,
            whose map keeps its size.
        kind: Of a pool `avg`, `max` or `global` (the mean of all places, a vector); of a norm
            `batch` or `layer`; of an activation `relu`, `gelu`, `silu`, `tanh` or `sigmoid`.
        rate: Of a dropout, in [0, 1).
        bias: Whether a conv or linear adds one.
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
    """Which keys a type of layer needs, which others it takes, and which kinds there are."""

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
# What may not follow the scores.
_ARTICLES = {"activation": "an activation", "norm": "a norm", "dropout": "a dropout"}
_RANGES: Mapping[str, tuple[int, int]] = {
    "out": (0, MOST_WIDE),
    "kernel": (1, 255),
    "stride": (1, 255),
    "padding": (0, 255),
}


def layers_from(
    tables: Sequence[Mapping[str, Any]], where: str = "head.layers", file: str = "recipe"
) -> tuple[LayerSpec, ...]:
    """Reads a list of layers and checks all that needs no shape.

    Args:
        tables: One a layer, as TOML or JSON gives them; none is no list.
        where: The key they stand under, by which problems name them: `head.layers.0.kernel`.
        file: What else to name in front.

    Raises:
        RecipeError: Naming every problem at once.
    """
    layers, problems = read_layers(tables, where)
    raise_all(RecipeError, file, problems)
    return layers


def read_layers(tables: Any, at: str) -> tuple[tuple[LayerSpec, ...], list[str]]:
    """Returns the layers, none where there is a problem, and every problem; see `layers_from`."""
    if not isinstance(tables, list | tuple):
        return (), [f"{at} must be a list of tables, not {tables!r}."]
    problems: list[str] = []
    for number, table in enumerate(tables):
        problems += _layer_problems(table, f"{at}.{number}")
    problems += _order_problems(tables, at) if tables else []
    return (() if problems else tuple(LayerSpec(**table) for table in tables)), problems


def _layer_problems(table: Any, at: str) -> list[str]:
    """Returns what is wrong with one table taken by itself."""
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
            called = "global pool" if is_global else name
            guess = did_you_mean(str(key), keys)
            problems.append(f"{at}.{key} is no key of a {called} layer, which {takes}.{guess}")
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
        # `type = "relu"` comes easily to the pen.
        if name in rule.kinds:
            hint = f' Write type = "{type_}" and kind = "{name}".'
    return f"{at}.type must be one of {', '.join(LAYERS)}, not {name!r}.{hint}"


def _choice(rule: _Rule) -> str:
    return f": one of {', '.join(rule.kinds)}"


def _value_problems(key: str, value: Any, rule: _Rule, at: str) -> list[str]:
    if key == "kind":
        if value in rule.kinds:
            return []
        guess = did_you_mean(str(value), rule.kinds)
        return [f"{at} must be one of {', '.join(rule.kinds)}, not {value!r}.{guess}"]
    if key == "bias":
        return [] if type(value) is bool else [f"{at} must be true or false, not {value!r}."]
    if key == "rate":
        holds = type(value) in (int, float) and 0 <= value < 1
        return [] if holds else [f"{at} must be a number in [0, 1), not {value!r}."]
    low, high = _RANGES[key]
    if type(value) is int and low <= value <= high:
        return []
    return [f"{at} must be a whole number from {low} to {high}, not {value!r}."]


def _order_problems(tables: Sequence[Any], at: str) -> list[str]:
    """Returns what is wrong with the list as a whole, as far as its types can be read."""
    types = [table.get("type") if isinstance(table, Mapping) else None for table in tables]
    weighted = [number for number, name in enumerate(types) if name in WEIGHTED]
    problems = [
        f"{at}.{number}.out must be given: only the last conv or linear layer may leave it out, "
        "and then gives the scores."
        for number in weighted[:-1]
        if tables[number].get("out", 0) == 0
    ]
    if not weighted and all(name in LAYERS for name in types):
        problems.append(f"{at} must hold a conv or a linear layer, to give the scores.")
    if weighted:
        after = enumerate(types[weighted[-1] + 1 :], start=weighted[-1] + 1)
        problems += [
            f"{at}.{number} must not be {_ARTICLES[name]}: layer {weighted[-1]} gives the scores, "
            "of which training and prediction make probabilities by themselves. Move it up."
            for number, name in after
            if name in _ARTICLES
        ]
    return problems


def to_table(layer: LayerSpec) -> dict[str, Any]:
    """Returns what was given of a layer."""
    given = {
        item.name: getattr(layer, item.name)
        for item in dataclasses.fields(layer)
        if getattr(layer, item.name) != item.default
    }
    return {"type": layer.type, **given}


def words(layer: LayerSpec) -> str:
    """Returns a layer in a few words, such as `conv 128 3×3 stride 2`."""
    names = {"pool": f"{layer.kind} pool", "norm": f"{layer.kind} norm", "activation": layer.kind}
    parts = [names.get(layer.type, layer.type)]
    parts += [str(layer.out)] if layer.out else []
    parts += [f"{layer.rate:g}"] if layer.type == "dropout" else []
    parts += [f"{layer.kernel}×{layer.kernel}"] if layer.kernel else []
    parts += [f"stride {layer.stride}"] if layer.stride else []
    parts += [f"padding {layer.padding}"] if layer.padding >= 0 else []
    parts += [] if layer.bias else ["without bias"]
    return " ".join(parts)
