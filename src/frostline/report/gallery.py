"""Pictures side by side: the mistakes, and right, unsure and wrong ones of each class."""

from collections.abc import Mapping, Sequence

from frostline.report.examples import Example, sort_out
from frostline.report.text import escape, name, sentence
from frostline.scores.sentences import percent
from frostline.sound.thumbnails import picture

MISTAKES_SHOWN = 24
# So many at first; the others unfold.
_AT_FIRST = 12
SMALL_PX = 144
_TINY_PX = 112
# Up to this many classes stand open; and the most pictures of all classes together.
_OPEN = 4
_BUDGET = 250


def mistakes(examples: Sequence[Example]) -> str:
    """Shows wrong predictions, in the order given, up to `MISTAKES_SHOWN`."""
    shown = examples[:MISTAKES_SHOWN]
    first, rest = shown[:_AT_FIRST], shown[_AT_FIRST:]
    html = _grid(first)
    if rest:
        html += f"<details><summary>{len(rest)} more</summary>{_grid(rest)}</details>"
    left = len(examples) - len(shown)
    return html + (f'<p class="dim">And {left:,} more, all in the table.</p>' if left else "")


def classes(
    by_class: Mapping[str, Sequence[Example]], found: Mapping[str, Mapping[str, object]]
) -> str:
    """Shows right, unsure and wrong pictures of each class.

    Args:
        by_class: The pictures of each class.
        found: `per_class` of the scores, which say how many were found.
    """
    count = len(by_class)
    most = max(1, min(4, _BUDGET // max(3 * count, 1)))
    side_px = SMALL_PX if count <= 20 else _TINY_PX
    parts = []
    for label, examples in by_class.items():
        sorted_out = sort_out(examples, most)
        kinds = (
            ("right", "right, the surest", sorted_out.right),
            ("unsure", "right, but unsure", sorted_out.unsure),
            ("wrong", "wrong", sorted_out.wrong),
        )
        groups = "".join(_group(kind, words, each, side_px) for kind, words, each in kinds if each)
        opened = " open" if count <= _OPEN else ""
        parts.append(
            f"<details{opened}><summary><b>{name(label)}</b> {_found(found.get(label, {}))}"
            f'</summary><div class="kinds">{groups}</div></details>'
        )
    return f'<div class="classes">{"".join(parts)}</div>' if parts else ""


def _found(row: Mapping[str, object]) -> str:
    recall, n = row.get("recall"), row.get("n")
    if not isinstance(recall, float) or not isinstance(n, int):
        return ""
    return f'<span class="dim">{round(recall * n):,} of {n:,} found</span>'


def _group(kind: str, words: str, examples: Sequence[Example], side_px: int) -> str:
    shown = "".join(_small(one, side_px) for one in examples)
    return f'<div class="kind is-{kind}"><p>{escape(words)}</p><ul class="small">{shown}</ul></div>'


def _small(example: Example, side_px: int) -> str:
    said = example.predicted or "none"
    words = name(said) if not example.is_right else ""
    if example.about:
        words = "missed" if example.has_it else "said wrongly"
        words = "" if example.is_right else words
    told = f"{example.name}: {example.truth or 'none'}, predicted {said}"
    shown = picture(example.path, told, side_px)
    chance = sentence(percent(example.probability))
    return (
        f'<li title="{escape(example.name)}">{shown}<span>{chance}</span>'
        f"{f' <b>{words}</b>' if words else ''}</li>"
    )


def _grid(examples: Sequence[Example]) -> str:
    return f'<ul class="thumbs">{"".join(map(_mistake, examples))}</ul>'


def _mistake(example: Example) -> str:
    truth, predicted = example.truth or "none", example.predicted or "none"
    shown = picture(example.path, f"{example.name}: {truth}, taken for {predicted}")
    chance = f'<span class="chance">{sentence(percent(example.probability))}</span>'
    if example.about:
        what = "missed" if example.has_it else "said wrongly"
        said = (
            f"said <b>{name(predicted)}</b><br>is <b>{name(truth)}</b>"
            f"<br>{name(example.about)} {chance}, {what}"
        )
    else:
        said = f"taken for <b>{name(predicted)}</b> {chance}<br>is <b>{name(truth)}</b>"
    split = f" ({escape(example.split)})" if example.split else ""
    return (
        f"<li><figure>{shown}<figcaption>{said}<br>"
        f'<span class="name">{name(example.name)}{split}</span></figcaption></figure></li>'
    )
