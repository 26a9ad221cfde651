"""What is classified, in words: pictures, or sounds and their windows."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Nouns:
    """The words for one kind of files.

    Attributes:
        plain: What anybody calls one of them.
        term: What the field calls one, in errors and logs.
        row: What a network is fed one of at a time.
        perceiving: What the network does with them.
    """

    plain: str
    term: str
    row: str
    perceiving: str

    def many(self, count: int) -> str:
        """Returns so many of them in plain words: "1 picture", "1,200 sounds"."""
        return f"{count:,} {self.plain}{'s' * (count != 1)}"


PICTURES = Nouns("picture", "image", "image", "looking at")
SOUNDS = Nouns("sound", "sound", "window", "listening to")


def nouns_of(is_sound: bool) -> Nouns:
    """Returns the words for sounds, or for pictures."""
    return SOUNDS if is_sound else PICTURES
