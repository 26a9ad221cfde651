"""All that people look at in a finished run, written from the run folder alone."""

from frostline.report import build, card, curves, matrix, results
from frostline.run.folder import RunFolder


def write(run: RunFolder) -> None:
    """Writes curves, confusion matrices, `results.csv`, the report and the card.

    Raises:
        RunError: Where the run is unfinished or damaged.
        DiskError: Where something cannot be written.
    """
    history, stages, scores = run.read_history(), build.stages_of(run), run.read_scores()
    curves.write_curves(history, run.path, stages)
    for split, found in scores.items():
        matrix.write_confusion(found, run.path / f"confusion-{split}")
    results.write_results(history, stages, run.results)
    build.write(run)
    card.write(run)
