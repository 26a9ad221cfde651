"""Reading and writing recipes as TOML: shipped ones, files, and single values set by options."""

import dataclasses
import math
import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib import resources
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, get_args, get_origin, get_type_hints

from frostline.base.errors import LineError, RecipeError, did_you_mean, raise_all
from frostline.base.files import write_text
from frostline.recipe.checks import problems_of
from frostline.recipe.schema import DEFAULT, FIXED, Recipe

_KEY = re.compile(r"(head|stages|views|backbone|compute)\.")


def builtin() -> tuple[str, ...]:
    """Returns the names of the shipped recipes, the default first."""
    files = (resources.files("frostline.recipe") / "shipped").iterdir()
    names = sorted(file.name.removesuffix(".toml") for file in files if file.name.endswith(".toml"))
    return tuple(sorted(names, key=lambda name: name != DEFAULT))


def compose(
    name: str | None,
    settings: Iterable[str] = (),
    given: Mapping[str, Any] | None = None,
    stage: Mapping[str, Any] | None = None,
) -> Recipe:
    """Returns the recipe described by command-line options.

    Args:
        name: A recipe's name or file; None for the default recipe.
        settings: As for `load`.
        given: As for `load`.
        stage: Values of the recipe's only stage.

    A search keeps to what is given of line, epochs, rates, weight decay, views and head, and varies
    the rest.

    Raises:
        RecipeError: If `stage` has any keys and the recipe has no stage or several, or the recipe
            is not valid.
    """
    values, where = _values_of(name or DEFAULT)
    if stage:
        _set_stage(values, where, stage)
    parts = [_PARTS[key] for key in given or {} if key in _PARTS]
    fixed = [name for name in FIXED if name in parts or name in (stage or {})]
    if fixed and values.get("search", {}).get("enabled"):
        values["search"]["fixed"] = fixed
    return _with_settings(values, where, settings, given)


def _set_stage(values: dict[str, Any], where: str, stage: Mapping[str, Any]) -> None:
    stages, first = values.get("stages", []), next(iter(stage))
    option = f"--{first.replace('_', '-')}"
    if not stages:
        raise RecipeError(f"{option}: {where} has no stage, only a new last layer, which has none.")
    if len(stages) > 1:
        raise RecipeError(
            f"{option}: does not say which of the {len(stages)} stages of {where} is meant. "
            f"Write --set stages.0.{first}=VALUE."
        )
    stages[0] |= stage


def load(name: str, settings: Iterable[str] = (), given: Mapping[str, Any] | None = None) -> Recipe:
    """Returns a recipe by name or from a file, with single values replaced.

    Args:
        name: One of `builtin()`, or a TOML file; a name with a dot or a slash is a file.
        settings: `KEY=VALUE`, such as `stages.0.lr=1e-5`; values are parsed as TOML, else text.
        given: Values by key, such as `data.val`, that override the recipe's own; settings override
            both.

    Raises:
        RecipeError: If there is no such recipe, or it is not valid; names all problems.
    """
    values, where = _values_of(name)
    return _with_settings(values, where, settings, given)


def _with_settings(
    values: dict[str, Any], where: str, settings: Iterable[str], given: Mapping[str, Any] | None
) -> Recipe:
    problems: list[str] = []
    for key, value in (given or {}).items():
        _put(values, key, value, problems)
    for setting in settings:
        key, equals, text = setting.partition("=")
        if not equals or not all(key.strip().split(".")):
            problems.append(f"{setting!r} must be KEY=VALUE, such as stages.0.lr=1e-3.")
        else:
            _put(values, key.strip(), _toml_value(text.strip()), problems)
    raise_all(RecipeError, f"{where}, --set", problems)
    return from_dict(values, where)


def read(path: Path) -> Recipe:
    """Reads and validates a recipe file.

    Raises:
        RecipeError: If the file is missing, is not TOML, or is not valid; names all problems.
    """
    return from_dict(_read_toml(path), str(path))


def _values_of(name: str) -> tuple[dict[str, Any], str]:
    if name in builtin():
        text = (resources.files("frostline.recipe") / "shipped" / f"{name}.toml").read_text("utf-8")
        return tomllib.loads(text), f"recipe {name}"
    if "." not in name and "/" not in name and not Path(name).exists():
        raise RecipeError(
            f"{name}: no recipe of that name; there are {', '.join(builtin())}."
            f"{did_you_mean(name, builtin())} A file's name ends in .toml."
        )
    return _read_toml(Path(name)), name


def _read_toml(path: Path) -> dict[str, Any]:
    try:
        # Paths in it need not be UTF-8; `write` preserves their bytes.
        return tomllib.loads(path.read_bytes().decode("utf-8", "surrogateescape"))
    except FileNotFoundError as error:
        raise RecipeError(f"{path}: no such recipe file.") from error
    # Python rejects numbers with thousands of digits, and lists nested thousands deep.
    except (OSError, ValueError, RecursionError) as error:
        raise RecipeError(f"{path}: cannot be read as TOML: {error}.") from error


def _put(values: dict[str, Any], key: str, value: Any, problems: list[str]) -> None:
    """Sets the value of a dotted key, creating tables as needed."""
    parts = key.split(".")
    table: Any = values
    for depth, part in enumerate(parts):
        at: Any = part
        if isinstance(table, list):
            at = int(part) if part.isdecimal() else -1
            if not 0 <= at < len(table):
                valid = f"0 to {len(table) - 1}" if len(table) > 1 else "0" if table else "none"
                count = f"{len(table)} entr{'y' if len(table) == 1 else 'ies'}"
                where = ".".join(parts[:depth])
                problems.append(f"{key}: {where} has {count} ({valid}), not {part!r}.")
                return
        elif not isinstance(table, dict):
            problems.append(f"{key}: {'.'.join(parts[:depth])} is not a table.")
            return
        if depth == len(parts) - 1:
            table[at] = value
        elif isinstance(table, dict):
            # A number is an index into a list, here an empty one.
            table = table.setdefault(at, [] if parts[depth + 1].isdecimal() else {})
        else:
            table = table[at]


def _toml_value(text: str) -> Any:
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except (ValueError, RecursionError):
        return text


def from_dict(values: Mapping[str, Any], where: str) -> Recipe:
    """Builds a recipe from plain values and validates it.

    Raises:
        RecipeError: If a key is unknown, or a value has the wrong type or is out of range; names
            all problems.
    """
    problems: list[str] = []
    recipe = _build(Recipe, values, "", problems)
    assert isinstance(recipe, Recipe)
    # Values of the wrong type were replaced by defaults, so the others can be checked as well.
    # Problems of those defaults are not reported.
    replaced = tuple(f"{problem.split()[0]}{end}" for problem in problems for end in ". ")
    problems += [problem for problem in problems_of(recipe) if not problem.startswith(replaced)]
    raise_all(RecipeError, where, problems)
    return recipe


@contextmanager
def naming_file(name: str | None) -> Iterator[None]:
    """Adds the recipe's file to errors about its keys that appear once the network is open.

    Args:
        name: As for `load`; None for options without a recipe.
    """
    try:
        yield
    except (RecipeError, LineError) as error:
        if name and name not in builtin() and _KEY.match(str(error)):
            raise type(error)(f"{name}: {error}") from error
        raise


def to_dict(recipe: Recipe) -> dict[str, Any]:
    """Returns the recipe as plain values, the inverse of `from_dict`."""
    values: dict[str, Any] = _plain(dataclasses.asdict(recipe))
    return values


def to_toml(recipe: Recipe) -> str:
    """Returns the recipe as TOML, including all defaults."""
    import tomli_w

    return tomli_w.dumps(to_dict(recipe))


def write(recipe: Recipe, path: Path) -> None:
    """Writes `to_toml(recipe)` atomically."""
    write_text(path, to_toml(recipe))


def differences(one: Recipe, other: Recipe) -> list[str]:
    """Returns the keys in which two recipes differ, with both values."""
    flat = [dict(_flat(to_dict(recipe))) for recipe in (one, other)]
    keys = dict.fromkeys((*flat[0], *flat[1]))

    def shown(values: Mapping[str, Any], key: str) -> str:
        return repr(values[key]) if key in values else "not set"

    return [
        f"{key}: {shown(flat[0], key)} and {shown(flat[1], key)}"
        for key in keys
        if flat[0].get(key) != flat[1].get(key)
    ]


def _flat(value: Any, at: str = "") -> Iterable[tuple[str, Any]]:
    if isinstance(value, dict):
        for key, part in value.items():
            yield from _flat(part, f"{at}.{key}" if at else str(key))
    elif isinstance(value, list) and value and isinstance(value[0], dict):
        for number, part in enumerate(value):
            yield from _flat(part, f"{at}.{number}")
    else:
        yield at, value


def _plain(value: Any) -> Any:
    """Turns tuples into lists, and drops None, which TOML does not have."""
    if isinstance(value, dict):
        return {key: _plain(part) for key, part in value.items() if part is not None}
    return [_plain(part) for part in value] if isinstance(value, list | tuple) else value


def _build(kind: type, values: Mapping[str, Any], at: str, problems: list[str]) -> Any:
    hints = get_type_hints(kind)
    known = [item.name for item in dataclasses.fields(kind)]
    arguments: dict[str, Any] = {}
    for key, value in values.items():
        if key not in known:
            hint = did_you_mean(key, known) if at else _suggestion(key, known)
            problems.append(f"{at}{key} is not a key of a recipe.{hint}")
            continue
        built = _value(hints[key], value, f"{at}{key}", problems)
        if built is not None:
            arguments[key] = built
    return kind(**arguments)


def _suggestion(key: str, known: Iterable[str]) -> str:
    """Returns the full name of a key that was written without its table, or similar names."""
    full_names = []
    for name, hint in get_type_hints(Recipe).items():
        inner = get_args(hint)[0] if get_origin(hint) is tuple else hint
        if key in getattr(inner, "__dataclass_fields__", {}):
            full_names.append(f"{name}.{key}" if inner is hint else f"{name}.0.{key}")
    return f" Did you mean {', '.join(full_names)}?" if full_names else did_you_mean(key, known)


def _value(hint: Any, value: Any, at: str, problems: list[str]) -> Any:
    """Returns the value in the recipe's type, or None if it has the wrong type."""
    if get_origin(hint) is UnionType:
        (hint,) = (part for part in get_args(hint) if part is not NoneType)
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        if isinstance(value, Mapping):
            return _build(hint, value, f"{at}.", problems)
        problems.append(f"{at} must be a table.")
        return None
    if get_origin(hint) is tuple:
        return _list(get_args(hint)[0], value, at, problems)
    if get_origin(hint) is dict:
        if not isinstance(value, Mapping):
            problems.append(f"{at} must be a table.")
            return None
        return dict(value)
    if hint is float and type(value) is int:
        return float(value)
    if hint is str and type(value) is int:
        return str(value)
    if hint is float and type(value) is float and not math.isfinite(value):
        problems.append(f"{at} must be a finite number, not {value!r}.")
        return None
    if type(value) is not hint:
        problems.append(f"{at} must be {_TYPES[hint]}, not {value!r}.")
        return None
    return value


def _list(item: Any, value: Any, at: str, problems: list[str]) -> tuple[Any, ...]:
    if not isinstance(value, Sequence) or isinstance(value, str):
        what = "a list of text" if item is str else "a list of tables"
        problems.append(f"{at} must be {what}.")
        return ()
    built = [_value(item, part, f"{at}.{number}", problems) for number, part in enumerate(value)]
    # Invalid entries are replaced by defaults, so that the indices of later ones stay right.
    return tuple(item() if part is None else part for part in built)


# What a search keeps to where a key is given.
_PARTS = {
    "views.preset": "views",
    "head.spec": "head",
    "head.pooling": "head",
    "head.on": "head",
}
_TYPES = {int: "a whole number", float: "a number", str: "text", bool: "true or false"}
