"""Looking into a weights file, in this process."""

import fnmatch
import hashlib
import json
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from frostline.base.errors import WeightsError, did_you_mean
from frostline.networks.weights_files.description import describe
from frostline.networks.weights_files.formats import open_file
from frostline.networks.weights_files.inspection import Inspection, Row
from frostline.networks.weights_files.records import Graph, Port, Quantisation, Tensor, WeightsFile

# Checksums that a format keeps beside its arrays are verified up to so many bytes of arrays.
VERIFIED_BYTES = 64 << 20
_CHECKED = ("tf_checkpoint", "meta_graph", "saved_model")
_BINS = 40
_MOST_SHOWN = 400


def inspect(path: Path, only: str = "", histogram: str = "") -> Inspection:
    """Looks into a weights file, in this process; see `guarded.inspect`.

    Args:
        path: The file, or the folder of one.
        only: Part of a name, or a pattern with `*` and `?`: which tensors to list.
        histogram: The name of a tensor to count the values of.

    Raises:
        WeightsError: Where it cannot be read safely, or a name is not there.
    """
    found = open_file(path)
    notes = [*found.notes, *_verified(found)]
    rows = [_row(one) for one in found.tensors.values()]
    return Inspection(
        path=str(path),
        format=found.format,
        what=describe(found),
        files=[{"name": str(file), "bytes": file.stat().st_size} for file in found.files],
        metadata=_plain(found.metadata),
        totals=_totals(found),
        layout=_layout(rows),
        tensors=_chosen(path, rows, only),
        graph=_graph(found.graph) if found.graph else None,
        histogram=histogram_of(_named(found, histogram)) if histogram else None,
        notes=notes,
    )


def histogram_of(tensor: Tensor) -> dict[str, Any]:
    """Counts a tensor's values, dequantised, in bins of equal width.

    Returns:
        `name`, `dtype`, `shape`; `count`, `finite`, `zeros`; `min`, `max`, `mean` and `std` of the
        finite ones, None where there are none; `edges` and `counts`.

    Raises:
        WeightsError: Where it cannot be read, or holds no real numbers.
    """
    if tensor.dtype in ("string", "resource", "variant") or tensor.dtype.startswith("complex"):
        raise WeightsError(f"{tensor.name}: {tensor.dtype} values have no histogram.")
    values = tensor.values().reshape(-1)
    finite = values[np.isfinite(values)] if values.dtype.kind == "f" else values
    some = bool(finite.size)
    # The sums are of doubles, or large tensors of half precision would overflow.
    mean = _finite(float(finite.mean(dtype=np.float64))) if some else None
    low, high = (float(finite.min()), float(finite.max())) if some else (0.0, 0.0)
    if not math.isfinite(high - low):
        raise WeightsError(f"{tensor.name}: values from {low:g} to {high:g} have no histogram.")
    wide = finite.astype(np.float32) if values.dtype == np.float16 else finite
    counts, edges = np.histogram(wide, bins=_BINS, range=(low, high) if low < high else None)
    return {
        "name": tensor.name,
        "dtype": tensor.dtype,
        "shape": tensor.shape,
        "count": int(values.size),
        "finite": int(finite.size),
        "zeros": int((finite == 0).sum()),
        "min": low if some else None,
        "max": high if some else None,
        "mean": mean,
        "std": _finite(float(finite.std(dtype=np.float64))) if some else None,
        "edges": [float(edge) for edge in edges],
        "counts": [int(count) for count in counts],
    }


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _verified(found: WeightsFile) -> list[str]:
    """Reads all arrays of formats that keep checksums, where that takes no time."""
    if found.format not in _CHECKED:
        return []
    held = [one for one in found.tensors.values() if one.attributes.get("kind") != "constant"]
    if sum(one.stored_bytes for one in held) > VERIFIED_BYTES:
        return [f"Checksums are not verified: more than {VERIFIED_BYTES >> 20} MiB."]
    for one in held:
        one.array()
    return []


def _row(tensor: Tensor) -> Row:
    how = None if tensor.quantisation is None else _quantisation(tensor.quantisation)
    about = _plain(tensor.attributes)
    numbers = 0 if tensor.dtype in ("string", "variant", "resource") else tensor.size
    return Row(tensor.name, tensor.shape, tensor.dtype, numbers, tensor.stored_bytes, how, about)


def _quantisation(how: Quantisation) -> dict[str, Any]:
    told = {"scale": how.scale, "zero_point": how.zero_point, "axis": how.axis}
    return {key: _plain(value) for key, value in told.items()}


def _chosen(path: Path, rows: Sequence[Row], only: str) -> list[Row]:
    if not only:
        return list(rows)
    wanted = only.lower() if set(only) & set("*?[") else f"*{only.lower()}*"
    chosen = [row for row in rows if fnmatch.fnmatchcase(row.name.lower(), wanted)]
    if not chosen:
        close = did_you_mean(only, [row.name for row in rows])
        raise WeightsError(f"{path}: --only {only}: no tensor of that name.{close}")
    return chosen


def _named(found: WeightsFile, name: str) -> Tensor:
    if name not in found.tensors:
        close = did_you_mean(name, found.tensors) or " `--only` finds names by a part."
        raise WeightsError(f"{found.path}: --histogram {name}: no tensor of that name.{close}")
    return found.tensors[name]


def _totals(found: WeightsFile) -> dict[str, Any]:
    rows = [(str(one.attributes.get("kind") or "weights"), one) for one in found.tensors.values()]
    kinds = {}
    for kind in dict.fromkeys(kind for kind, _ in rows):
        kinds[kind] = _sums([one for own, one in rows if own == kind])
    return {**_sums([one for _, one in rows]), "kinds": kinds}


def _sums(tensors: Sequence[Tensor]) -> dict[str, int]:
    rows = [_row(one) for one in tensors]
    return {
        "tensors": len(rows),
        "numbers": sum(row.numbers for row in rows),
        "bytes": sum(row.stored_bytes for row in rows),
    }


def _layout(rows: Sequence[Row]) -> str:
    table = sorted((row.name, row.dtype, list(row.shape)) for row in rows)
    return hashlib.sha256(json.dumps(table).encode()).hexdigest()


def _graph(graph: Graph) -> dict[str, Any]:
    nodes = [
        {
            "name": node.name,
            "op": node.op,
            "inputs": node.inputs,
            "outputs": node.outputs,
            "attributes": _plain(node.attributes),
        }
        for node in graph.nodes
    ]
    return {
        "operations": dict(Counter(node.op for node in graph.nodes).most_common()),
        "inputs": [_port(port) for port in graph.inputs],
        "outputs": [_port(port) for port in graph.outputs],
        "nodes": nodes,
        "functions": {name: _graph(one) for name, one in graph.functions.items()},
    }


def _port(port: Port) -> dict[str, Any]:
    how = None if port.quantisation is None else _quantisation(port.quantisation)
    said = {"name": port.name, "shape": port.shape, "dtype": port.dtype, "label": port.label}
    return {**said, "quantisation": how}


def _plain(value: Any) -> Any:
    """Returns a value as JSON has it; arrays and graphs among attributes are told in words."""
    if isinstance(value, Mapping):
        return {str(key): _plain(one) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(one) for one in value]
    if isinstance(value, bytes):
        text = value.decode("utf-8", "backslashreplace")
        return text if len(text) <= _MOST_SHOWN else f"{len(value)} bytes"
    if isinstance(value, Tensor):
        return f"{value.dtype}{list(value.shape)} {value.name}".rstrip()
    if isinstance(value, Graph):
        return f"a graph of {len(value.nodes)} nodes"
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value if isinstance(value, (str, bool, int, float, type(None))) else str(value)
