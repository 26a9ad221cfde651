"""The rest of a search's time: its winner is tried with one thing changed, over and over.

Which changes there are, in which order, and what they cost is `planner.refinements`'. One takes the
winner's place where it is better by more than the luck of so many tries (`training.scoring`), and
is then what the next ones change. Checkpoints of what has lost are removed as soon as that is
settled.
"""

from collections.abc import Callable

from frostline.pipeline.planning import Planned
from frostline.pipeline.search_record import SearchRecord
from frostline.planner import refinements
from frostline.planner.candidates import Candidate
from frostline.run.folder import RunFolder

# Trains a candidate, by its number, and notes its scores; the second number is the winner's so far.
Attempt = Callable[[int, Candidate, int], None]


def refine(
    planned: Planned, record: SearchRecord, run: RunFolder, is_solved: bool, attempt: Attempt
) -> list[Candidate]:
    """Tries refinements while the time that the plan reckoned with lasts, and chooses.

    Args:
        planned: With its candidates, which were tried before.
        record: Their scores.
        run: Where checkpoints are.
        is_solved: Whether the winner leaves nothing to gain.
        attempt: Trains one, unless the record has it already.

    Returns:
        All candidates, refinements last, in the record's order.
    """
    every, refining = list(planned.candidates), planned.refining
    best = record.best_finished(len(every))
    if refining is None or best is None or is_solved:
        return every
    numbers = record.tried(len(every))
    tried = [every[number] for number in numbers]
    finished = [every[number] for number in numbers if record.is_finished(number)]
    spent = refinements.spent_on(refining, every, tried, finished)
    listed = len(every)
    for number in set(range(listed)) - {best}:
        run.candidate(number).unlink(missing_ok=True)
    while (one := refinements.next_one(every[best], tried, refining, spent)) is not None:
        number = len(every)
        every.append(one)
        tried.append(one)
        record.add(number, one, best)
        attempt(number, one, best)
        refinements.book(one, refining, spent, is_ended=not record.is_finished(number))
        lost = number
        if record.takes_over(number, tries=len(every) - listed):
            best, lost = number, best
        run.candidate(lost).unlink(missing_ok=True)
    return every
