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
from frostline.networks.downloads import Download, is_connection, not_downloaded
from frostline.networks.folder_config import CONFIG, OPEN_CLIP, OPEN_CLIP_WEIGHTS
from frostline.networks.names import BackboneName

WEIGHTS = ("model.safetensors", "pytorch_model.bin")
FOLDER_WEIGHTS = (*WEIGHTS, *OPEN_CLIP_WEIGHTS)

_REPOSITORY = re.compile(r"[\w.-]+/[\w.-]+(@[\w./-]+)?")
_HUB = "the Hugging Face hub"
_TIMEOUT_S = 10.0


def fetch(
    name: BackboneName,
    weights: Sequence[str] = FOLDER_WEIGHTS,
    more: Sequence[str] = (),
    configs: Sequence[str] = (CONFIG, OPEN_CLIP),
) -> Path:
    """Returns the model folder of `hub:OWNER/NAME[@REVISION]`, downloaded where it is not here.

    Args:
        name: The parsed name.
        weights: Files of which one holds the weights, in the order of preference.
        more: Other files that must be there.
        configs: Files of which one says what it is, in the order of preference.

    Raises:
        BackboneError: Where there is no such model, it is of another kind, or it is neither on
            this machine nor to be downloaded.
    """
    repository, _, revision = _repository(name).partition("@")
    where = str(name)
    here = _cached(repository, configs, revision or None) is not None
    config = _fetch(repository, configs, revision or None, where)
    if config.name == OPEN_CLIP:
        weights = OPEN_CLIP_WEIGHTS
    # Everything else is taken at the same commit, so that a push in between mixes nothing.
    commit = config.parent.name
    if name.pretrained:
        _fetch(repository, weights, commit, where)
    for file in more:
        _fetch(repository, (file,), commit, where)
    if not here:
        _fetch_readme(repository, commit)
    return config.parent


def download_of(name: BackboneName, weights: Sequence[str] = FOLDER_WEIGHTS) -> Download:
    """Returns what must be fetched for `hub:OWNER/NAME[@REVISION]`; see `fetch`.

    Raises:
        BackboneError: Where the hub has no such model, or cannot be asked.
    """
    return check_reachable(_repository(name), weights, str(name))


def is_here(repository: str, files: Sequence[str]) -> bool:
    """Whether one of a model's files lies in the hub's cache on this machine."""
    repository, _, revision = repository.partition("@")
    return _cached(repository, files, revision or None) is not None


def check_reachable(
    repository: str, files: Sequence[str], where: str, about_bytes: int = 0
) -> Download:
    """Checks with a request or two that a model is on this machine or can be asked for.

    The hub's own client tries for most of a minute before it gives up; this tells at once.

    Args:
        repository: `OWNER/NAME` or `OWNER/NAME@REVISION`.
        files: The names under which its weights may lie, the best first.
        where: The backbone's name, for messages.
        about_bytes: How large the weights are thought to be, for messages.

    Raises:
        BackboneError: Where neither holds.
    """
    repository, _, revision = repository.partition("@")
    cached = _cached(repository, files, revision or None)
    if cached is not None:
        return Download(_HUB, _size(cached.name, cached.stat().st_size), here=True)
    for file in files:
        url = huggingface_hub.hf_hub_url(repository, file, revision=revision or None)
        try:
            found = huggingface_hub.get_hf_file_metadata(url, timeout=_TIMEOUT_S)
        except hub_errors.EntryNotFoundError:
            continue  # It answers; another of the files may be there.
        except Exception as error:
            raise _translated(error, repository, where, about_bytes) from error
        return Download(_HUB, _size(file, found.size), here=False)
    raise _no_weights(where, files)


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
    raise _no_weights(where, files)


def _fetch_readme(repository: str, commit: str) -> None:
    """Fetches the model card, which may name the licence; a network does without."""
    try:
        huggingface_hub.hf_hub_download(repository, "README.md", revision=commit)
    except Exception as error:
        if not is_connection(error):
            raise


def _repository(name: BackboneName) -> str:
    if _REPOSITORY.fullmatch(name.path) is None:
        raise BackboneError(
            f"{name}: after {name.kind}: must stand OWNER/NAME, or OWNER/NAME@REVISION."
        )
    return name.path


def _size(file: str, size: int | None) -> int:
    """Returns the size of the weights; an index names their files, and does not tell it."""
    return 0 if file.endswith(".index.json") else size or 0


def _no_weights(where: str, files: Sequence[str]) -> BackboneError:
    return BackboneError(
        f"{where}: has no {' or '.join(files)} on the hub, so it is no model of that kind."
    )


def _cached(repository: str, files: Sequence[str], revision: str | None) -> Path | None:
    for file in files:
        found = huggingface_hub.try_to_load_from_cache(repository, file, revision=revision)
        if isinstance(found, str):
            return Path(found)
    return None


def _translated(error: Exception, repository: str, where: str, about_bytes: int = 0) -> Exception:
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
    return not_downloaded(where, error, about_bytes) if is_connection(error) else error
