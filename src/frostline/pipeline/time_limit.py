"""Keeping a search within the time of its run, by the clock, where the user gave a time.

A plan that was made in a quiet moment may run into a busy one. So before a candidate is trained,
the clock and the rate of the epochs so far say whether it can still end in time. If not, it gets
fewer epochs, so that its schedule is whole, or is left out. One that is under way ends early only
where it would be late by far.

Each decision is written to `search.json` before it is carried out, and the clock with it: a run
that is gone on with takes the same decisions, whatever the machine does by then.
"""

import math
from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import Any

from frostline.base.clock import RunClock
from frostline.base.console import Console
from frostline.pipeline.fill import Filled
from frostline.pipeline.search_record import CROSS_VALIDATED, FINAL, HALF, SearchRecord
from frostline.pipeline.time_parts import FINISH_S
from frostline.planner.candidates import LEAST_EPOCHS, Candidate, survivor_count

# What is under way may be late by so much of the time that was given.
FAR = 0.05
# The rate is that of about so many epochs, the last ones.
RECENT = 5
# A candidate after the first is tried with no less than this share of its epochs.
LEAST_SHARE = 0.5
# The pass over the images tells of the machine where it took so much more than planned.
CLEARLY = 1.25
# What a decision does to a candidate.
SHORTENED, LEFT_OUT, ENDED = "shortened", "left out", "ended"


class TimeLimit:
    """Says what there is still time for, and writes that down.

    Attributes:
        candidates: Those of the plan, some of them shortened.
    """

    def __init__(
        self,
        record: SearchRecord,
        candidates: Sequence[Candidate],
        clock: RunClock,
        given_s: float,
        until_s: float,
        console: Console,
        fixed: Collection[str] = (),
        is_needed: bool = False,
        slowness: float = 1.0,
    ) -> None:
        """Goes on from what was written down, or begins.

        Args:
            record: Where that is.
            candidates: Of the plan.
            clock: Of the run.
            given_s: The seconds that the run was given; infinite where it was given none.
            until_s: When all training must be over, on the clock.
            console: Where words go.
            fixed: What of the candidates is not to be changed; see `recipe.search.fixed`.
            is_needed: Whether something must be trained: there is no probe.
            slowness: What other work took, over what was planned.
        """
        self.candidates = list(candidates)
        self._planned = list(candidates)
        self._listed = len(self._planned)
        self._record, self._clock, self._console = record, clock, console
        self._given_s, self._until_s = given_s, until_s
        self._fixed, self._is_needed = fixed, is_needed
        self._is_resumed = False
        if not math.isfinite(given_s):
            return
        facts = record.facts
        if "clock" in facts:
            clock.go_on_from(facts["clock"]["at_s"])
        else:
            now = clock.elapsed_s()
            epoch_s = self._planned_s(0) if candidates else 0.0
            spent_s = epoch_s * slowness
            facts["clock"] = {"at_s": now, "mark_s": now, "spent_s": spent_s, "planned_s": epoch_s}
            facts["decisions"] = []
            record.write()
        for one in facts["decisions"]:
            if one["what"] == SHORTENED:
                self._shorten(one["candidate"], one["epochs"])

    def admits(
        self, number: int, when: str, others: Sequence[int] = (), pass_s: float = 0.0
    ) -> bool:
        """Says whether a candidate is trained until then; shortens it where that helps.

        Args:
            number: Which one.
            when: `half`, `final` or `cross_validated`.
            others: Those that were trained to their half, of which the better ones go on.
            pass_s: Planned seconds of passes over the images that it needs.
        """
        if not math.isfinite(self._given_s):
            return True
        if self._decided(number, LEFT_OUT, when):
            return False
        facts = self._record.facts["candidates"][number]
        self._is_resumed = facts.get("begun") == when
        if self._is_resumed:
            return True
        epochs = self._epochs_in_time(number, when, others, pass_s)
        if not epochs:
            self._decide({"candidate": number, "what": LEFT_OUT, "when": when})
            return False
        if epochs < self.candidates[number].stage.epochs:
            self._shorten(number, epochs)
            self._decide({"candidate": number, "what": SHORTENED, "epochs": epochs})
        facts["begun"] = when
        self._clock_facts["mark_s"] = self._clock.elapsed_s()
        self.keep_clock()
        return True

    def add(self, number: int, candidate: Candidate) -> None:
        """Adds a candidate that the plan does not list, unless it is there."""
        if number == len(self.candidates):
            self.candidates.append(candidate)
            self._planned.append(candidate)

    def epoch_begins(self) -> None:
        """Takes the time: what came before is no part of the first epoch."""
        if math.isfinite(self._given_s) and not self._is_resumed:
            self._clock_facts["mark_s"] = self._clock.elapsed_s()

    def epochs_done(self, number: int, count: int) -> None:
        """Takes the time of epochs."""
        if not math.isfinite(self._given_s):
            return
        now, clock = self._clock.elapsed_s(), self._clock_facts
        share = max(0.0, 1 - count / RECENT)
        clock["spent_s"] = share * clock["spent_s"] + now - clock["mark_s"]
        clock["planned_s"] = share * clock["planned_s"] + count * self._planned_s(number)
        clock["mark_s"] = now

    def ends(self, number: int, epoch: int) -> bool:
        """Takes the time of an epoch; says whether the candidate is to end here, unfinished."""
        if not math.isfinite(self._given_s):
            return False
        self.epochs_done(number, 1)
        now = self._clock_facts["mark_s"]
        ended = self._decided(number, ENDED)
        if ended is not None:
            return epoch >= int(ended["epoch"])
        epoch_s = self._planned_s(number) * self._slowness
        left = self.candidates[number].stage.epochs - epoch
        is_far = now + left * epoch_s > self._until_s + FAR * self._given_s
        if not left or not is_far or now + epoch_s <= self._until_s:
            return False
        self._decide({"candidate": number, "what": ENDED, "epoch": epoch})
        return True

    def ended_at(self, number: int) -> int:
        """Returns after which epoch a candidate was ended, unfinished; 0 where it was not."""
        if not math.isfinite(self._given_s):
            return 0
        decided = self._decided(number, ENDED)
        return 0 if decided is None else int(decided["epoch"])

    def keep_clock(self) -> None:
        """Writes down the time: a run that is gone on with goes on from here."""
        if math.isfinite(self._given_s):
            self._clock_facts["at_s"] = self._clock.elapsed_s()
            self._record.write()

    @property
    def _clock_facts(self) -> dict[str, float]:
        facts: dict[str, float] = self._record.facts["clock"]
        return facts

    @property
    def _slowness(self) -> float:
        """What epochs take, over what was planned; 1 before the first."""
        facts = self._clock_facts
        return facts["spent_s"] / facts["planned_s"] if facts["planned_s"] else 1.0

    def _planned_s(self, number: int) -> float:
        """Returns the seconds of an epoch, as they were planned."""
        one = self._planned[number]
        return one.estimate_s / one.stage.epochs

    def _epochs_in_time(self, number: int, when: str, others: Sequence[int], pass_s: float) -> int:
        """Returns how many epochs a candidate can have; 0 for none."""
        epochs = self.candidates[number].stage.epochs
        epoch_s = self._planned_s(number) * self._slowness
        left_s = self._until_s - self._clock.elapsed_s() - pass_s * self._slowness
        if when == FINAL and self._record.has(number, HALF):
            # The best one goes on in any case, and ends early where it must.
            in_time = not others or (epochs - epochs // 2) * epoch_s <= left_s
            return epochs if in_time else 0
        least = self._least_epochs(number)
        for count in range(epochs, least - 1, -1):
            if self._cost_s(number, count, when, others) * self._slowness <= left_s:
                return count
        return least if self._is_needed and number == 0 else 0

    def _least_epochs(self, number: int) -> int:
        epochs = self.candidates[number].stage.epochs
        # What changes one thing of another candidate is not to differ from it in its length too.
        if "epochs" in self._fixed or number >= self._listed:
            return epochs
        least = min(LEAST_EPOCHS, epochs)
        return least if number == 0 else max(least, math.ceil(LEAST_SHARE * epochs))

    def _cost_s(self, number: int, epochs: int, when: str, others: Sequence[int]) -> float:
        """Returns the planned seconds of a candidate, and of finishing those that go on."""
        own_s = epochs * self._planned_s(number)
        folds = int(self._record.facts["folds"])
        if when == CROSS_VALIDATED:  # On all folds but one in turn, and perhaps once more.
            longest = max([own_s, *(self._whole_s(other) for other in others)])
            return own_s * (folds - 1) + longest
        rest = sorted([own_s / 2, *(self._whole_s(other) / 2 for other in others)], reverse=True)
        return own_s / 2 + sum(rest[: survivor_count(len(rest))])

    def _whole_s(self, number: int) -> float:
        return self.candidates[number].stage.epochs * self._planned_s(number)

    def _shorten(self, number: int, epochs: int) -> None:
        one = self.candidates[number]
        estimate_s = epochs * self._planned_s(number)
        stage = replace(one.stage, epochs=epochs)
        self.candidates[number] = replace(one, stage=stage, estimate_s=estimate_s)
        self._record.facts["candidates"][number]["name"] = self.candidates[number].name

    def _decided(self, number: int, what: str, when: str = "") -> dict[str, Any] | None:
        found = (
            one
            for one in self._record.facts["decisions"]
            if (one["candidate"], one["what"], one.get("when", "")) == (number, what, when)
        )
        return next(found, None)

    def _decide(self, decision: dict[str, Any]) -> None:
        """Writes a decision down, and says the first one."""
        decisions = self._record.facts["decisions"]
        name = self.candidates[decision["candidate"]].name
        if not decisions:
            self._console.say("Slower than planned, so less is tried to end in time")
        more = "".join(f", {key} {decision[key]}" for key in ("when", "epoch") if key in decision)
        self._console.detail(f"time: {name}: {decision['what']}{more}")
        decisions.append({**decision, "at_s": round(self._clock.elapsed_s(), 3)})
        self.keep_clock()


def time_limit_of(filled: Filled, record: SearchRecord) -> TimeLimit:
    """Returns the time limit of a run's search; one that never acts where the user gave no time."""
    planned = filled.planned
    request, recipe = planned.prepared.request, planned.recipe
    minutes = recipe.budget.time_min
    given_s = math.inf if minutes is None else 60 * minutes
    parts = planned.plan.facts.get("search", {}).get("time", {})
    return TimeLimit(
        record,
        planned.candidates,
        request.clock,
        given_s,
        parts.get("until_s", given_s - FINISH_S),
        request.console,
        recipe.search.fixed,
        recipe.head.start != "probe",
        _slowness_of_pass(filled, parts.get("pass_s", 0.0)),
    )


def _slowness_of_pass(filled: Filled, planned_s: float) -> float:
    """Returns what the pass took over what was planned; 1 where that tells nothing."""
    passes = filled.sources.facts()
    is_whole = all(one["rows_kept"] == 0 for one in passes)
    taken_s = sum(one.get("seconds", 0.0) for one in passes)
    is_clear = is_whole and planned_s > 0 and taken_s > CLEARLY * planned_s
    return taken_s / planned_s if is_clear else 1.0
