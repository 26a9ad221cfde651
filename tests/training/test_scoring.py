import math
from typing import Any

import numpy as np
import pytest
import torch

from frostline.scores import pooling
from frostline.training import objectives
from frostline.training.scoring import (
    Score,
    best_of,
    expected_lead,
    is_beyond_luck,
    is_clearly_worse,
    scaled_loss,
    score_logits,
)

# Of a hundred images half a standard error is at most 0.025.
A_HUNDRED = 100


def score(accuracy: float, loss: float) -> Score:
    return Score(9.9, accuracy, A_HUNDRED, loss)


def test_a_clearly_higher_accuracy_wins_whatever_the_loss() -> None:
    assert best_of([score(0.80, 0.1), score(0.90, 2.0)]) == 1


def test_near_the_best_accuracy_the_lower_scaled_loss_wins() -> None:
    assert best_of([score(0.90, 0.5), score(0.89, 0.3), score(0.60, 0.1)]) == 1


def test_of_equals_the_first_wins_so_a_tie_is_no_improvement() -> None:
    one, other = score(0.9, 0.3), score(0.9, 0.3)
    assert best_of([one, other]) == 0
    assert not one.better_than(other)


def test_a_score_of_an_old_checkpoint_is_compared_by_its_plain_loss() -> None:
    assert Score(0.2, 0.9, A_HUNDRED).better_than(Score(0.3, 0.9, A_HUNDRED))


def test_a_perfect_accuracy_leaves_no_error_to_allow_for() -> None:
    assert best_of([score(1.0, 0.5), score(0.99, 0.1)]) == 0


@pytest.mark.parametrize("kind", ["multiclass", "binary", "multilabel"])
def test_files_are_scored_as_their_pooled_logits_are(kind: str) -> None:
    torch.manual_seed(2)
    logits = 3 * torch.randn(30, 1 if kind == "binary" else 3)
    files = torch.arange(30) // 3
    own = torch.randint(0, 2, (10, 3) if kind == "multilabel" else (10,))
    found = score_logits(logits, own.repeat_interleave(3, 0), kind, files)
    assert found == score_logits(pooling.logits(logits, files, kind), own, kind)
    assert found.count == 10
    alone = score_logits(logits, own.repeat_interleave(3, 0), kind, torch.arange(30))
    plain = score_logits(logits, own.repeat_interleave(3, 0), kind)
    assert (alone.accuracy, alone.count) == (plain.accuracy, plain.count)
    assert alone.loss == pytest.approx(plain.loss, rel=1e-12)


@pytest.mark.parametrize("factor", [0.2, 1.0, 5.0])
def test_the_scaled_loss_does_not_depend_on_the_scale_of_the_logits(factor: float) -> None:
    torch.manual_seed(0)
    targets = torch.randint(0, 4, (300,))
    logits = torch.nn.functional.one_hot(targets, 4) * 1.5 + torch.randn(300, 4)
    plain, error = scaled_loss(logits, targets, "multiclass")
    scaled, scaled_error = scaled_loss(factor * logits, targets, "multiclass")
    assert scaled == pytest.approx(plain, rel=2e-3)
    assert scaled_error == pytest.approx(error, rel=5e-2)


@pytest.mark.parametrize("kind", ["multiclass", "binary", "multilabel"])
def test_the_scaled_loss_is_at_most_the_plain_one(kind: str) -> None:
    torch.manual_seed(1)
    shape = {"multiclass": (50, 3), "binary": (50, 1), "multilabel": (50, 3)}[kind]
    logits = 3 * torch.randn(*shape)
    targets = torch.randint(0, 2, (50, 3) if kind == "multilabel" else (50,))
    found = score_logits(logits, targets, kind)
    assert found.scaled_loss is not None
    assert found.scaled_loss <= found.loss
    assert math.isfinite(found.scaled_loss)
    assert found.count == 50


@pytest.mark.parametrize(
    ("count", "exact"), [(1, 0.0), (2, 0.5642), (5, 1.1630), (10, 1.5388), (30, 2.0428)]
)
def test_the_lead_of_the_best_of_many_is_that_of_normal_variables(count: int, exact: float) -> None:
    # Exact values: Harter, "Expected Values of Normal Order Statistics", Biometrika 48, 1961.
    assert expected_lead(count) == pytest.approx(exact, abs=0.03)


def test_the_margin_grows_with_the_number_of_tries() -> None:
    other = Score(0.6, 0.80, 400, 0.6, 0.04)  # Half a standard error: a point.
    better = Score(0.6, 0.82, 400, 0.6, 0.04)
    assert is_beyond_luck(better, other, 1)
    assert not is_beyond_luck(better, other, 10)
    assert is_beyond_luck(Score(0.6, 0.83, 400, 0.6, 0.04), other, 10)
    # The same in log-loss, where the accuracy is about as high.
    assert is_beyond_luck(Score(0.5, 0.80, 400, 0.57, 0.04), other, 1)
    assert not is_beyond_luck(Score(0.5, 0.80, 400, 0.57, 0.04), other, 5)
    assert is_beyond_luck(Score(0.5, 0.80, 400, 0.54, 0.04), other, 10)
    assert not is_beyond_luck(Score(0.5, 0.78, 400, 0.1, 0.04), other, 1)
    assert not is_beyond_luck(other, other, 1)
    # Where nobody noted how sure a log-loss is, accuracy alone tells.
    assert not is_beyond_luck(Score(0.1, 0.80, 400, 0.1), Score(0.6, 0.80, 400, 0.6), 1)


def test_what_is_within_noise_is_not_clearly_worse() -> None:
    # Half a standard error is 0.01 of accuracy, and 0.02 of log-loss.
    other = Score(0.6, 0.80, 400, 0.6, 0.04)
    assert not is_clearly_worse(Score(0.6, 0.791, 400, 0.619, 0.04), other)
    assert is_clearly_worse(Score(0.6, 0.789, 400, 0.601, 0.04), other)
    # Fewer are right, but with better probabilities.
    assert not is_clearly_worse(Score(0.6, 0.789, 400, 0.59, 0.04), other)
    assert is_clearly_worse(Score(0.6, 0.80, 400, 0.621, 0.04), other)
    assert not is_clearly_worse(Score(0.5, 0.85, 400, 0.5, 0.04), other)


def test_of_many_that_are_equal_hardly_one_takes_over() -> None:
    """Networks that agree as two trainings of one do, on 300 images, 20 of them a search."""
    rng = np.random.default_rng(0)
    before = after = 0
    for _ in range(200):
        sure = rng.random(300) < 0.85  # Where all of them say the same.
        same = rng.random(300) < 0.75

        def drawn(sure: Any = sure, same: Any = same) -> Score:
            right = np.where(sure, same, rng.random(300) < 0.75)
            return Score(0.6, float(right.mean()), 300)

        start, tries = drawn(), [drawn() for _ in range(20)]
        before += any(one.better_than(start) for one in tries)
        after += any(is_beyond_luck(one, start, k) for k, one in enumerate(tries, 1))
    assert before > 120
    assert after < 60


@pytest.mark.parametrize("kind", ["multiclass", "binary", "multilabel"])
def test_the_error_of_a_loss_is_that_of_its_mean_over_images(kind: str) -> None:
    torch.manual_seed(0)
    logits = torch.randn(50, 1 if kind == "binary" else 3)
    targets = torch.randint(0, 2, (50, 3) if kind == "multilabel" else (50,))
    each = objectives.losses(logits, targets, kind)
    assert each.shape == (50,)
    assert each.mean().item() == pytest.approx(objectives.loss(logits, targets, kind).item())
    found = score_logits(logits, targets, kind)
    assert found.loss_error is not None
    # Temperature scaling makes random scores more alike.
    assert 0 < found.loss_error <= each.std().item() / math.sqrt(50)
