"""What is said where a library refuses the arguments of a network."""

import re
from collections.abc import Mapping
from typing import Any

from frostline.base.errors import BackboneError

_UNKNOWN_ARGUMENT = re.compile(r"unexpected keyword argument '(\w+)'")


def refused_arguments(where: str, arguments: Mapping[str, Any], error: Exception) -> BackboneError:
    """Returns the error for a network that its library cannot build with these arguments."""
    unknown = _UNKNOWN_ARGUMENT.search(str(error))
    if unknown is not None:
        return BackboneError(f"{where}: the architecture takes no argument {unknown[1]!r}.")
    reason = " ".join(line.strip() for line in str(error).splitlines()[:2])[:200]
    given = ", ".join(f"{key}={value!r}" for key, value in arguments.items())
    return BackboneError(
        f"{where}: the architecture cannot be built with {given or 'this configuration'} "
        f"({type(error).__name__}: {reason})."
    )
