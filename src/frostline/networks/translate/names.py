"""Names of layers that a module can have: those of the source, where they can be.

torch.fx writes them into the code of a network's `forward` as they are.
"""

import keyword
import re
from functools import cache

from torch import fx, nn

# A dot goes into a part. Quotes, backslashes and line breaks would end a text in code.
_UNSAFE = re.compile(r"[\"'\\.\x00-\x1f\x7f-\x9f\u2028\u2029]")
_MOST_CHARACTERS = 200


def safe_name(name: str) -> str:
    """Returns a name that a module can have, as near to `name` as can be.

    Args:
        name: A layer's in its source. What Python or `nn.Module` needs for itself gets `_` behind.
    """
    plain = _UNSAFE.sub("_", name)[:_MOST_CHARACTERS] or "_"
    return f"{plain}_" if plain in _taken() or keyword.iskeyword(plain) else plain


def is_safe(path: str) -> bool:
    """Tells whether a path, of names with dots between them, can stand in a network's code."""
    return all(part == safe_name(part) for part in path.split("."))


@cache
def _taken() -> frozenset[str]:
    """What a module has already, under names that a layer could have."""
    return frozenset((*dir(nn.Module()), *dir(fx.GraphModule)))
