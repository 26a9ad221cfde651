"""Pictures or sounds: which files are listed, and what their headers say."""

from collections.abc import Callable
from dataclasses import dataclass

from frostline.base import files
from frostline.images import decode, nouns
from frostline.images.decode import Header


@dataclass(frozen=True)
class Examined:
    """What is known of one file without decoding it.

    Attributes:
        digest: Of its content; empty where it cannot be read.
        header: What its header says; None where there is a problem.
        problem: Why it is left out; empty where it is not.
    """

    digest: str = ""
    header: Header | None = None
    problem: str = ""


@dataclass(frozen=True)
class Medium:
    """A kind of files that can be listed.

    Attributes:
        noun: What one of them is called.
        endings: Returns their file name endings, in lower case, with the dot.
        examine: Reads the header of a file; takes the most pixels of a picture (0 for the
            decoder's own limit), and raises nothing for a bad file.
    """

    noun: str
    endings: Callable[[], frozenset[str]]
    examine: Callable[[str, int], Examined]

    @property
    def nouns(self) -> nouns.Nouns:
        """The words for its files."""
        return nouns.nouns_of(self.noun == nouns.SOUNDS.term)


def _examine_picture(path: str, most_px: int) -> Examined:
    digest = ""
    try:
        data = decode.read(path)
        digest = files.digest(data)
        return Examined(digest, decode.probe(data, most_px))
    except decode.Unreadable as error:
        return Examined(digest, problem=str(error))


PICTURES = Medium(nouns.PICTURES.term, decode.extensions, _examine_picture)
