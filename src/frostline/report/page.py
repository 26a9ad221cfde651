"""The report: one HTML page that says how right a model is, readable anywhere and for good.

It needs nothing but itself: no scripts, no fonts, no links to elsewhere; charts are inline SVG
and thumbnails lie in the page. All text that comes from outside is escaped, and the page's own
content policy forbids it to load anything. What a reader came for stands first: the sentence, the
mistakes, the confusions, the classes; then how training went, and the facts.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from frostline.base import files
from frostline.images.nouns import PICTURES, SOUNDS, Nouns
from frostline.images.thumbnails import inline
from frostline.report import gallery
from frostline.report.charts import reliability_chart
from frostline.report.examples import Example
from frostline.report.stages import StageResult
from frostline.report.style import STYLE
from frostline.report.tables import by_class, by_label, confusion, make_table
from frostline.report.text import escape, number, sentence
from frostline.report.training import training
from frostline.scores.metrics import dense_confusion
from frostline.scores.sentences import Guess, doubts, has_several, percent, verdict


@dataclass(frozen=True)
class SplitPart:
    """What the page shows of one split.

    Attributes:
        name: `val`, `test` and the like.
        scores: What stands in `metrics.json`: what `metrics.summarise` gives, or
            `metrics.summarise_multilabel`. With `calibration` in it (from `metrics.calibration`)
            there is a chart of it.
        guess: What a constant answer would come to; None where nothing tells.
        by_class: Pictures of each class, for the gallery.
    """

    name: str
    scores: Mapping[str, Any]
    guess: Guess | None = None
    by_class: Mapping[str, Sequence[Example]] = field(default_factory=dict)


@dataclass(frozen=True)
class Page:
    """All that a report shows.

    Attributes:
        title: The heading, such as the name of the run.
        byline: When and with what it was made, a few words each.
        besides: Other ways to tell how right it is, in words, for below the headline.
        parts: The splits that were scored.
        mistakes: Wrong predictions, the surest first.
        warnings: What the reader must know first, such as a class without validation images.
        remarks: What else there is to say of the pictures and of what was chosen on which.
        stages: What each stage came to.
        history: The lines of `history.jsonl`; keys may be absent.
        search: What `search.json` holds; None where there was no search.
        trained: How many training pictures each class has; None where nothing tells.
        views: A sheet of what the network was fed, as a JPEG; empty where there is none.
        is_varied: Whether training saw the pictures in varied views.
        nouns: What those that are classified are called.
        facts: What the run was made of, as names and values, in the order to show them.
    """

    title: str
    byline: Sequence[str] = ()
    besides: Sequence[str] = ()
    parts: Sequence[SplitPart] = ()
    mistakes: Sequence[Example] = ()
    warnings: Sequence[str] = ()
    remarks: Sequence[str] = ()
    stages: Sequence[StageResult] = ()
    history: Sequence[Mapping[str, Any]] = ()
    search: Mapping[str, Any] | None = None
    trained: Mapping[str, int] | None = None
    views: bytes = b""
    is_varied: bool = True
    nouns: Nouns = PICTURES
    facts: Sequence[tuple[str, str]] = ()


def render(page: Page) -> str:
    """Returns the report as one HTML page.

    It loads nothing; pictures that cannot be read are said to be missing.
    """
    noun = page.nouns.plain
    doubtful = [doubt for part in page.parts for doubt in doubts(part.scores, part.guess, noun)]
    sections = [
        ("mistakes", "What it gets wrong", _mistakes(page)),
        *(part for split in page.parts for part in _split_sections(page, split)),
        ("training", "How training went", training(page.history, page.stages, page.search)),
        ("views", "What the network was shown", _views(page.views, page.is_varied, page.nouns)),
        ("facts", "Facts", _facts(page)),
    ]
    sections = [one for one in sections if one[2]]
    body = [
        f"<header><h1>{escape(page.title)}</h1>{_byline(page.byline)}{_leads(page.parts)}",
        *(f'<p class="dim">{sentence(said)}</p>' for said in page.besides),
        _notes([*doubtful, *page.warnings]),
        _navigation(sections) + "</header>",
        "<main>",
        *(
            f'<section id="{name}"><h2>{escape(heading)}</h2>\n{content}</section>'
            for name, heading, content in sections
        ),
        "</main>",
    ]
    return document(page.title, "\n".join(part for part in body if part))


def document(title: str, body: str) -> str:
    """Returns a whole page in the style of all of them, that may load nothing but sound files."""
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta http-equiv="Content-Security-Policy" '
        "content=\"default-src 'none'; img-src data:; media-src file:; "
        "style-src 'unsafe-inline'\">\n"
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n"
        f"{body}\n</body>\n</html>\n"
    )


def write(path: Path, html: str) -> None:
    """Writes the page, whole or not at all.

    Raises:
        DiskError: Where the disk is full or refuses; an older page still stands.
    """
    files.write_text(path, html)


def _byline(words: Sequence[str]) -> str:
    return f'<p class="byline">{" · ".join(map(escape, words))}</p>' if words else ""


def _leads(parts: Sequence[SplitPart]) -> str:
    if not parts:
        return '<p class="lead">Nothing was evaluated.</p>'
    return "".join(_lead(part, len(parts) > 1) for part in parts)


def _lead(part: SplitPart, is_named: bool) -> str:
    whole = verdict(part.scores, part.guess)
    first, _, rest = whole.partition(")")
    split = f'<p class="split">On {escape(part.name)}</p>' if is_named else ""
    rest = rest.lstrip(",; ")
    rest = rest[:1].upper() + rest[1:]
    return f'{split}<p class="lead"><b>{sentence(first)})</b> {sentence(rest)}</p>' + _scale(
        part.scores, part.guess
    )


def _scale(scores: Mapping[str, Any], guess: Guess | None) -> str:
    """Draws the score with its interval, and the guess, on a line from 0 to 100 %."""
    low, high = (100 * end for end in scores["accuracy_ci95"])
    told = f"From {percent(low / 100)} to {percent(high / 100)}"
    parts = [
        f'<i></i><i class="range" style="left:{low:.1f}%;width:{high - low:.1f}%"></i>',
        f'<i class="dot" style="left:{100 * scores["accuracy"]:.1f}%"></i>',
    ]
    if guess is not None:
        at = 100 * guess.share
        told += f"; guessing {percent(guess.share)}"
        # Near an end the word must not stand out beyond it.
        shift = 50 if 12 < at < 88 else round(at)
        parts.append(f'<i class="tick" style="left:{at:.1f}%"></i>')
        parts.append(
            f'<span style="left:{at:.1f}%;transform:translateX(-{shift}%)">guessing</span>'
        )
    if guess is None or guess.share > 0.2:
        parts.append('<span style="left:0">0&nbsp;%</span>')
    if guess is None or guess.share < 0.8:
        parts.append('<span style="right:0">100&nbsp;%</span>')
    return f'<div class="scale" role="img" aria-label="{escape(told)}.">{"".join(parts)}</div>'


def _notes(notes: Sequence[str]) -> str:
    if not notes:
        return ""
    items = "".join(f"<li>{sentence(note)}</li>" for note in notes)
    return f'<aside class="notes" aria-label="Notes"><ul>{items}</ul></aside>'


def _navigation(sections: Sequence[tuple[str, str, str]]) -> str:
    links = "".join(f'<a href="#{name}">{escape(heading)}</a>' for name, heading, _ in sections)
    return f'<nav aria-label="On this page">{links}</nav>' if len(sections) > 1 else ""


def _mistakes(page: Page) -> str:
    n = sum(int(part.scores["n"]) for part in page.parts)
    if not page.mistakes:
        return f"<p>Nothing: all {page.nouns.many(n)} are right.</p>" if n else ""
    count = len(page.mistakes)
    many = page.nouns.many(count)
    first = ", those it is surest of first" if count > 1 else ""
    hint = "Where the model is very sure, look at the label too."
    return f"<p>{many} of {n:,}{first}. {hint}</p>\n{gallery.mistakes(page.mistakes)}"


def _split_sections(page: Page, part: SplitPart) -> list[tuple[str, str, str]]:
    scores, several = part.scores, has_several(part.scores)
    on = f" on {part.name}" if len(page.parts) > 1 else ""
    name = "".join(x for x in part.name if x.isalnum()) or "split"
    heading = "What is missed, and what is said wrongly" if several else "What is taken for what"
    classes = ""
    if scores.get("per_class"):
        classes = by_class(scores["per_class"], page.trained, page.nouns.plain)
        if part.by_class:
            classes += f"\n<h3>{page.nouns.plain.capitalize()}s of each class</h3>\n"
            classes += gallery.classes(part.by_class, scores["per_class"])
    return [
        (f"confusion-{name}", heading + on, _confusion(part, several, page.nouns)),
        (f"classes-{name}", f"Class by class{on}", classes),
    ]


def _confusion(part: SplitPart, several: bool, nouns: Nouns) -> str:
    scores, shown = part.scores, ""
    if scores.get("confusion") and several:
        shown = by_label(scores["confusion"], scores["labels"], nouns.plain)
    elif scores.get("confusion"):
        counts = dense_confusion(scores["confusion"])
        shown = confusion(counts, list(scores["labels"]), nouns.plain)
    if not scores.get("calibration"):
        return shown
    title = f"Reliability on {part.name}"
    drawn = reliability_chart(scores["calibration"], title=title, of=f"{nouns.term}s")
    return (
        f'<div class="row"><div>{shown}</div><div class="chart">'
        f"<h3>Can its percentages be believed?</h3><figure>{drawn}</figure>"
        '<p class="dim">On the dotted diagonal: as often right as it says. Below: too sure of '
        "itself. Above: too modest. Bars are 95&nbsp;% intervals.</p></div></div>"
    )


_CAN_TELL = {
    PICTURES: "Can a person tell the classes on these pictures? If not, the network cannot either.",
    SOUNDS: "These are spectrograms: time runs to the right, pitch upwards, and what is loud is "
    "bright. What tells the classes must be seen on them.",
}
_CHANGES = {
    PICTURES: "turned, mirrored or cropped",
    SOUNDS: "of sounds (time runs to the right, pitch upwards) moved, masked or drowned in noise",
}


def _views(jpeg: bytes, is_varied: bool, nouns: Nouns) -> str:
    if not jpeg:
        return ""
    told = f"{nouns.plain.capitalize()}s of each class, as they are judged"
    said = _CAN_TELL[nouns]
    if is_varied:
        told += " and as they were varied in training"
        said = (
            f"Is anything on these pictures {_CHANGES[nouns]} in a way that makes it "
            "another class, or hides what tells it? Then vary less: <code>--augment light</code>."
        )
    return (
        f"<p>{said}</p>"
        '<div class="views" role="region" aria-label="Views" tabindex="0">'
        f"{inline(jpeg, told)}</div>"
    )


_MEASURES = (
    ("accuracy", "accuracy"),
    ("mean_average_precision", "mean average precision"),
    ("log_loss", "log-loss"),
    ("macro_f1", "macro F1"),
    ("top5_accuracy", "top-5 accuracy"),
    ("ece", "calibration error"),
    ("brier", "Brier score"),
)
_LOW_IS_GOOD = ("log_loss", "ece", "brier")


def _facts(page: Page) -> str:
    remarks = "".join(f"<li>{sentence(remark)}</li>" for remark in page.remarks)
    rows = "".join(
        f'<tr><th scope="row">{escape(name)}</th><td>{escape(value)}</td></tr>'
        for name, value in page.facts
    )
    parts = [
        f'<ul class="told">{remarks}</ul>' if remarks else "",
        _measures(page.parts),
        f'<table class="facts"><tbody>{rows}</tbody></table>' if rows else "",
    ]
    return "\n".join(part for part in parts if part)


def _measures(parts: Sequence[SplitPart]) -> str:
    if not parts:
        return ""
    measures = [one for one in _MEASURES if any(one[0] in part.scores for part in parts)]
    is_exact = any(has_several(part.scores) for part in parts)
    names = ["exact match" if is_exact and key == "accuracy" else name for key, name in measures]
    heads = ["split", "n", *names]
    rows = [
        [
            escape(part.name),
            number(part.scores.get("n")),
            *(number(part.scores.get(key)) for key, _ in measures),
        ]
        for part in parts
    ]
    low_is_good = ", ".join(name for key, name in measures if key in _LOW_IS_GOOD)
    caption = "Intervals are Wilson's, at 95 %; where there are groups, by group."
    caption += f" Lower is better: {low_is_good}." if low_is_good else ""
    return make_table(heads, rows, caption)
