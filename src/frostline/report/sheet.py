"""New pictures with what was said of them, as one HTML page of thumbnails."""

from collections import defaultdict
from collections.abc import Sequence

from frostline.images.nouns import PICTURES, Nouns
from frostline.model.predict import Prediction
from frostline.report import text
from frostline.report.examples import SURE
from frostline.report.names import short_names
from frostline.report.page import document
from frostline.report.text import escape, sentence
from frostline.scores.sentences import percent, summary_of
from frostline.sound.thumbnails import picture

# More pictures than this make a page that browsers are slow to open.
MOST = 2000
_SIDE_PX = 200


def render(
    said: Sequence[Prediction],
    title: str,
    byline: Sequence[str] = (),
    unsure: float = SURE,
    nouns: Nouns = PICTURES,
) -> str:
    """Returns the page: the unsure pictures first, then class by class, the least sure first.

    Args:
        said: One prediction a picture.
        title: The heading, such as the name of the run.
        byline: When and with what it was made, a few words each.
        unsure: Below this sureness, a picture is unsure.
        nouns: What those that are classified are called.

    Returns:
        The page. It loads nothing; pictures that cannot be read are said to be missing.
    """
    names = short_names(one.path for one in said)
    read = [one for one in said if not one.problem]
    ranked = sorted(read, key=lambda one: (one.sureness, one.path))
    shown = ranked[:MOST]
    sections = [
        (f"Unsure: under {percent(unsure)}", [one for one in shown if one.is_unsure(unsure)])
    ]
    by_class: dict[str, list[Prediction]] = defaultdict(list)
    for one in shown:
        if not one.is_unsure(unsure):
            by_class[", ".join(one.labels) or "none of the classes"].append(one)
    sections += sorted(by_class.items(), key=lambda item: (-len(item[1]), item[0]))
    sections = [section for section in sections if section[1]]
    left = len(ranked) - len(shown)
    cut = f"<p>The {left:,} surest {nouns.plain}s are left out here.</p>" if left else ""
    byline_html = f'<p class="byline">{" · ".join(map(escape, byline))}</p>' if byline else ""
    lead = sentence(summary_of([one.labels for one in read], _unsure(read, unsure), unsure))
    body = [
        f"<header><h1>{escape(title)}</h1>{byline_html}",
        f'<p class="lead"><b>{nouns.many(len(said))}</b> {lead}</p>{cut}',
        _navigation(sections),
        "</header><main>",
        *(_section(number, *section, names) for number, section in enumerate(sections)),
        _unread([one for one in said if one.problem], names),
        "</main>",
    ]
    return document(title, "\n".join(body))


def _unsure(said: Sequence[Prediction], threshold: float) -> int:
    return sum(one.is_unsure(threshold) for one in said)


def _navigation(sections: Sequence[tuple[str, Sequence[Prediction]]]) -> str:
    if len(sections) < 2:
        return ""
    links = "".join(
        f'<a href="#part-{number}">{sentence(name)} ({len(members):,})</a>'
        for number, (name, members) in enumerate(sections)
    )
    return f'<nav aria-label="On this page">{links}</nav>'


def _section(number: int, name: str, members: Sequence[Prediction], names: dict[str, str]) -> str:
    items = "".join(_item(one, names[one.path]) for one in members)
    return (
        f'<section id="part-{number}"><h2>{sentence(name)} '
        f'<span class="dim">{len(members):,}</span></h2>'
        f'<ul class="thumbs">{items}</ul></section>'
    )


def _item(one: Prediction, name: str) -> str:
    said = ", ".join(one.labels) or "none"
    shown = picture(one.path, f"{name}: {said}", _SIDE_PX)
    chances = [f"{escape(label)} {sentence(percent(chance))}" for label, chance in one.top]
    first, rest = chances[0], "".join(f"<br>{chance}" for chance in chances[1:])
    several = f"<b>{escape(said)}</b><br>" if one.labels != (one.label,) else ""
    first = first if several else f"<b>{first}</b>"
    return (
        f"<li><figure>{shown}<figcaption>{several}{first}{rest}<br>"
        f'<span class="name">{text.name(name)}</span></figcaption></figure></li>'
    )


def _unread(said: Sequence[Prediction], names: dict[str, str]) -> str:
    if not said:
        return ""
    items = "".join(f"<li>{escape(names[one.path])}: {escape(one.problem)}</li>" for one in said)
    many = f'<span class="dim">{len(said):,}</span>'
    return f'<section id="unread"><h2>Not read {many}</h2><ul class="told">{items}</ul></section>'
