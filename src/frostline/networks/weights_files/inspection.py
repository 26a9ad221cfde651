"""What is told of a weights file, in plain values: they go from process to process as JSON."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

# Larger files are read in parts only: a digest would be most of the time.
DIGESTED_BYTES = 1 << 30


@dataclass(frozen=True)
class Row:
    """One array, as it is told.

    Attributes:
        name: Its name in the file.
        shape: Its axes.
        dtype: The type it is stored in.
        numbers: How many it has.
        stored_bytes: What it takes in the file.
        quantisation: `scale`, `zero_point` and `axis`, where integers stand for numbers.
        attributes: What else the file says of it.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    numbers: int
    stored_bytes: int
    quantisation: Mapping[str, Any] | None = None
    attributes: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Inspection:
    """A weights file, looked into.

    Attributes:
        path: What was asked for.
        format: Its format's name.
        what: What it is, and how to open it, in one sentence.
        files: All files it is made of, each with its size in bytes.
        metadata: What it says of itself.
        totals: `tensors`, `numbers` and `bytes` of all arrays; `kinds` has them by kind, where the
            file tells weights from constants or an optimiser's state.
        layout: A digest of all names, types and shapes: equal for two files of one architecture.
        tensors: Those that were asked for.
        graph: `nodes`, `operations` (how many of each), `inputs`, `outputs`, `functions`; None
            where the file holds no graph.
        histogram: Of the tensor that was asked for; see `histogram_of`.
        notes: What a reader should know.
        digest: The SHA-256 of its bytes, see `digest_of`; empty where these are more than
            `DIGESTED_BYTES`, or nobody asked.
    """

    path: str
    format: str
    what: str
    files: Sequence[Mapping[str, Any]]
    metadata: Mapping[str, Any]
    totals: Mapping[str, Any]
    layout: str
    tensors: Sequence[Row]
    graph: Mapping[str, Any] | None
    histogram: Mapping[str, Any] | None
    notes: Sequence[str]
    digest: str = ""


def to_json(found: Inspection) -> dict[str, Any]:
    """Returns an inspection as plain tables and lists."""
    return asdict(found)


def from_json(said: Mapping[str, Any]) -> Inspection:
    """Returns the inspection that `to_json` made a table of."""
    rows = [Row(**{**row, "shape": tuple(row["shape"])}) for row in said["tensors"]]
    return Inspection(**{**said, "tensors": rows})


def digest_of(files: Sequence[Path]) -> str:
    """Returns the SHA-256 of a file's bytes; of several, that of their digests and names in order.

    One file's is what `sha256sum` prints. For several, the SHA-256 is taken of one line each,
    `DIGEST  NAME`, sorted by name, as `sha256sum` writes them.
    """
    digests = {}
    for file in files:
        with file.open("rb") as opened:
            digests[file.name] = hashlib.file_digest(opened, "sha256").hexdigest()
    if len(digests) == 1:
        return next(iter(digests.values()))
    lines = [f"{digests[name]}  {name}\n" for name in sorted(digests)]
    return hashlib.sha256("".join(lines).encode("utf-8", "surrogateescape")).hexdigest()
