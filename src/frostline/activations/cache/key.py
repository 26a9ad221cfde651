"""What a cache is a cache of: everything that changes the bytes, and nothing else.

Labels, splits, file names and order are in no key, so renaming, relabelling, re-splitting or
adding images recomputes nothing that is still true.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from frostline.base.files import DIGEST_HEX, digest, digest_json

FORMAT = 1


@dataclass(frozen=True)
class CacheKey:
    """Names one set of activations.

    Attributes:
        architecture: The network's name; words for people, and part of the key.
        line: The node below which the prefix lies.
        prefix: Digest of the prefix: its code, its layers' settings, its weights and buffers.
        preprocessing: The record that made the images into input.
        views: The version of the code that makes views.
        compute: How the prefix was run, such as `eager-bf16`.
        storage: The type activations are stored in, such as `bfloat16`.
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
        """The key's name: 40 hex digits."""
        return digest_json(self.facts())

    def folder(self, cache: Path) -> Path:
        """Returns where in the cache the chunks lie, named so that a person can find them."""
        plain = "".join(c if c.isalnum() else "-" for c in f"{self.architecture}-{self.line}")
        return cache / f"{plain[:80].strip('-')}-{self.digest[:16]}"


def row_id(content: str, view: str) -> bytes:
    """Returns the identity of one activation: the image's content and the view of it.

    Args:
        content: The digest of the file's bytes.
        view: The view's name, such as `center`.
    """
    return bytes.fromhex(digest(content.encode(), view.encode()))


ROW_ID_BYTES = DIGEST_HEX // 2
