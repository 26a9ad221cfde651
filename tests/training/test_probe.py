import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression

from frostline.training import objectives, probe


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


def sigmoids(
    count: int, seed: int, labels: int = 3, width: int = 20
) -> tuple[torch.Tensor, torch.Tensor]:
    """Labels that each follow features of their own, the last one rare."""
    slopes = np.random.default_rng(0).normal(0, 1, (labels, width))
    chance = np.random.default_rng(seed)
    features = chance.normal(0, 1, (count, width))
    shift = np.linspace(0, -3, labels)
    likely = 1 / (1 + np.exp(-(features @ slopes.T + shift)))
    targets = (chance.random((count, labels)) < likely).astype(np.float32)
    return torch.tensor(features, dtype=torch.float32), torch.tensor(targets)


def test_one_sigmoid_is_the_logistic_regression_of_scikit_learn() -> None:
    features, many = sigmoids(200, 1)
    targets = many[:, 0].long()
    scaled = (features - features.mean(0)) / features.std(0, unbiased=False)
    strength = 2.0
    found = probe.fit((scaled, targets), None, 2, [strength], kind="binary")
    assert found.weight.shape == (1, 20)
    assert found.bias.shape == (1,)
    rival = LogisticRegression(
        C=scaled.shape[1] / (strength * len(scaled)), tol=1e-8, max_iter=5000
    )
    rival.fit(scaled.numpy(), targets.numpy())
    want = torch.tensor(rival.decision_function(scaled.numpy()), dtype=torch.float32)
    got = (scaled @ found.weight.T + found.bias).flatten()
    torch.testing.assert_close(got, want, rtol=1e-2, atol=1e-2)


def test_several_labels_are_a_regression_each() -> None:
    features, targets = sigmoids(200, 1)
    found = probe.fit((features, targets), None, 3, [1.0], kind="multilabel")
    assert found.weight.shape == (3, 20)
    for number in range(3):
        alone = probe.fit((features, targets[:, number]), None, 2, [1.0], kind="binary")
        torch.testing.assert_close(found.weight[number], alone.weight[0], rtol=1e-2, atol=2e-3)
        torch.testing.assert_close(found.bias[number], alone.bias[0], rtol=1e-2, atol=2e-3)


@pytest.mark.parametrize("kind", ["binary", "multilabel"])
@pytest.mark.parametrize("with_val", [True, False])
def test_sigmoids_choose_their_strength_by_log_loss(kind: str, with_val: bool) -> None:
    def own(whole: tuple[torch.Tensor, torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
        return (whole[0], whole[1][:, 0].long()) if kind == "binary" else whole

    classes = 2 if kind == "binary" else 3
    val = own(sigmoids(150, 3))
    found = probe.fit(own(sigmoids(90, 2)), val if with_val else None, classes, kind=kind)
    losses = {strength: loss for strength, loss, _ in found.tried}
    assert losses[found.strength] == min(losses.values())
    assert min(losses) < found.strength < max(losses)
    logits = val[0] @ found.weight.T + found.bias
    correct = objectives.correct(logits, val[1], kind) / 150
    assert correct > (0.8 if kind == "binary" else 0.45)
    if with_val:
        (row,) = [row for row in found.tried if row[0] == found.strength]
        assert objectives.loss(logits, val[1], kind).item() == pytest.approx(row[1], abs=1e-3)
        assert correct == row[2]


@pytest.mark.parametrize("kind", ["binary", "multilabel"])
def test_a_label_that_all_or_none_have_does_no_harm(kind: str) -> None:
    features, targets = sigmoids(40, 2)
    targets[:, 0] = 1
    targets[:, 1] = 0
    for column in (0, 1):
        own = targets[:, column].long() if kind == "binary" else targets
        found = probe.fit((features, own), None, 2 if kind == "binary" else 3, kind=kind)
        assert torch.isfinite(found.weight).all()
        assert torch.isfinite(found.bias).all()


@pytest.mark.parametrize("count", [1, 2, 4])
@pytest.mark.parametrize("kind", ["multiclass", "binary", "multilabel"])
def test_a_handful_of_images_is_enough(kind: str, count: int) -> None:
    features, many = sigmoids(count, 6)
    targets = many if kind == "multilabel" else many[:, 0].long()
    found = probe.fit((features, targets), None, 3 if kind == "multilabel" else 2, kind=kind)
    assert torch.isfinite(found.weight).all()
