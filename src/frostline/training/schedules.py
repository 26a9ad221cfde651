"""How the learning rate goes over the steps of a stage."""

import math

# One cycle starts at 1/25 of the peak and ends at 1/10,000 of that, as its author has it.
_FIRST, _LAST = 1 / 25, 1 / 250_000


def factor(step: int, steps: int, warmup: float, schedule: str) -> float:
    """Returns what the peak learning rate is multiplied by at `step`.

    Args:
        step: From 0.
        steps: Of the whole stage.
        warmup: Share of `steps` in which the rate climbs to its peak.
        schedule: `cosine` falls to zero at the end; `one-cycle` climbs and falls along cosines
            (Smith and Topin, "Super-Convergence", 2018; momentum stays); `step` falls to a tenth
            after half of the steps and again after three quarters; `constant` stays.
    """
    rising = round(warmup * steps)
    if step < rising:
        if schedule == "one-cycle":
            return _along(_FIRST, 1.0, step / rising)
        return (step + 1) / (rising + 1)
    done = (step - rising) / max(1, steps - rising)
    if schedule == "constant":
        return 1.0
    if schedule == "step":
        return 1.0 if step < steps / 2 else 0.1 if step < 3 * steps / 4 else 0.01
    return _along(1.0, _LAST if schedule == "one-cycle" else 0.0, done)


def _along(start: float, end: float, done: float) -> float:
    return end + (start - end) * 0.5 * (1 + math.cos(math.pi * done))
