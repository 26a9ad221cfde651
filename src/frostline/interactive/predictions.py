"""What was said of pictures, as a list that shows itself."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, overload

from frostline.base import html
from frostline.base.html import one_line
from frostline.interactive import frames
from frostline.model.predict import Prediction
from frostline.scores.sentences import summary_of
from frostline.sound import thumbnails

if TYPE_CHECKING:
    from pandas import DataFrame

UNSURE = 0.7
_SHOWN = 24
_SIDE_PX = 160


@dataclass(frozen=True, repr=False)
class Predictions:
    """One prediction a picture, in the order given.

    Attributes:
        items: The predictions.
    """

    items: tuple[Prediction, ...]

    def __len__(self) -> int:
        return len(self.items)

    def __iter__(self) -> Iterator[Prediction]:
        return iter(self.items)

    @overload
    def __getitem__(self, index: int) -> Prediction: ...
    @overload
    def __getitem__(self, index: slice) -> "Predictions": ...
    def __getitem__(self, index: int | slice) -> "Prediction | Predictions":
        return Predictions(self.items[index]) if isinstance(index, slice) else self.items[index]

    def __repr__(self) -> str:
        return one_line(f"Predictions of {_many(len(self))}: {_summary(self.items)}")

    def _repr_html_(self) -> str:
        shown = "".join(_item(one) for one in self.items[:_SHOWN])
        left = len(self) - _SHOWN
        rest = html.dim(f"And {left:,} more: to_frame() has all.") if left > 0 else ""
        return html.block(
            html.lead(_many(len(self))),
            html.dim(_summary(self.items)),
            f'<ul class="thumbs">{shown}</ul>',
            rest,
        )

    def to_frame(self) -> "DataFrame":
        """Returns a row for each picture: path, label, probability, labels, sureness, problem.

        Raises:
            FrostlineError: Where pandas is not installed.
        """
        return frames.said_of(self.items)


def _summary(items: Sequence[Prediction]) -> str:
    read = [one for one in items if not one.problem]
    unsure = sum(one.is_unsure(UNSURE) for one in read)
    words = summary_of([one.labels for one in read], unsure, UNSURE) if read else ""
    unread = len(items) - len(read)
    return "; ".join(part for part in (words, f"{unread:,} not read" if unread else "") if part)


def _item(one: Prediction) -> str:
    said = ", ".join(one.labels) or ("none" if one.top else "")
    words = f"<b>{html.escape(said)}</b> {one.probability:.0%}" if one.top else ""
    words = words or html.escape(f"not read: {one.problem}")
    name = one.path.replace("\\", "/").rpartition("/")[2]
    shown = thumbnails.picture(one.content or one.path, f"{name}: {said}", _SIDE_PX)
    return (
        f"<li><figure>{shown}<figcaption>{words}<br>"
        f'<span class="name">{html.escape(name)}</span></figcaption></figure></li>'
    )


def _many(count: int) -> str:
    return f"{count:,} picture{'s' * (count != 1)}"
