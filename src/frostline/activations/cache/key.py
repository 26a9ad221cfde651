"""The cache key: everything that changes the bytes of an activation, and nothing else.

Labels, splits, file names and order are not part of it, so renaming, relabelling, re-splitting or
adding images recomputes nothing that is still valid.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from frostline.base.files import DIGEST_HEX, digest, digest_json

FORMAT = 1


@dataclass(frozen=True)
class CacheKey:
    """Identifies one set of activations.

    Attributes:
        architecture: The network's name, readable and part of the key.
        line: The graph node at which the network is cut.
        prefix: Digest of the prefix: its code, its layers' settings, its weights and buffers.
        preprocessing: How images become the network's input.
        views: The version of the code that decodes images and makes views.
        compute: The engine that ran the prefix, such as `eager-cpu-bfloat16-folded`.
        storage: The type in which activations are stored, such as `bfloat16`.
        shape: Of one image's activation.
    """

    architecture: str
    line: str
    prefix: str
    preprocessing: Mapping[str, Any]
    views: str
    compute: str
    storage: str
    shape: tuple[int, ...]

    def facts(self) -> dict[str, Any]:
        """Returns the key as plain JSON values."""
        return {"format": FORMAT, **asdict(self), "shape": list(self.shape)}

    @property
    def digest(self) -> str:
        """The digest that names the key: 40 hex digits."""
        return digest_json(self.facts())

    def folder(self, cache: Path) -> Path:
        """Returns the key's folder in the cache, with a name that people can recognise."""
        plain = "".join(c if c.isalnum() else "-" for c in f"{self.architecture}-{self.line}")
        return cache / f"{plain[:80].strip('-')}-{self.digest[:16]}"


def row_id(content: str, view: str) -> bytes:
    """Returns the id of one activation, made from the image's content and the view.

    Args:
        content: The digest of the file's bytes.
        view: The view's name, such as `center`.
    """
    return bytes.fromhex(digest(content.encode(), view.encode()))


ROW_ID_BYTES = DIGEST_HEX // 2
