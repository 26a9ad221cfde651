"""How long a run has taken, over all the processes that it was made by."""

import time
from collections.abc import Callable


class RunClock:
    """The seconds of a run: what a process that was killed had written down, and what followed.

    What is lost between a kill and going on does not count, nor does work that is done again; so a
    run that is gone on with sees the times that it would have seen.
    """

    def __init__(self, begun: float | None = None, now: Callable[[], float] | None = None) -> None:
        """Begins to count.

        Args:
            begun: When, as `now` tells it; now where None.
            now: Tells seconds; `time.perf_counter` where None.
        """
        self._now = time.perf_counter if now is None else now
        self._begun = self._now() if begun is None else begun

    def elapsed_s(self) -> float:
        """Returns the seconds that the run has taken so far."""
        return self._now() - self._begun

    def go_on_from(self, elapsed_s: float) -> None:
        """Says that so many seconds have passed by now, whatever this process took."""
        self._begun = self._now() - elapsed_s
