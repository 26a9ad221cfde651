"""The interval of a share where images come in groups: a patient, a site, a burst of one camera.

Images of a group are alike, so a thousand of ten patients say less than a thousand of a thousand.
The plain Wilson interval takes them all for independent, and comes out too narrow.
"""

import math
from collections.abc import Hashable, Sequence

import numpy as np
import numpy.typing as npt

_Z = 1.959963984540054  # The 97.5 % quantile of the normal distribution.
_TAIL = 0.975


def grouped_wilson(
    correct: npt.ArrayLike, groups: Sequence[Hashable]
) -> tuple[float | None, float | None]:
    """Returns the 95 % interval of a share, with groups taken for the unit that was sampled.

    Wilson's interval with the effective sample size: the number of images over the design effect,
    which is the cluster-robust variance of the share over that of independent images, and with
    Student's t for as many groups as there are (Dean and Pagano, Evaluating Confidence Interval
    Methods for Binomial Proportions in Clustered Surveys, J. Survey Statistics and Methodology 3,
    2015). Where all images agree there is no variance to go by; then each group counts as one.

    Args:
        correct: `[n]`, whether each image counts: 0 or 1.
        groups: `[n]`, the group of each; images without a group are groups of their own, so give
            each a name of its own.

    Returns:
        Lower and upper end, in [0, 1]; None for both where there are fewer than two groups.

    Raises:
        ValueError: Where the two are not of the same length, or there is no image.
    """
    values = np.asarray(correct, dtype=float)
    if values.ndim != 1 or len(values) != len(groups) or not len(values):
        raise ValueError(f"{values.shape} values and {len(groups)} groups; give one each")
    numbers: dict[Hashable, int] = {}
    of = [numbers.setdefault(one, len(numbers)) for one in groups]
    count, n = len(numbers), len(values)
    if count < 2:
        return None, None
    share = float(values.mean())
    independent = share * (1 - share) / n
    sums = np.bincount(of, values - share)
    robust = float((sums**2).sum()) / n**2 * count / (count - 1)
    effective = n * independent / robust if robust > 0 and independent > 0 else float(count)
    # Groups that happen to even out are no reason for an interval narrower than the plain one.
    effective = min(effective, n)
    effective *= (_Z / _student(count - 1)) ** 2
    return _wilson(share, effective)


def _wilson(share: float, n: float) -> tuple[float, float]:
    # Wilson, Journal of the American Statistical Association 22, 1927.
    middle = (share + _Z**2 / (2 * n)) / (1 + _Z**2 / n)
    half = _Z / (1 + _Z**2 / n) * math.sqrt(share * (1 - share) / n + _Z**2 / (4 * n**2))
    return max(0.0, middle - half), min(1.0, middle + half)


def _student(freedom: int) -> float:
    """Returns the 97.5 % quantile of Student's t distribution.

    Exact for one and two degrees of freedom; then the expansion about the normal quantile
    (Abramowitz and Stegun, 26.7.5), right to 1 % at three and to 0.1 % from five on.
    """
    if freedom == 1:
        return math.tan(math.pi * (_TAIL - 0.5))
    if freedom == 2:
        odds = 4 * _TAIL * (1 - _TAIL)
        return 2 * (_TAIL - 0.5) * math.sqrt(2 / odds)
    z, f = _Z, freedom
    terms = (
        (z**3 + z) / 4,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
        (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / 92160,
    )
    return z + math.fsum(term / f**power for power, term in enumerate(terms, start=1))
