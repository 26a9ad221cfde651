import math

import pytest
import torch

from frostline.training.scoring import Score, best_of, scaled_loss, score_logits

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


@pytest.mark.parametrize("factor", [0.2, 1.0, 5.0])
def test_the_scaled_loss_does_not_depend_on_the_scale_of_the_logits(factor: float) -> None:
    torch.manual_seed(0)
    targets = torch.randint(0, 4, (300,))
    logits = torch.nn.functional.one_hot(targets, 4) * 1.5 + torch.randn(300, 4)
    plain, error = scaled_loss(logits, targets, "multiclass")
    scaled, scaled_error = scaled_loss(factor * logits, targets, "multiclass")
    assert scaled == pytest.approx(plain, rel=2e-3)
    assert scaled_error == pytest.approx(error, rel=2e-2)


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
