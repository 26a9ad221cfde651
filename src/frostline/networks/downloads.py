"""What a network's download is, and what to say where it is not here and cannot be fetched."""

import shlex
from dataclasses import dataclass

from huggingface_hub import errors as hub_errors

from frostline.base.errors import DownloadError
from frostline.networks.builtin_networks import FALLBACK

_CLIENTS = {"huggingface_hub", "httpx", "httpx2", "requests", "urllib3"}


@dataclass(frozen=True)
class Download:
    """The weights file of a network, wherever it lies.

    Attributes:
        source: Who keeps it, such as the Hugging Face hub.
        size_bytes: Of the file; 0 where it is not known.
        here: Whether it is on this machine already.
    """

    source: str
    size_bytes: int
    here: bool


def not_downloaded(where: str, error: Exception, about_bytes: int = 0) -> DownloadError:
    """Returns the error for weights that are not here and cannot be fetched.

    Args:
        where: The backbone's name.
        error: What went wrong.
        about_bytes: How large the download is; 0 where that is not known.
    """
    size = f" (about {megabytes(about_bytes)})" if about_bytes else ""
    return DownloadError(
        f"{where}{size} is not on this machine and could not be downloaded ({_reason(error)})",
        f"With a connection, once: frostline backbones get {shlex.quote(where)}. From another "
        "machine: the same there with --out FOLDER, bring FOLDER here, and name it with "
        f"--backbone dir:FOLDER. Without any: --backbone {FALLBACK} ships with Frostline, and "
        "frostline demo shows the way.",
    )


def megabytes(count: int) -> str:
    """Returns a size in MB (10⁶ bytes), with a decimal where it is small."""
    return f"{count / 1e6:.1f} MB" if count < 9.95e6 else f"{count / 1e6:,.0f} MB"


def is_connection(error: BaseException) -> bool:
    """Whether an error tells of the network, or of the hub, rather than of a fault here."""
    return isinstance(error, OSError) or type(error).__module__.partition(".")[0] in _CLIENTS


def _reason(error: Exception) -> str:
    if isinstance(error, hub_errors.OfflineModeIsEnabled):
        return "offline mode is on, HF_HUB_OFFLINE is set"
    lines = str(error).splitlines()
    return f"{type(error).__name__}: {lines[0][:160]}" if lines else type(error).__name__
