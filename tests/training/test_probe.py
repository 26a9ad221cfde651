import numpy as np
import torch
from sklearn.linear_model import LogisticRegression

from frostline.training import probe


def clouds(
    count: int, seed: int, classes: int = 3, width: int = 20
) -> tuple[torch.Tensor, torch.Tensor]:
    centres = np.random.default_rng(0).normal(0, 0.6, (classes, width))
    chance = np.random.default_rng(seed)
    targets = chance.integers(0, classes, count)
    features = centres[targets] + chance.normal(0, 1, (count, width))
    return torch.tensor(features, dtype=torch.float32), torch.tensor(targets)


def test_it_is_the_logistic_regression_of_scikit_learn() -> None:
    features, targets = clouds(200, 1)
    scaled = (features - features.mean(0)) / features.std(0, unbiased=False)
    strength = 2.0
    found = probe.fit((scaled, targets), None, 3, [strength])
    # scikit-learn minimises the sum of losses times C plus half the squared weights.
    rival = LogisticRegression(
        C=scaled.shape[1] / (strength * len(scaled)), tol=1e-8, max_iter=5000
    )
    rival.fit(scaled.numpy(), targets.numpy())
    logits = scaled @ found.weight.T + found.bias
    want = torch.tensor(rival.predict_log_proba(scaled.numpy()), dtype=torch.float32)
    torch.testing.assert_close(logits.log_softmax(1), want, rtol=1e-2, atol=1e-2)


def test_the_strength_is_the_one_with_the_least_loss_on_val() -> None:
    val = clouds(150, 3)
    found = probe.fit(clouds(60, 2), val, 3)
    losses = {strength: loss for strength, loss, _ in found.tried}
    assert losses[found.strength] == min(losses.values())
    logits = val[0] @ found.weight.T + found.bias
    loss = torch.nn.functional.cross_entropy(logits, val[1]).item()
    assert abs(loss - losses[found.strength]) < 1e-3
    assert min(losses) < found.strength < max(losses)


def test_without_val_it_cross_validates() -> None:
    found = probe.fit(clouds(60, 2), None, 3)
    features, targets = clouds(300, 4)
    accuracy = ((features @ found.weight.T + found.bias).argmax(1) == targets).float().mean()
    assert accuracy > 0.75


def test_a_feature_that_never_moves_does_no_harm() -> None:
    features, targets = clouds(50, 2)
    features[:, 3] = 7.0
    features[:, 4] = 7.0 + 1e-6 * torch.arange(50)
    found = probe.fit((features, targets), (features, targets), 3)
    assert torch.isfinite(found.weight).all()
    assert found.weight[:, 3:5].abs().max() < 10


def test_a_class_without_examples_is_never_chosen() -> None:
    features, targets = clouds(60, 2, classes=2)
    found = probe.fit((features, targets), None, 3)
    assert not ((features @ found.weight.T + found.bias).argmax(1) == 2).any()
