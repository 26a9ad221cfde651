"""What is still to come of a job, in seconds: for the time left of the whole."""

from collections.abc import Mapping

# The steps of training: the pass over the pictures, trying settings, the stages, scores and report.
LOOK, TRY, TRAIN, FINISH = "look", "try", "train", "finish"


class Ahead:
    """The seconds that each step of a job is expected to take, less what it has taken."""

    def __init__(self) -> None:
        """Begins with nothing known."""
        self._expected: dict[str, float] = {}

    def expect(self, seconds: Mapping[str, float]) -> None:
        """Says what steps, by name, will take; of a step that is known already, anew."""
        self._expected |= seconds

    def took(self, step: str, seconds: float) -> None:
        """Says that a part of a step is done."""
        if step in self._expected:
            self._expected[step] = max(0.0, self._expected[step] - seconds)

    def done(self, *steps: str) -> None:
        """Says that nothing more comes of these steps."""
        for step in steps:
            self._expected.pop(step, None)

    def left_s(self, step: str, spent_s: float, own_left_s: float) -> float:
        """Returns the seconds left of the whole job, seen from within a part of a step.

        Args:
            step: The step's name; empty or unknown where nobody said what it will take.
            spent_s: Seconds since the part began.
            own_left_s: Seconds left of the part, by its own rate.
        """
        others = sum(seconds for name, seconds in self._expected.items() if name != step)
        return others + max(own_left_s, self._expected.get(step, 0.0) - spent_s)


def duration(seconds: float) -> str:
    """Returns a time as a person says it: "8 s", "3 min", "2 h 10 min"."""
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    minutes = round(seconds / 60)
    if minutes < 90:
        return f"{minutes} min"
    return f"{minutes // 60} h {minutes % 60} min"
