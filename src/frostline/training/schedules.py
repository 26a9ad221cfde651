"""How the learning rate goes over the steps of a stage."""

import math


def factor(step: int, steps: int, warmup: float, schedule: str) -> float:
    """Returns what the peak learning rate is multiplied by at `step`.

    Args:
        step: From 0.
        steps: Of the whole stage.
        warmup: Share of `steps` in which the rate climbs from near zero.
        schedule: `cosine` falls to zero at the end; `constant` stays.
    """
    rising = round(warmup * steps)
    if step < rising:
        return (step + 1) / (rising + 1)
    if schedule == "constant":
        return 1.0
    done = (step - rising) / max(1, steps - rising)
    return 0.5 * (1 + math.cos(math.pi * done))
