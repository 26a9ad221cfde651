"""Recipes as TOML: those that come with Frostline, files, and single values set."""

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
from frostline.recipe.schema import DEFAULT, Recipe

_KEY = re.compile(r"(head|stages|views|backbone|compute)\.")


def builtin() -> tuple[str, ...]:
    """Returns the names of the recipes that come with Frostline, the default first."""
    files = (resources.files("frostline.recipe") / "shipped").iterdir()
    names = sorted(file.name.removesuffix(".toml") for file in files if file.name.endswith(".toml"))
    return tuple(sorted(names, key=lambda name: name != DEFAULT))


def compose(
    name: str | None,
    settings: Iterable[str] = (),
    given: Mapping[str, Any] | None = None,
    stage: Mapping[str, Any] | None = None,
) -> Recipe:
    """Returns the recipe that options ask for.

    Args:
        name: A recipe by name or file; None for one stage where `stage` says anything, else for
            the default.
        settings: As for `load`.
        given: As for `load`.
        stage: Of a recipe with this one stage, after the probe.

    Raises:
        RecipeError: Where both a recipe and a stage are given, or what is asked for does not hold.
    """
    if not stage:
        return load(name or DEFAULT, settings, given)
    first = next(iter(stage))
    if name:
        raise RecipeError(
            f"--{first.replace('_', '-')}: says nothing of which stage of {name!r} is meant. "
            f"Write --set stages.0.{first}=VALUE."
        )
    return _made({"stages": [dict(stage)]}, "options", settings, given)


def load(name: str, settings: Iterable[str] = (), given: Mapping[str, Any] | None = None) -> Recipe:
    """Returns a recipe by name or from a file, with single values set.

    Args:
        name: One of `builtin()`, or a TOML file; a name with a dot or a slash is a file.
        settings: `KEY=VALUE`, such as `stages.1.lr=1e-5`; values are TOML, or else text.
        given: Values by key, such as `data.val`, that go before the recipe's own; settings go
            before these.

    Raises:
        RecipeError: Where there is no such recipe, or it does not hold; naming every problem.
    """
    values, where = _values_of(name)
    return _made(values, where, settings, given)


def _made(
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
        RecipeError: Where the file is missing, is no TOML, or does not hold; naming every problem.
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
        # Paths in it need not be UTF-8; `write` keeps their bytes.
        return tomllib.loads(path.read_bytes().decode("utf-8", "surrogateescape"))
    except FileNotFoundError as error:
        raise RecipeError(f"{path}: no such recipe file.") from error
    # Numbers of thousands of digits and lists thousands deep are beyond Python, and are no recipe.
    except (OSError, ValueError, RecursionError) as error:
        raise RecipeError(f"{path}: cannot be read as TOML: {error}.") from error


def _put(values: dict[str, Any], key: str, value: Any, problems: list[str]) -> None:
    """Puts a value under a dotted key, making tables on the way."""
    parts = key.split(".")
    place: Any = values
    for depth, part in enumerate(parts):
        at: Any = part
        if isinstance(place, list):
            at = int(part) if part.isdecimal() else -1
            if not 0 <= at < len(place):
                valid = f"0 to {len(place) - 1}" if place else "none"
                where = ".".join(parts[:depth])
                problems.append(f"{key}: {where} has {len(place)} entries ({valid}), not {part!r}.")
                return
        elif not isinstance(place, dict):
            problems.append(f"{key}: {'.'.join(parts[:depth])} is no table.")
            return
        if depth == len(parts) - 1:
            place[at] = value
        elif isinstance(place, dict):
            # A number stands for an entry of a list, here of one that has none.
            place = place.setdefault(at, [] if parts[depth + 1].isdecimal() else {})
        else:
            place = place[at]


def _toml_value(text: str) -> Any:
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except (ValueError, RecursionError):
        return text


def from_dict(values: Mapping[str, Any], where: str) -> Recipe:
    """Builds a recipe from plain values and validates it.

    Raises:
        RecipeError: Naming every key that is unknown or of the wrong type, and every value that
            does not hold.
    """
    problems: list[str] = []
    recipe = _build(Recipe, values, "", problems)
    assert isinstance(recipe, Recipe)
    # What has the wrong type stands at its default, so all that is right in type is checked too.
    # But what stands there instead is not found fault with.
    named = tuple(f"{problem.split()[0]}{end}" for problem in problems for end in ". ")
    raise_all(
        RecipeError,
        where,
        problems + [one for one in problems_of(recipe) if not one.startswith(named)],
    )
    return recipe


@contextmanager
def named(name: str | None) -> Iterator[None]:
    """Puts a recipe's file before errors on its keys that show only when the network is open.

    Args:
        name: As for `load`; None for options alone.
    """
    try:
        yield
    except (RecipeError, LineError) as error:
        if name and name not in builtin() and _KEY.match(str(error)):
            raise type(error)(f"{name}: {error}") from error
        raise


def to_dict(recipe: Recipe) -> dict[str, Any]:
    """Returns plain values, of which `from_dict` makes the recipe again."""
    made: dict[str, Any] = _plain(dataclasses.asdict(recipe))
    return made


def to_toml(recipe: Recipe) -> str:
    """Returns the recipe as TOML with every default written out."""
    import tomli_w

    return tomli_w.dumps(to_dict(recipe))


def write(recipe: Recipe, path: Path) -> None:
    """Writes `to_toml(recipe)` atomically."""
    write_text(path, to_toml(recipe))


def differences(one: Recipe, other: Recipe) -> list[str]:
    """Returns the keys in which two recipes differ, each with both values."""
    flat = [dict(_flat(to_dict(recipe))) for recipe in (one, other)]
    keys = dict.fromkeys((*flat[0], *flat[1]))

    def said(values: Mapping[str, Any], key: str) -> str:
        return repr(values[key]) if key in values else "not set"

    return [
        f"{key}: {said(flat[0], key)} and {said(flat[1], key)}"
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
    """Turns tuples into lists and leaves out what is None, which TOML cannot say."""
    if isinstance(value, dict):
        return {key: _plain(part) for key, part in value.items() if part is not None}
    return [_plain(part) for part in value] if isinstance(value, list | tuple) else value


def _build(kind: type, values: Mapping[str, Any], at: str, problems: list[str]) -> Any:
    hints = get_type_hints(kind)
    known = [item.name for item in dataclasses.fields(kind)]
    arguments: dict[str, Any] = {}
    for key, value in values.items():
        if key not in known:
            meant = did_you_mean(key, known) if at else _meant(key, known)
            problems.append(f"{at}{key} is no key of a recipe.{meant}")
            continue
        built = _value(hints[key], value, f"{at}{key}", problems)
        if built is not None:
            arguments[key] = built
    return kind(**arguments)


def _meant(key: str, known: Iterable[str]) -> str:
    """Returns where a key stands that was written without its table, or what comes near."""
    homes = []
    for name, hint in get_type_hints(Recipe).items():
        inner = get_args(hint)[0] if get_origin(hint) is tuple else hint
        if key in getattr(inner, "__dataclass_fields__", {}):
            homes.append(f"{name}.{key}" if inner is hint else f"{name}.0.{key}")
    return f" Did you mean {', '.join(homes)}?" if homes else did_you_mean(key, known)


def _value(hint: Any, value: Any, at: str, problems: list[str]) -> Any:
    """Returns the value as the recipe holds it, or None where it has the wrong type."""
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
    # Something stands for what is wrong, or what follows it would be told under another number.
    return tuple(item() if part is None else part for part in built)


_TYPES = {int: "a whole number", float: "a number", str: "text", bool: "true or false"}
