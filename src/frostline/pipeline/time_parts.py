"""How the time that a run is given (`--time`) is divided: what is past, each step, and the rest."""

from dataclasses import asdict, dataclass

# Of the time left for candidates, so much is planned with: an epoch takes a tenth more or less than
# a short measurement says, and a training cannot be shortened once it has begun.
USED = 0.9
# Predictions, the model, the sheet of views and the report, besides scoring.
FINISH_S = 3.0
# What a plan takes once the pass has been measured roughly: engines are made ready and compared.
PLANNING_S = 5.0
# A run with a further seed opens the network anew, and lists the images.
OPENING_S = 3.0


@dataclass(frozen=True)
class TimeParts:
    """Seconds of a run.

    Attributes:
        given_s: What the user gives, from the command's start to its end.
        begun_s: What has passed before the pass over the images: imports, listing, planning.
        pass_s: The pass, and deriving later lines from it.
        probe_s: Fitting probes.
        finish_s: Scores and the report, after all training.
        seeds: How often the run is made; all but the first time without a search.
    """

    given_s: float
    begun_s: float
    pass_s: float
    probe_s: float
    finish_s: float
    seeds: int = 1

    @property
    def search_s(self) -> float:
        """What is left for candidates; the winner takes no longer in each further seed."""
        return max(0.0, (self.given_s - self.least_s) / self.seeds)

    @property
    def least_s(self) -> float:
        """What the run takes where no candidate is tried."""
        first_s = self.begun_s + self.pass_s + self.probe_s + self.finish_s
        return first_s + (self.seeds - 1) * self._of_seed_s

    @property
    def until_s(self) -> float:
        """By when, on the run's clock, all candidates must be trained."""
        others_s = (self.seeds - 1) * (self.search_s + self._of_seed_s)
        return self.given_s - self.finish_s - others_s

    @property
    def _of_seed_s(self) -> float:
        """What a further seed takes besides training."""
        return OPENING_S + self.probe_s + self.finish_s

    @property
    def facts(self) -> dict[str, float]:
        """What `plan.json` holds."""
        values = {**asdict(self), "until_s": self.until_s}
        return {key: round(value, 2) for key, value in values.items() if key != "seeds"}

    def __str__(self) -> str:
        """Says it in a line."""
        return (
            f"of {self.given_s:.0f} s {self.begun_s:.0f} have passed; the pass over the pictures "
            f"takes {self.pass_s:.0f}, the probe {self.probe_s:.0f}, scores and report "
            f"{self.finish_s:.0f}, and {self.search_s:.0f} are left to try settings"
            f"{' and as long for each further seed' * (self.seeds > 1)}"
        )
