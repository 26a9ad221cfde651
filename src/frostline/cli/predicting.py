"""The commands that look at pictures with a model: `predict` and `evaluate`."""

import itertools
import sys
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from frostline.base.console import Console
from frostline.base.errors import FrostlineError
from frostline.cli import pictures, streams
from frostline.cli.output import print_json, print_table, print_text

if TYPE_CHECKING:
    from frostline.images.listing import Listing
    from frostline.images.nouns import Nouns
    from frostline.model.classifier import Classifier
    from frostline.model.predict import Prediction
    from frostline.report.evaluation import Judge
    from frostline.scores.evaluation import ScoredSplit

# Below this, the closing count calls a picture unsure where nothing else is asked.
UNSURE = 0.7


def predict(arguments: Namespace) -> int:
    """Prints what pictures show; status 2 where one could not be read."""
    from frostline.model import predict as predicting
    from frostline.model import prediction_files

    given, console = arguments, Console()
    _check(given)
    paths = pictures.meant(given.pictures, streams.standard_input())
    if given.out:
        prediction_files.check(given.out)
    _keep_apart(given, paths)
    model = predicting.open_model(
        given.model, given.device, given.precision, given.flip, given.weights
    )
    if told := predicting.unnamed(model):
        console.say(told)
    shown = "json" if given.json else given.format or ("" if given.out else "table")
    said = []
    for one in predicting.predict(model, paths, given.top_k, console):
        said.append(one)
        if shown == "table":
            print_text(_line(one, given.unsure))
            for line in _times(one):
                print_text(line)
        elif one.problem and not shown:
            console.say(_line(one, given.unsure))
    if shown == "csv":
        sys.stdout.write(prediction_files.as_csv(said, given.unsure))
    elif shown == "json":
        sys.stdout.write(prediction_files.as_json(said, given.unsure))
    _write(given, said, model, console)
    _close(said, given.unsure, model.preprocessing.nouns, console)
    return 2 if any(one.problem for one in said) else 0


def evaluate(arguments: Namespace) -> int:
    """Prints the scores of a model on labelled pictures."""
    from frostline.images import listing as listings
    from frostline.images.rows import shown_label
    from frostline.model import predict as predicting
    from frostline.report import evaluation as reporting
    from frostline.scores import evaluation as scoring
    from frostline.scores.sentences import doubts, guess_of, verdict

    given, console = arguments, Console()
    if given.out:
        reporting.claim(given.out)
        _keep_out_of(given.out, "--out", [given.photos])
    model = predicting.open_model(
        given.model, given.device, given.precision, given.flip, given.weights
    )
    scored, listing = predicting.evaluate_on(model, given.photos, given.split, console)
    judge = _judge(given)
    seen = reporting.seen_before(scored, judge, listing.nouns)
    for line in (*listings.report_lines(listing), *seen):
        console.say(line)
    if given.json:
        print_json({scored.split: scored.metrics})
    else:
        print_text(scoring.summary(scored.split, scored.metrics))
        guess = guess_of(shown_label(row.label, scored.several) for row in scored.rows)
        doubtful = doubts(scored.metrics, guess, listing.nouns.plain)
        for line in (verdict(scored.metrics, guess), *doubtful):
            print_text(line)
        _print_classes(scored)
    _report(given, scored, listing, judge, console)
    return 0


def _check(given: Namespace) -> None:
    if given.top_k < 1:
        raise FrostlineError(f"--top-k: must be at least 1, not {given.top_k}.")
    if given.unsure is not None and not 0 <= given.unsure <= 1:
        raise FrostlineError(f"--unsure: must be from 0 to 1, such as 0.7, not {given.unsure:g}.")
    if given.link and not given.sort_into:
        raise FrostlineError("--link: says how --sort-into FOLDER puts files there; add that.")
    if given.json and given.format not in (None, "json"):
        raise FrostlineError(f"--json: and --format {given.format} ask for two things; name one.")
    if given.html and given.html.suffix.lower() not in (".html", ".htm"):
        raise FrostlineError(f"--html: {given.html} must end in .html.")


def _keep_apart(given: Namespace, paths: Sequence[Path]) -> None:
    for option, target in (("--sort-into", given.sort_into), ("--html", given.html)):
        if target:
            _keep_out_of(target, option, paths)
    if given.out:
        _keep_out_of(given.out, "--out", paths)


def _keep_out_of(target: Path, option: str, paths: Sequence[Path]) -> None:
    from frostline import pipeline

    for path in paths:
        if path.is_dir():
            pipeline.refuse_paths_inside_images(path, {option: target})


def _line(one: "Prediction", unsure: float | None) -> str:
    shown = "  ".join(f"{label} {chance:.1%}" for label, chance in one.top)
    if one.labels != (one.label,) and one.top:
        shown = f"{', '.join(one.labels) or 'none'}  ({shown})"
    if unsure is not None and one.is_unsure(unsure):
        shown += "  unsure"
    return f"{one.path}: {shown or 'not read: ' + one.problem}"


def _times(one: "Prediction") -> list[str]:
    """Returns what is heard when, where a sound has several windows: one line a stretch."""
    if len(one.windows) < 2:
        return []
    lines = []
    for _, parts in itertools.groupby(one.windows, lambda part: part.top[0][0]):
        same = list(parts)
        best = max(same, key=lambda part: part.top[0][1])
        shown = "  ".join(f"{label} {chance:.1%}" for label, chance in best.top)
        lines.append(f"  {_clock(same[0].start_s)} to {_clock(same[-1].end_s)}  {shown}")
    return lines


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds, 1), 60)
    return f"{int(minutes)}:{rest:04.1f}"


def _write(
    given: Namespace, said: Sequence["Prediction"], model: "Classifier", console: Console
) -> None:
    """Writes the files that were asked for."""
    from frostline.model import prediction_files, sorting
    from frostline.report import facts, page, sheet
    from frostline.run import about

    nouns = model.preprocessing.nouns
    if given.out:
        prediction_files.write(given.out, said, given.unsure)
        console.say(f"{given.out}: what is said of {nouns.many(len(said))}")
    if given.html:
        title = f"{nouns.plain.capitalize()}s, judged by {_name_of(given.model)}"
        words = facts.byline(about.now(given.typed))
        threshold = UNSURE if given.unsure is None else given.unsure
        page.write(given.html, sheet.render(said, title, words, threshold, nouns))
        console.say(f"{given.html}: the {nouns.plain}s, to open in a browser")
    if given.sort_into:
        count = sorting.sort_into(given.sort_into, said, model.labels, given.unsure, given.link)
        how = "linked" if given.link else "copied"
        console.say(f"{given.sort_into}: {nouns.many(count)} {how} into a folder for each class")


def _close(
    said: Sequence["Prediction"], unsure: float | None, nouns: "Nouns", console: Console
) -> None:
    """Says what was said of all pictures together, and how many could not be read."""
    from frostline.scores.sentences import summary_of

    threshold = UNSURE if unsure is None else unsure
    read = [one for one in said if not one.problem]
    if len(said) > 1 and read:
        count = sum(one.is_unsure(threshold) for one in read)
        words = summary_of([one.labels for one in read], count, threshold)
        console.say(f"{nouns.many(len(read))}: {words}")
    unread = len(said) - len(read)
    if unread:
        console.say(f"frostline: {nouns.many(unread)} could not be read; the reasons stand above")


def _judge(given: Namespace) -> "Judge":
    from frostline.images import listing as listings
    from frostline.report.evaluation import Judge, trained_on
    from frostline.run import about
    from frostline.run.folder import RunFolder

    name, made = _name_of(given.model), about.now(given.typed)
    run = RunFolder(Path(given.model))
    if not run.listing.is_file():
        return Judge(name, made)
    return Judge(name, made, *trained_on(listings.read_csv(run.listing)))


def _name_of(model: str) -> str:
    from frostline.base.paths import without_folders

    path = Path(model)
    return path.resolve().name if path.is_dir() else without_folders(model)


def _print_classes(scored: "ScoredSplit") -> None:
    rows = [
        [name, str(one["n"]), *(_share(one[key]) for key in ("precision", "recall", "f1"))]
        for name, one in scored.metrics["per_class"].items()
    ]
    print_table(["class", "n", "precision", "recall", "f1"], rows)


def _report(
    given: Namespace,
    scored: "ScoredSplit",
    listing: "Listing",
    judge: "Judge",
    console: Console,
) -> None:
    n, right = scored.metrics["n"], round(scored.metrics["accuracy"] * scored.metrics["n"])
    wrong = listing.nouns.many(n - right)
    if given.out:
        from frostline.report import evaluation as reporting

        page = reporting.write(given.out, scored, listing, judge)
        console.say(f"{page}: the report; wrong.csv beside it lists {wrong}")
    elif right < n:
        console.say(f"{wrong} wrong: --out FOLDER shows and lists them")


def _share(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"
