"""Atomic writes, content digests and file locks."""

import contextlib
import errno
import hashlib
import json
import os
import re
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from frostline.base.errors import DiskError, RunError
from frostline.base.locks import try_lock

if TYPE_CHECKING:
    from torch import Tensor, nn

DIGEST_HEX = 40
_OS_ERROR = re.compile(r"os error (\d+)")
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


def digest(*parts: bytes | memoryview) -> str:
    """Returns the SHA-256 of `parts`, each preceded by its length, as its first 40 hex digits."""
    state = hashlib.sha256()
    for part in parts:
        view = memoryview(part)
        state.update(view.nbytes.to_bytes(8, "little"))
        state.update(view)
    return state.hexdigest()[:DIGEST_HEX]


def digest_file(path: Path) -> str:
    """Returns what `digest` says of a file's content, without holding it in memory.

    Raises:
        OSError: Where it cannot be read.
    """
    with path.open("rb") as file:
        state = hashlib.sha256(os.fstat(file.fileno()).st_size.to_bytes(8, "little"))
        while part := file.read(1 << 20):
            state.update(part)
    return state.hexdigest()[:DIGEST_HEX]


def digest_json(value: Any) -> str:
    """Returns the digest of a JSON value, independent of the order of keys."""
    return digest(json.dumps(value, sort_keys=True, separators=(",", ":")).encode())


def tensors_digest(module: "nn.Module", *parts: bytes) -> str:
    """Returns the digest of `parts` and of all parameters and buffers of a module.

    Not of its state dict, which lacks non-persistent buffers.
    """
    import torch

    tensors = {**dict(module.named_parameters()), **dict(module.named_buffers())}
    content: list[bytes | memoryview] = list(parts)
    for name in sorted(tensors):
        tensor = tensors[name].detach().cpu().contiguous()
        content.append(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        content.append(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest(*content)


def write_atomic(path: Path, write: Callable[[Path], None]) -> None:
    """Lets `write` fill a temporary file beside `path`, then renames it to `path`.

    The file and its folder are synced to disk, so after a crash `path` has the old content or the
    new, never a part of it.

    Args:
        path: The file to write.
        write: Called with the temporary path; it must have closed the file when it returns.

    Raises:
        DiskError: If the disk is full or the write fails; the file at `path` is then unchanged.
    """
    temporary = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=".", suffix=".part", dir=path.parent)
        os.close(handle)
        temporary = Path(name)
        write(temporary)
        _sync(temporary)
        # mkstemp makes files that only their owner can read.
        temporary.chmod(0o666 & ~_umask())
        temporary.replace(path)
        _sync(path.parent)
    except OSError as error:
        raise disk_error(error, path) from error
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Writes `text` as UTF-8, atomically; undecodable bytes of file names are written unchanged."""
    data = text.encode("utf-8", "surrogateescape")

    def write(temporary: Path) -> None:
        temporary.write_bytes(data)

    write_atomic(path, write)


def write_json(path: Path, value: Any) -> None:
    """Writes `value` as indented JSON, atomically.

    File names that are not UTF-8 are escaped, so the file is always UTF-8 and reads back the same.
    """
    text = json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False)
    if not is_unicode(text):
        text = json.dumps(value, indent=2, ensure_ascii=True, allow_nan=False)
    write_text(path, text + "\n")


def save_tensors(
    path: Path, tensors: "dict[str, Tensor]", metadata: dict[str, str] | None = None
) -> None:
    """Writes a safetensors file; for use with `write_atomic`.

    Args:
        path: The file to write.
        tensors: By name; contiguous, and without shared memory.
        metadata: Texts for its header.

    Raises:
        OSError: If the disk is full or the write fails.
    """
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    try:
        save_file(tensors, path, metadata=metadata)
    except SafetensorError as error:
        # A full disk shows only in its message: "... (os error 28)".
        number = _OS_ERROR.search(str(error))
        if number is None:
            raise
        raise OSError(int(number[1]), os.strerror(int(number[1]))) from error


def disk_error(error: OSError, path: Path) -> DiskError:
    """Returns the error to raise after writing `path` failed with `error`."""
    if error.errno in _FULL:
        return DiskError(
            f"{path}: the disk is full; what was finished before is kept. "
            "Make room, or name another place, and run the same command again."
        )
    return DiskError(
        f"{path}: cannot be written: {error.strerror or error}. "
        "Name another place, or change what stands in the way."
    )


@contextlib.contextmanager
def locked(path: Path, holder: str) -> Iterator[None]:
    """Holds an exclusive lock on the file `path` while the block runs.

    The operating system releases it when the process ends, in whatever way.

    Args:
        path: The lock file; created if absent.
        holder: What the lock protects, for the message.

    Raises:
        RunError: If another process holds the lock.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    except OSError as error:
        raise disk_error(error, path) from error
    try:
        if not try_lock(handle):
            raise RunError(
                f"{holder}: in use by another process. Wait for it to end, or choose another --out."
            )
        yield
    finally:
        os.close(handle)


def is_unicode(text: str) -> bool:
    """Tells whether `text` can be encoded: a file name may contain undecodable bytes."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _sync(path: Path) -> None:
    if sys.platform == "win32" and path.is_dir():  # Windows syncs names with their files.
        return
    handle = os.open(path, os.O_RDONLY if sys.platform != "win32" else os.O_RDWR)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
