"""What to say when weights are not on this machine and cannot be fetched, whoever keeps them."""

from huggingface_hub import errors as hub_errors

from frostline.base.errors import BackboneError

# Kinds of names that are those of weights, too.
_BRING_WEIGHTS = ("hub", "transformers")
_CLIENTS = {"huggingface_hub", "httpx", "httpx2", "requests", "urllib3"}


def not_downloaded(where: str, error: Exception) -> BackboneError:
    """Returns the error for weights that are not here and cannot be fetched.

    Args:
        where: The backbone's name.
        error: What went wrong.
    """
    kind, _, _ = where.partition(":")
    query = "&" if "?" in where else "?"
    ways = ["Connect once", "name a model folder on this machine with dir:PATH"]
    if kind not in _BRING_WEIGHTS:
        ways.insert(1, "give a local file with --weights FILE")
    return BackboneError(
        f"{where}: its weights are not on this machine and could not be downloaded "
        f"({_reason(error)}). {', '.join(ways)}, or take random weights: "
        f"{where}{query}pretrained=false"
    )


def is_connection(error: BaseException) -> bool:
    """Whether an error tells of the network, or of the hub, rather than of a fault here."""
    return isinstance(error, OSError) or type(error).__module__.partition(".")[0] in _CLIENTS


def _reason(error: Exception) -> str:
    if isinstance(error, hub_errors.OfflineModeIsEnabled):
        return "offline mode is on, HF_HUB_OFFLINE is set"
    lines = str(error).splitlines()
    return f"{type(error).__name__}: {lines[0][:160]}" if lines else type(error).__name__
