import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from frostline.base.errors import TrainingError
from frostline.scores import pooling
from frostline.training import objectives, probe
from frostline.training.cross_validation import cross_validate


def clouds(count: int, seed: int = 1, classes: int = 3, width: int = 30) -> tuple:
    centres = np.random.default_rng(0).normal(0, 0.6, (classes, width))
    chance = np.random.default_rng(seed)
    targets = chance.integers(0, classes, count)
    features = centres[targets] + chance.normal(0, 1, (count, width))
    return torch.tensor(features, dtype=torch.float32), torch.tensor(targets)


def test_logits_are_those_of_scikit_learn_without_the_fold() -> None:
    features, targets = clouds(90)
    found = cross_validate(features, targets, 3, folds=4)
    for number, c in enumerate(found.inverse_penalties):
        inside, outside = found.fold != number, found.fold == number
        scaler = StandardScaler().fit(features[inside])
        model = LogisticRegression(C=c, tol=1e-8, max_iter=5000)
        model.fit(scaler.transform(features[inside]), targets[inside])
        want = model.predict_proba(scaler.transform(features[outside]))
        got = found.logits[outside].softmax(1).numpy()
        np.testing.assert_allclose(got, want, rtol=0, atol=1e-2)


@pytest.mark.parametrize("kind", ["multiclass", "binary", "multilabel"])
def test_scores_are_those_of_the_logits(kind: str) -> None:
    features, targets = clouds(80)
    if kind != "multiclass":
        targets = (features[:, :3] + torch.randn(80, 3) > 0).float()
    if kind == "binary":
        targets = targets[:, 0].long()
    found = cross_validate(features, targets, 2 if kind == "binary" else 3, kind, folds=5)
    assert found.logits.shape == (80, 1 if kind == "binary" else 3)
    for number in range(5):
        held_out = found.fold == number
        said, truth = found.logits[held_out], targets[held_out]
        right = objectives.correct(said, truth, kind) / len(truth)
        assert found.accuracies[number] == pytest.approx(right)
        loss = objectives.loss(said, truth, kind).item()
        assert found.losses[number] == pytest.approx(loss, rel=1e-6)
    assert found.accuracy[0] == pytest.approx(np.mean(found.accuracies))
    assert found.accuracy[1] == pytest.approx(np.std(found.accuracies, ddof=1))
    assert found.loss[0] == pytest.approx(np.mean(found.losses))
    assert found.accuracy[0] > 0.2


def test_noise_is_told_as_noise() -> None:
    """More features than images: a probe fits them all and knows nothing."""
    chance = torch.Generator().manual_seed(0)
    features = torch.randn(60, 1280, generator=chance)
    targets = torch.arange(60) % 2
    found = cross_validate(features, targets, 2)
    assert 0.25 < found.accuracy[0] < 0.75
    assert found.loss[0] > 0.6
    everything = probe.fit((features, targets), None, 2, inverse_penalty=1.0)
    assert ((features @ everything.weight.T + everything.bias).argmax(1) == targets).all()


def test_groups_stay_together() -> None:
    """Each picture is there five times, and its class is drawn."""
    chance = torch.Generator().manual_seed(0)
    features = torch.randn(30, 60, generator=chance).repeat(5, 1)
    targets = torch.randint(0, 2, (30,), generator=chance).repeat(5)
    groups = [f"picture {number}" for number in range(30)] * 5
    apart = cross_validate(features, targets, 2, folds=5)
    together = cross_validate(features, targets, 2, folds=5, groups=groups)
    assert apart.accuracy[0] == 1
    assert together.accuracy[0] < 0.8


def windows_in_files() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """A hundred files of three windows, each of which says little by itself."""
    features, targets = clouds(100, seed=3)
    noise = 4 * torch.randn(3, *features.shape, generator=torch.Generator().manual_seed(0))
    return (features + noise).flatten(0, 1), targets.repeat(3), torch.arange(100).repeat(3)


def test_files_are_scored_by_the_means_over_their_windows() -> None:
    features, targets, files = windows_in_files()
    groups = files.tolist()
    by_window = cross_validate(features, targets, 3, folds=5, groups=groups)
    by_file = cross_validate(features, targets, 3, folds=5, groups=groups, files=files)
    assert torch.equal(by_window.fold, by_file.fold)
    pooled = pooling.logits(by_file.logits, files, "multiclass")
    own, fold = pooling.first(targets, files), pooling.first(by_file.fold, files)
    for number in range(5):
        inside = fold == number
        right = (pooled.argmax(1) == own)[inside].double().mean().item()
        assert by_file.accuracies[number] == pytest.approx(right, abs=1e-12)
        loss = torch.nn.functional.cross_entropy(pooled[inside], own[inside]).item()
        assert by_file.losses[number] == pytest.approx(loss, rel=1e-9)
    assert by_file.accuracy[0] > by_window.accuracy[0] + 0.05


def test_a_class_with_a_single_picture() -> None:
    features, targets = clouds(40, classes=2)
    targets[0] = 2
    found = cross_validate(features, targets, 3, folds=10)
    assert torch.isfinite(found.logits).all()
    # The probe that is asked for it has never seen it, and does not rule it out.
    chance = found.logits[0].softmax(0)[2]
    assert 1e-7 < chance < 0.2
    assert found.logits[0].argmax() != 2


def test_as_many_folds_as_images() -> None:
    features, targets = clouds(12)
    found = cross_validate(features, targets, 3, folds=12)
    assert sorted(found.fold.tolist()) == list(range(12))
    assert set(found.accuracies) <= {0.0, 1.0}


def test_the_same_seed_gives_the_same_bits() -> None:
    features, targets = clouds(60)
    one, two = (cross_validate(features, targets, 3, seed=3) for _ in range(2))
    assert torch.equal(one.logits, two.logits)
    other = cross_validate(features, targets, 3, seed=4)
    assert not torch.equal(one.fold, other.fold)


def test_c_of_a_fold_is_chosen_by_the_other() -> None:
    features, targets = clouds(60, seed=2)
    found = cross_validate(features, targets, 3, folds=2)
    halves = [(features[found.fold == k], targets[found.fold == k]) for k in (0, 1)]
    first, second = (probe.fit(halves[k], halves[1 - k], 3).inverse_penalty for k in (0, 1))
    assert first != second
    assert found.inverse_penalties == (first, second)


def test_too_many_folds_are_refused() -> None:
    features, targets = clouds(6)
    with pytest.raises(TrainingError, match="which is 6; got 10"):
        cross_validate(features, targets, 3)


def test_features_that_are_no_numbers_are_refused() -> None:
    features, targets = clouds(40)
    features[3, 3] = float("inf")
    with pytest.raises(TrainingError, match="--precision fp32"):
        cross_validate(features, targets, 3)
