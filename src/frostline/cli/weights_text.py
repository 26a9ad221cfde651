"""What is told of a weights file, as lines of text."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from frostline.networks.weights_files.inspection import DIGESTED_BYTES, Inspection, Row

_BAR_CHARACTERS = 40
_SHOWN_OPERATIONS = 12
_MOST_FACT_CHARACTERS = 100
_UNITS = ("B", "KiB", "MiB", "GiB", "TiB")


def head(found: Inspection) -> Iterator[str]:
    """Yields what the file is, and what it says of itself."""
    yield f"{plain(found.path)}: {plain(found.what)}"
    for key, value in found.metadata.items():
        told = _fact(value)
        if told and len(told) <= _MOST_FACT_CHARACTERS:
            yield f"{plain(key)}: {plain(told)}"
    yield ""


def foot(found: Inspection) -> Iterator[str]:
    """Yields totals, the graph in short, digests and notes."""
    kinds = found.totals["kinds"]
    yield ""
    yield _sums(found.totals)
    if len(kinds) > 1:
        yield from (f"  {plain(kind)}: {_sums(one)}" for kind, one in kinds.items())
    if found.graph is not None:
        yield from _graph(found.graph)
    files = len(found.files)
    size = sum(file["bytes"] for file in found.files)
    yield f"files: {files}, {_bytes(size)}"
    if found.digest:
        yield f"sha256: {found.digest}"
    else:
        yield f"sha256: not computed above {_bytes(DIGESTED_BYTES)}; sha256sum does it"
    yield f"layout: {found.layout}"
    yield from (f"note: {plain(note)}" for note in found.notes)


def table(rows: Sequence[Row]) -> Iterator[str]:
    """Yields one line a tensor."""
    cells = [["tensor", "shape", "type", "numbers", "bytes", ""]]
    cells += [
        [
            *(plain(row.name), shape(row.shape), row.dtype),
            *(f"{row.numbers:,}", f"{row.stored_bytes:,}", _about(row)),
        ]
        for row in rows
    ]
    widths = [max(len(line[i]) for line in cells) for i in range(len(cells[0]))]
    for line in cells:
        aligned = [
            cell.rjust(width) if i in (3, 4) else cell.ljust(width)
            for i, (cell, width) in enumerate(zip(line, widths, strict=True))
        ]
        yield "  ".join(aligned).rstrip()


def tree(rows: Sequence[Row]) -> Iterator[str]:
    """Yields tensors as a tree of the parts of their names, with the numbers in each branch."""
    separator = "/" if any("/" in row.name for row in rows) else "."
    root: dict[str, Any] = {}
    for row in rows:
        *above, last = row.name.split(separator)
        branch = root
        for part in above:
            # A tensor may bear the name of a branch; then it stands within, under an empty name.
            below = branch.setdefault(part, {})
            if isinstance(below, Row):
                below = branch[part] = {"": below}
            branch = below
        if isinstance(branch.get(last), dict):
            branch[last][""] = row
        else:
            branch[last] = row
    yield from _branch(root, "", separator)


def _branch(branch: Mapping[str, Any], indent: str, separator: str) -> Iterator[str]:
    for i, (name, below) in enumerate(branch.items()):
        ends = i == len(branch) - 1
        # A branch with one entry takes no line of its own.
        while isinstance(below, dict) and len(below) == 1:
            (part, inner), *_ = below.items()
            name, below = (f"{name}{separator}{part}" if part else name), inner
        stem = f"{indent}{'└── ' if ends else '├── '}{plain(name)}"
        if isinstance(below, Row):
            yield f"{stem}  {shape(below.shape)} {below.dtype}"
        else:
            yield f"{stem}  {_numbers(below):,}"
            yield from _branch(below, indent + ("    " if ends else "│   "), separator)


def _numbers(branch: Mapping[str, Any]) -> int:
    return sum(
        below.numbers if isinstance(below, Row) else _numbers(below) for below in branch.values()
    )


def histogram(found: Mapping[str, Any]) -> Iterator[str]:
    """Yields a tensor's values as bars."""
    yield f"{plain(found['name'])}: {shape(found['shape'])} {found['dtype']}"
    told = {key: found[key] for key in ("min", "max", "mean", "std") if found[key] is not None}
    told |= {"zeros": found["zeros"], "not finite": found["count"] - found["finite"]}
    yield "  ".join(f"{key} {value:.6g}" for key, value in told.items())
    most = max(found["counts"], default=0)
    edges = found["edges"]
    for low, high, count in zip(edges, edges[1:], found["counts"], strict=False):
        bar = "█" * round(_BAR_CHARACTERS * count / most) if most else ""
        yield f"{low:>12.5g} … {high:>12.5g}  {count:>10,}  {bar}".rstrip()


def shape(axes: Sequence[int | None] | None) -> str:
    """Returns a shape as text; an axis of unknown length as a question mark."""
    if axes is None:
        return "?"
    return " × ".join("?" if axis is None else str(axis) for axis in axes) or "scalar"


def plain(text: str) -> str:
    """Returns a text from a file so that it cannot steer a terminal."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def _about(row: Row) -> str:
    parts = []
    if row.quantisation is not None:
        scales, axis = row.quantisation["scale"], row.quantisation["axis"]
        if axis is None:
            parts.append(f"scale {scales[0]:.4g}, zero {row.quantisation['zero_point'][0]:g}")
        else:
            parts.append(f"{len(scales)} scales along axis {axis}")
    if name := row.attributes.get("full_name"):
        parts.append(plain(str(name)))
    if kind := row.attributes.get("kind"):
        parts.append(plain(str(kind)))
    return "; ".join(parts)


def _fact(value: Any) -> str:
    if isinstance(value, Mapping):
        simple = all(isinstance(one, (str, int, float, bool)) for one in value.values())
        return ", ".join(f"{key} {one}" for key, one in value.items()) if simple else ""
    if isinstance(value, (list, tuple)):
        return ", ".join(map(str, value))
    return "" if value is None else str(value)


def _graph(found: Mapping[str, Any]) -> Iterator[str]:
    operations = found["operations"]
    shown = list(operations.items())[:_SHOWN_OPERATIONS]
    told = ", ".join(f"{count} {plain(name)}" for name, count in shown)
    more = (
        f", and {len(operations) - len(shown)} other kinds" if len(operations) > len(shown) else ""
    )
    yield f"graph: {sum(operations.values())} nodes: {told}{more}"
    if found["functions"]:
        yield f"  functions: {len(found['functions'])}"
    for key in ("inputs", "outputs"):
        for port in found[key][:_SHOWN_OPERATIONS]:
            label = f" ({plain(port['label'])})" if port["label"] else ""
            kind = f" {port['dtype']}" if port["dtype"] else ""
            yield f"  {key[:-1]}: {plain(port['name'])}{label} {shape(port['shape'])}{kind}"


def _sums(found: Mapping[str, int]) -> str:
    tensors = "tensor" if found["tensors"] == 1 else "tensors"
    return f"{found['tensors']:,} {tensors}, {found['numbers']:,} numbers, {_bytes(found['bytes'])}"


def _bytes(size: float) -> str:
    for unit in _UNITS[:-1]:
        if size < 1024:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1024
    return f"{size:.1f} {_UNITS[-1]}"
