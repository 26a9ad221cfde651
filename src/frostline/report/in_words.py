"""The result of a run in a few plain sentences, from the run folder alone."""

from frostline import recipe
from frostline.images.nouns import nouns_of
from frostline.images.rows import shown_label
from frostline.report import build, examples
from frostline.report.names import short_names
from frostline.report.stages import prices
from frostline.run.folder import RunFolder
from frostline.scores.sentences import doubts, guess_of, over_seeds, percent, verdict

_NAMED = {"val": "Kept aside", "test": "Test"}


def result(run: RunFolder) -> list[str]:
    """Returns how right a finished run is, beside what guessing comes to.

    Raises:
        RunError: Where the run is unfinished or damaged.
    """
    rows, found = build.read_rows(run.predictions), run.read_metrics()
    lines, noun = [], nouns_of(recipe.read(run.recipe).data.sound).plain
    for split, scores in run.read_scores().items():
        several = "mean_average_precision" in scores
        truths = [row["label"] for row in rows if row["split"] == split]
        guess = guess_of(shown_label(label, several) for label in truths)
        lines.append(f"{_NAMED[split]}: {verdict(scores, guess)}")
        lines += doubts(scores, guess, noun)
    images = found["val"]["n"] if "val" in found else 0
    several_seeds = over_seeds(found["seeds"]) if "seeds" in found else []
    return [*lines, *prices(build.stages_of(run), images, noun), *several_seeds]


def mistakes(run: RunFolder) -> tuple[int, str]:
    """Returns how many pictures of val and test are wrong, and a sentence on the worst.

    Raises:
        RunError: Where the run is damaged.
    """
    rows = build.read_rows(run.predictions)
    several = any("mean_average_precision" in one for one in run.read_scores().values())
    wrong = examples.mistakes(rows, short_names([row["path"] for row in rows]), several)
    if not wrong:
        return 0, ""
    worst = wrong[0]
    taken_for = worst.predicted or "none"
    return len(wrong), f"{worst.name}, taken for {taken_for} ({percent(worst.sureness)} sure)"
