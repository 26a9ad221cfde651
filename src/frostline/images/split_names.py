"""Words that say which split a picture belongs to, as folders and tables spell them."""

import re
from collections.abc import Iterable

_MEANING = {
    "train": "train",
    "training": "train",
    "trn": "train",
    "learn": "train",
    "val": "val",
    "valid": "val",
    "validate": "val",
    "validation": "val",
    "dev": "val",
    "development": "val",
    "eval": "val",
    "evaluation": "val",
    "test": "test",
    "testing": "test",
    "tst": "test",
    "holdout": "test",
    "heldout": "test",
}
KNOWN = tuple(_MEANING)
# What is said around such a word without changing it: train_images, seg_train, TestSet, val2017.
_AROUND = (
    *("images", "image", "imgs", "img", "pictures", "picture", "pics", "pic", "photos", "photo"),
    *("jpg", "jpeg", "png", "data", "dataset", "set", "split", "folder", "dir", "seg", "cropped"),
    *("resized", "all", "full", "final", "new", "labelled", "labeled"),
)
_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[^\W\d_A-Z]+|\d+")
_GLUED = re.compile(rf"({'|'.join(KNOWN)})({'|'.join(_AROUND)})")
_CONTAINER = {*_AROUND, "archive", "input", "raw", "original", "originals", "files"}
_TRUE, _FALSE = {"true", "1", "1.0", "yes", "y", "t"}, {"false", "0", "0.0", "no", "n", "f"}
_UNLABELLED = {"pred", "predict", "prediction", "unlabelled", "unlabeled", "unknown", "submission"}


def split_of(name: str) -> str:
    """Returns `train`, `val` or `test` for a name such as `Training`, `seg_test` or `val2017`.

    Returns:
        The split; empty where the name says none, or says more than that (`bird_train`).
    """
    words = _words(name)
    if words in (["hold", "out"], ["held", "out"]):
        return "test"
    said = [word for word in words if word in _MEANING]
    if len(said) != 1 or any(word not in _AROUND for word in words if word != said[0]):
        return ""
    return _MEANING[said[0]]


def is_unlabelled(name: str) -> bool:
    """Says whether a folder of this name holds pictures that are yet to be classified."""
    words = [word for word in _words(name) if word not in _AROUND]
    return len(words) == 1 and words[0] in _UNLABELLED


def is_container(name: str) -> bool:
    """Says whether a folder's name says only that it holds pictures: `images`, `jpg`."""
    words = _words(name)
    return bool(words) and all(word in _CONTAINER for word in words)


def is_true(text: str) -> bool | None:
    """Reads a cell of a column such as `is_valid`; None where it is neither yes nor no."""
    low = text.strip().lower()
    return True if low in _TRUE else False if low in _FALSE else None


def first_fold(values: Iterable[str]) -> str | None:
    """Returns the lowest of the numbers of folds; None where any value is no whole number."""
    found = list(values)
    if not found or not all(re.fullmatch(r"\d+(\.0)?", value) for value in found):
        return None
    return min(found, key=float)


def _words(name: str) -> list[str]:
    """Takes a name apart at signs, digits and capitals: `TrainImages_2017` is train, images."""
    found: list[str] = []
    for word in _WORD.findall(name):
        low = word.lower()
        glued = _GLUED.fullmatch(low)
        found += glued.groups() if glued else [] if low.isdigit() else [low]
    return found
