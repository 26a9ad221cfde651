"""Networks of the Hugging Face hub, and what to say when it cannot be reached.

A network that was fetched before is opened from the hub's own cache on this machine, with or
without a network connection.
"""

import re
from collections.abc import Sequence
from pathlib import Path

import huggingface_hub
from huggingface_hub import errors as hub_errors

from frostline.base.errors import BackboneError
from frostline.networks.downloads import is_connection, not_downloaded
from frostline.networks.names import BackboneName

WEIGHTS = ("model.safetensors", "pytorch_model.bin")

_REPOSITORY = re.compile(r"(?P<repository>[\w.-]+/[\w.-]+)(@(?P<revision>[\w./-]+))?")
_TIMEOUT_S = 10.0


def fetch(name: BackboneName, weights: Sequence[str] = WEIGHTS, more: Sequence[str] = ()) -> Path:
    """Returns the model folder of `hub:OWNER/NAME[@REVISION]`, downloaded where it is not here.

    Args:
        name: The parsed name.
        weights: Files of which one holds the weights, in the order of preference.
        more: Other files that must be there.

    Raises:
        BackboneError: Where there is no such model, it is no timm model, or it is neither on
            this machine nor to be downloaded.
    """
    parts = _REPOSITORY.fullmatch(name.path)
    if parts is None:
        raise BackboneError(
            f"{name}: after {name.kind}: must stand OWNER/NAME, or OWNER/NAME@REVISION."
        )
    where = str(name)
    here = _cached(parts["repository"], ("config.json",), parts["revision"]) is not None
    config = _fetch(parts["repository"], ("config.json",), parts["revision"], where)
    # Everything else is taken at the same commit, so that a push in between mixes nothing.
    commit = config.parent.name
    if name.pretrained:
        _fetch(parts["repository"], weights, commit, where)
    for file in more:
        _fetch(parts["repository"], (file,), commit, where)
    if not here:
        _fetch_readme(parts["repository"], commit)
    return config.parent


def check_reachable(repository: str, files: Sequence[str], where: str) -> None:
    """Checks with one request that a model is on this machine or can be asked for.

    The hub's own client tries for most of a minute before it gives up; this tells at once.

    Raises:
        BackboneError: Where neither holds.
    """
    repository, _, revision = repository.partition("@")
    if _cached(repository, files, revision or None) is not None:
        return
    url = huggingface_hub.hf_hub_url(repository, files[0], revision=revision or None)
    try:
        huggingface_hub.get_hf_file_metadata(url, timeout=_TIMEOUT_S)
    except hub_errors.EntryNotFoundError:
        return  # It answers; another of the files may be there.
    except Exception as error:
        raise _translated(error, repository, where) from error


def _fetch(repository: str, files: Sequence[str], revision: str | None, where: str) -> Path:
    """Returns the first of `files` that the model has, downloaded where it is not here yet."""
    cached = _cached(repository, files, revision)
    if cached is not None:
        return cached
    at = f"{repository}@{revision}" if revision else repository
    check_reachable(at, files, where)
    for file in files:
        try:
            return Path(huggingface_hub.hf_hub_download(repository, file, revision=revision))
        except Exception as error:
            local = isinstance(error, hub_errors.LocalEntryNotFoundError)
            if local or not isinstance(error, hub_errors.EntryNotFoundError):
                raise _translated(error, repository, where) from error
    raise BackboneError(
        f"{where}: has no {' or '.join(files)} on the hub, so it is no model of that kind."
    )


def _fetch_readme(repository: str, commit: str) -> None:
    """Fetches the model card, which may name the licence; a network does without."""
    try:
        huggingface_hub.hf_hub_download(repository, "README.md", revision=commit)
    except Exception as error:
        if not is_connection(error):
            raise


def _cached(repository: str, files: Sequence[str], revision: str | None) -> Path | None:
    for file in files:
        found = huggingface_hub.try_to_load_from_cache(repository, file, revision=revision)
        if isinstance(found, str):
            return Path(found)
    return None


def _translated(error: Exception, repository: str, where: str) -> Exception:
    if isinstance(error, hub_errors.GatedRepoError):
        return BackboneError(
            f"{where}: its owner asks you to accept terms. Do so at "
            f"https://huggingface.co/{repository}, then log in with: hf auth login"
        )
    if isinstance(error, hub_errors.RevisionNotFoundError):
        return BackboneError(f"{where}: {repository} has no such revision on the hub.")
    if isinstance(error, hub_errors.RepositoryNotFoundError):
        return BackboneError(
            f"{where}: the hub has no model {repository}, or it is private. Check the name, or "
            "log in with: hf auth login"
        )
    return not_downloaded(where, error) if is_connection(error) else error
