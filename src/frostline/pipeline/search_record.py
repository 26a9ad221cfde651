"""What a search tried, with costs and scores: `search.json`, and the table on the screen."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from frostline.base import files
from frostline.base.console import Console
from frostline.pipeline import messages
from frostline.planner.candidates import REFINING, Candidate
from frostline.run.folder import RunFolder
from frostline.training import scoring
from frostline.training.scoring import Score

# When candidates are scored: at half of their epochs, at the end, and by cross-validation.
HALF, FINAL, CROSS_VALIDATED = "half", "final", "cross_validated"
RULE = (
    "of those within half a standard error of the best accuracy, the least log-loss after "
    "temperature scaling"
)


@dataclass(frozen=True)
class Trained:
    """How a candidate stands.

    Attributes:
        score: None where its loss is no longer a number.
        seconds: What its training took.
        failure: Why there is no score.
    """

    score: Score | None
    seconds: float
    failure: str = ""


class SearchRecord:
    """`search.json`: every candidate with its cost and its scores."""

    def __init__(
        self, run: RunFolder, candidates: Sequence[Candidate], probe: Score, folds: int = 0
    ) -> None:
        """Reads what is there, or begins.

        Args:
            run: The run.
            candidates: The list of what is tried; refinements are added to it.
            probe: The score that they must beat.
            folds: Of the cross-validation that all scores are of; 0 where they are of `val`.
        """
        self._path, self._listed = run.search, range(len(candidates))
        self._vectors = {one.line.name for one in candidates if one.line.is_vector}
        self._probe = probe
        self._last = CROSS_VALIDATED if folds else FINAL
        self.facts: dict[str, Any] = run.read_search() or {
            "rule": RULE,
            "scored_on": "cross-validation" if folds else "val",
            "folds": folds,
            "probe": vars(probe),
            "candidates": [_facts_of(one) for one in candidates],
        }

    def write(self) -> None:
        """Writes all of it."""
        files.write_json(self._path, self.facts)

    def add(self, number: int, candidate: Candidate, of: int) -> None:
        """Adds a refinement of another candidate, or finds it there."""
        if number == len(self.facts["candidates"]):
            self.facts["candidates"].append({**_facts_of(candidate), "of": of})

    def has(self, number: int, when: str) -> bool:
        """Says whether a candidate was scored, or has diverged, by then."""
        return when in self.facts["candidates"][number]

    def score(self, number: int, when: str) -> Score | None:
        """Returns a score; None where there is none."""
        found = self.facts["candidates"][number].get(when)
        return Score(**found) if found else None

    def is_behind(self, number: int, when: str) -> bool:
        """Says whether a candidate is clearly worse than the probe; a diverged one is."""
        found = self.score(number, when)
        return found is None or scoring.is_clearly_worse(found, self._probe)

    def note(self, number: int, when: str, trained: Trained) -> None:
        """Adds a score, on disk too.

        Raises:
            DiskError: Where it cannot be written; the scores before it still stand.
        """
        facts = self.facts["candidates"][number]
        score = trained.score
        if score is not None and scoring.has_blown_up(score):
            trained = replace(trained, score=None, failure=f"the log-loss came to {score.loss:.3g}")
        facts[when] = vars(trained.score) if trained.score else None
        facts["seconds"] = round(facts.get("seconds", 0.0) + trained.seconds, 3)
        if trained.failure:
            facts["failure"] = trained.failure
        self.write()

    def best_at(self, when: str, count: int, among: Sequence[int]) -> list[int]:
        """Returns the positions of the best ones, best first; diverged ones are left out."""
        scores = self._scores(when, among)
        ranked: list[int] = []
        while scores and len(ranked) < count:
            numbers = list(scores)
            best = numbers[scoring.best_of([scores[number] for number in numbers])]
            ranked.append(best)
            del scores[best]
        return ranked

    def tried(self) -> list[int]:
        """Returns which of the list were tried, to their half at least."""
        return [at for at in self._listed if "seconds" in self.facts["candidates"][at]]

    def is_finished(self, number: int) -> bool:
        """Says whether a candidate came to its end; one that diverged or was ended did not."""
        return self.score(number, self._last) is not None

    def goes_on(self, number: int, winner: int) -> bool:
        """Says whether a refinement at its half is not far behind the winner at its own."""
        mine, other = self.score(number, HALF), self.score(winner, HALF)
        return mine is not None and (other is None or not scoring.is_far_behind(mine, other))

    def best_finished(self) -> int | None:
        """Returns the best of the list; None where none of it came to its end."""
        best = self.best_at(self._last, 1, self._listed)
        return best[0] if best else None

    def best_score(self, before: int | None = None) -> Score:
        """Returns the winner's score, the probe's where that won.

        Args:
            before: Counts only what comes before this position; None for all.
        """
        best = self._winner(before)
        score = None if best is None else self.score(best, self._last)
        return score or self._probe

    def takes_over(self, number: int) -> bool:
        """Says whether a refinement wins against what won before it, and notes it."""
        score, other = self.score(number, self._last), self.best_score(before=number)
        refined = self.facts["candidates"][len(self._listed) : number + 1]
        tries = sum("seconds" in one for one in refined)
        won = score is not None and scoring.is_beyond_luck(score, other, tries)
        self.facts["candidates"][number]["won"] = won
        return won

    def choose(self) -> int | None:
        """Returns the winner; None for the probe."""
        chosen = self._winner()
        self.facts["chosen"] = "probe" if chosen is None else chosen
        files.write_json(self._path, self.facts)
        return chosen

    def _winner(self, before: int | None = None) -> int | None:
        tried = self.facts["candidates"][:before]
        refined = [at for at, one in enumerate(tried) if one.get("won")]
        if refined:
            return refined[-1]
        finished = self._scores(self._last, self._listed)
        at = scoring.best_of([self._probe, *finished.values()])
        return None if at == 0 else list(finished)[at - 1]

    @property
    def all_diverged(self) -> bool:
        """Whether there were candidates, and none of them came to an end."""
        tried = [one for one in self.facts["candidates"] if "seconds" in one]
        return bool(tried) and all(one.get("failure") for one in tried)

    def tell(self, console: Console, has_probe: bool) -> None:
        """Says what was tried, and what was chosen.

        Args:
            console: Where words go.
            has_probe: Whether a probe is what is left where none was better.
        """
        folds, chosen = self.facts["folds"], self.facts["chosen"]
        columns = (CROSS_VALIDATED,) if folds else (HALF, FINAL)
        heads = [f"{folds} folds"] if folds else ["half", "end"]
        rows = [["candidate", *heads, "seconds", ""]]
        gaps = [""] * (len(columns) - 1)
        mark = "<- best" if chosen == "probe" else ""
        rows.append(["probe", *gaps, _shown(self._probe), "", mark])
        for number, facts in enumerate(self.facts["candidates"]):
            if "seconds" not in facts:
                continue  # It was ruled out.
            mark = "<- best" if number == chosen else "diverged" if facts.get("failure") else ""
            scores = [_shown(self.score(number, when)) for when in columns]
            rows.append([facts["name"], *scores, f"{facts['seconds']:.1f}", mark])
        where = f"by {folds}-fold cross-validation" if folds else "on validation"
        if has_probe or chosen != "probe":
            self._tell_shortly(console)
        console.detail(f"search: accuracy and scaled log-loss {where}")
        console.table(rows)
        if self.all_diverged and has_probe:
            console.say(
                "search: the losses of all candidates were no longer numbers, so the probe it is; "
                "a smaller stages.0.lr may do better"
            )

    def _tell_shortly(self, console: Console) -> None:
        """Says what came of it in a sentence."""
        tried, chosen = self.facts["candidates"], self.facts["chosen"]
        count = sum("seconds" in one for one in tried)
        settings = f"{count} setting{'s' * (count != 1)}"
        is_head = bool(tried) and all(one["line"] in self._vectors for one in tried)
        what, rest = ("the head", "it stays") if is_head else ("more layers", "they stay frozen")
        if not count:
            console.say(f"Training {what}: no time for it (give more with --time)")
        elif chosen == "probe":
            console.say(f"Training {what}: no better with {settings}, so {rest}")
        else:
            score = self.score(chosen, self._last)
            assert score is not None
            best = tried[chosen]
            layers = "" if is_head else f", all above {best['line']}"
            # What a refinement changed is beyond the usual settings.
            change = best["name"].removeprefix(f"{best['line']}, ")
            which = f" ({change})" if best["when"] == REFINING else ""
            among = f", best of {settings}{which}" if count > 1 else which
            told = f"Training {what}{layers}{among}: {messages.right(score)}"
            console.say(f"{told}{self._reason(score)}")

    def _reason(self, score: Score) -> str:
        """Returns why a score is better than the probe's, where it is not for being more right."""
        if score.accuracy > self._probe.accuracy:
            return ""
        count = "as many" if score.accuracy == self._probe.accuracy else "fewer"
        return f", {count}, but with a lower log-loss"

    def _scores(self, when: str, among: Sequence[int]) -> dict[int, Score]:
        return {
            number: score
            for number in sorted(among)
            if (score := self.score(number, when)) is not None
        }


def _facts_of(candidate: Candidate) -> dict[str, Any]:
    return {
        "name": candidate.name,
        "line": candidate.line.name,
        "when": candidate.when,
        "estimate_s": round(candidate.estimate_s, 3),
    }


def _shown(score: Score | None) -> str:
    if score is None:
        return "-"
    loss = score.loss if score.scaled_loss is None else score.scaled_loss
    return f"{score.accuracy:.4f} {loss:.3f}"
