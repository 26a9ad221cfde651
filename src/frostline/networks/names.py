"""Names of backbones: `KIND:NAME[?key=value&…]`, read and written.

This module knows no kind of network; it is told how the names of each kind are written.
"""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from frostline.base.errors import BackboneError, did_you_mean

_WORDS: Mapping[str, bool | None] = {"true": True, "false": False, "none": None}
_INT = re.compile(r"[+-]?\d+")
_FLOAT = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?", re.IGNORECASE)
_QUERY = re.compile(r"[A-Za-z_]\w*=[^&=]*(&[A-Za-z_]\w*=[^&=]*)*")
_PATH_STARTS = ("/", "./", "../", "~")


@dataclass(frozen=True)
class BackboneName:
    """A parsed name; `str()` gives its canonical form, with the arguments in order.

    Attributes:
        kind: What stands before the colon.
        path: What stands between the colon and the question mark; absolute where it is a path.
        arguments: The arguments that the name gives.
        pretrained: False where the name asks for random weights.
    """

    kind: str
    path: str
    arguments: Mapping[str, Any] = field(default_factory=dict)
    pretrained: bool = True

    def __str__(self) -> str:
        parts = [f"{key}={_written(self.arguments[key])}" for key in sorted(self.arguments)]
        parts += [] if self.pretrained else ["pretrained=false"]
        query = "?" + "&".join(parts) if parts else ""
        return f"{self.kind}:{self.path}{query}"


@dataclass(frozen=True)
class NameForm:
    """How the names of one kind are written.

    Attributes:
        example: A whole name, for messages.
        path: Whether what follows the colon is a path on this machine: `sometimes` where a name
            is as good, and a path is what exists or begins like one.
    """

    example: str
    path: Literal["never", "sometimes", "always"] = "never"

    def is_path(self, text: str) -> bool:
        """Tells whether `text`, from behind the colon, is a path on this machine."""
        if self.path == "sometimes":
            return text.startswith(_PATH_STARTS) or Path(text).exists()
        return self.path == "always"


def parse(name: str, forms: Mapping[str, NameForm]) -> BackboneName:
    """Reads `KIND:NAME[?key=value&…]`.

    Values are read as whole number, decimal number, true, false, none, or else as text. The key
    `pretrained` is no argument: `pretrained=false` asks for random weights.

    Args:
        name: What was written.
        forms: How the names of each known kind are written.

    Raises:
        BackboneError: Where the kind is unknown, or the arguments are not `key=value`; with the
            name that was probably meant.
    """
    kind, _, rest = name.partition(":")
    if kind not in forms:
        raise BackboneError(
            f"{name}: unknown kind {kind!r}; known are {', '.join(forms)}."
            + did_you_mean(kind, forms)
        )
    form = forms[kind]
    path, query = _split(form, rest, name)
    if not path:
        raise BackboneError(f"{name}: a name must follow {kind!r}, such as {form.example}.")
    arguments = _arguments(query, name)
    pretrained = arguments.pop("pretrained", True)
    if not isinstance(pretrained, bool):
        raise BackboneError(f"{name}: pretrained must be true or false, not {pretrained!r}.")
    if form.is_path(path):
        path = os.path.abspath(os.path.expanduser(path))  # noqa: PTH100, PTH111 (keeps `..` of links)
    return BackboneName(kind, path, arguments, pretrained)


def _split(form: NameForm, rest: str, name: str) -> tuple[str, str]:
    path, mark, query = rest.rpartition("?")
    if form.is_path(path if mark else rest) or form.is_path(rest):
        # A folder's own name may hold a question mark; arguments are what reads as arguments.
        return (path, query) if mark and _QUERY.fullmatch(query) else (rest, "")
    path, mark, query = rest.partition("?")
    if mark and not _QUERY.fullmatch(query):
        raise BackboneError(
            f"{name}: after the question mark must stand key=value, joined by &; got {query!r}."
        )
    return path, query


def _arguments(query: str, name: str) -> dict[str, Any]:
    arguments: dict[str, Any] = {}
    for part in query.split("&") if query else []:
        key, _, value = part.partition("=")
        if key in arguments:
            raise BackboneError(f"{name}: the argument {key!r} is given twice.")
        arguments[key] = _value(value)
    return arguments


def _value(text: str) -> Any:
    if text.lower() in _WORDS:
        return _WORDS[text.lower()]
    if _INT.fullmatch(text):
        return int(text)
    return float(text) if _FLOAT.fullmatch(text) else text


def _written(value: Any) -> str:
    words = {True: "true", False: "false", None: "none"}
    return words[value] if value is None or isinstance(value, bool) else str(value)
