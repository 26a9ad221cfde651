import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression

from frostline.base.errors import TrainingError
from frostline.scores import pooling
from frostline.training import objectives, penalties, probe
from frostline.training.features import Held
from frostline.training.probe import Probe

Pair = tuple[torch.Tensor, torch.Tensor]


def clouds(count: int, seed: int, classes: int = 3, width: int = 20) -> Pair:
    centres = np.random.default_rng(0).normal(0, 0.6, (classes, width))
    chance = np.random.default_rng(seed)
    targets = chance.integers(0, classes, count)
    features = centres[targets] + chance.normal(0, 1, (count, width))
    return torch.tensor(features, dtype=torch.float32), torch.tensor(targets)


def sigmoids(count: int, seed: int, labels: int = 3, width: int = 20) -> Pair:
    """Labels that each follow features of their own, the last one rare."""
    slopes = np.random.default_rng(0).normal(0, 1, (labels, width))
    chance = np.random.default_rng(seed)
    features = chance.normal(0, 1, (count, width))
    shift = np.linspace(0, -3, labels)
    likely = 1 / (1 + np.exp(-(features @ slopes.T + shift)))
    targets = (chance.random((count, labels)) < likely).astype(np.float32)
    return torch.tensor(features, dtype=torch.float32), torch.tensor(targets)


def of_kind(whole: Pair, kind: str) -> Pair:
    return (whole[0], whole[1][:, 0].long()) if kind == "binary" else whole


def logits(found: Probe, features: torch.Tensor) -> torch.Tensor:
    return features @ found.weight.T + found.bias


def rival(features: torch.Tensor, targets: torch.Tensor, c: float) -> LogisticRegression:
    return LogisticRegression(C=c, tol=1e-8, max_iter=5000).fit(features.numpy(), targets.numpy())


# More images than features, and fewer: both ways to find coordinates.
@pytest.mark.parametrize("width", [20, 300])
def test_it_is_the_logistic_regression_of_scikit_learn(width: int) -> None:
    features, targets = clouds(200, 1, width=width)
    scaled = (features - features.mean(0)) / features.std(0, unbiased=False)
    found = probe.fit((features, targets), None, 3, inverse_penalty=0.05)
    assert found.tried == ()
    want = rival(scaled, targets, 0.05).predict_log_proba(scaled.numpy())
    got = logits(found, features).log_softmax(1)
    torch.testing.assert_close(got, torch.tensor(want).float(), rtol=1e-2, atol=1e-2)


def test_without_coordinates_it_is_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = clouds(200, 1, width=300)
    want = probe.fit(whole, None, 3, inverse_penalty=0.05)
    monkeypatch.setattr("frostline.training.logistic._MOST_COORDINATES", 10)
    got = probe.fit(whole, None, 3, inverse_penalty=0.05)
    torch.testing.assert_close(
        logits(got, whole[0]).log_softmax(1),
        logits(want, whole[0]).log_softmax(1),
        rtol=1e-2,
        atol=1e-2,
    )


def test_c_is_the_one_with_the_least_loss_on_val() -> None:
    found = probe.fit(clouds(60, 2), clouds(150, 3), 3)
    losses = {row.inverse_penalty: row.loss for row in found.tried}
    assert list(losses) == sorted(losses)
    assert losses[found.inverse_penalty] == found.chosen.loss <= min(losses.values()) * 1.001
    assert min(losses) < found.inverse_penalty < max(losses)


@pytest.mark.parametrize("kind", ["multiclass", "binary", "multilabel"])
def test_what_is_said_of_val_is_what_the_probe_reaches_there(kind: str) -> None:
    make = clouds if kind == "multiclass" else sigmoids
    val = of_kind(make(150, 3), kind)
    found = probe.fit(of_kind(make(60, 2), kind), val, 2 if kind == "binary" else 3, kind)
    said = logits(found, val[0])
    assert objectives.correct(said, val[1], kind) / 150 == found.chosen.accuracy
    assert objectives.loss(said, val[1], kind).item() == pytest.approx(found.chosen.loss, rel=1e-6)


@pytest.mark.parametrize("most_rows", [10_240, 64])
def test_c_is_chosen_by_the_scores_of_files(
    monkeypatch: pytest.MonkeyPatch, most_rows: int
) -> None:
    """Also on a part of them, which holds whole files."""
    monkeypatch.setattr(penalties, "_PART", most_rows)
    monkeypatch.setattr(penalties, "_OF_EACH_CLASS", 1)
    features, targets = clouds(150, 3)
    noise = 4 * torch.randn(3, *features.shape, generator=torch.Generator().manual_seed(0))
    windows, truths = (features + noise).flatten(0, 1), targets.repeat(3)
    files = torch.arange(150).repeat(3)
    train = (windows, truths, files)
    found = probe.fit(train, (windows, truths, files), 3)
    pooled = pooling.logits(logits(found, windows), files, "multiclass")
    assert found.chosen.accuracy == objectives.correct(pooled, targets, "multiclass") / 150
    loss = objectives.loss(pooled, targets, "multiclass").item()
    assert found.chosen.loss == pytest.approx(loss, rel=1e-6)
    by_window = probe.fit((windows, truths), (windows, truths), 3)
    assert by_window.chosen.accuracy < found.chosen.accuracy
    inside = probe.fit(train, None, 3, groups=files.tolist())
    assert inside.chosen.accuracy * 150 == pytest.approx(round(inside.chosen.accuracy * 150))


@pytest.mark.parametrize(
    ("noise", "least", "most"), [(0.01, 1e3, 1e7), (0.1, 3, 30), (1, 0.03, 0.3), (100, 0, 1e-3)]
)
def test_the_best_c_is_found_however_far_it_is(noise: float, least: float, most: float) -> None:
    """Features that say all need next to no penalty, and those that say nothing a huge one."""

    def labelled(seed: int) -> Pair:
        chance = torch.Generator().manual_seed(seed)
        features = torch.randn(400, 5, generator=chance)
        score = features[:, 0] + noise * torch.randn(400, generator=chance)
        return features, (score > 0).long()

    found = probe.fit(labelled(0), labelled(1), 2)
    assert least < found.inverse_penalty < most
    assert len(found.tried) < 20


def test_without_val_it_cross_validates() -> None:
    found = probe.fit(clouds(60, 2), None, 3)
    features, targets = clouds(300, 4)
    accuracy = (logits(found, features).argmax(1) == targets).float().mean()
    assert accuracy > 0.75


def test_without_val_a_group_stays_together() -> None:
    """Each picture is there ten times: only what keeps them together sees that nothing is known."""
    chance = torch.Generator().manual_seed(0)
    features = torch.randn(30, 40, generator=chance).repeat(10, 1)
    targets = torch.randint(0, 2, (30,), generator=chance).repeat(10)
    apart = probe.fit((features, targets), None, 2)
    together = probe.fit((features, targets), None, 2, groups=list(range(30)) * 10)
    assert apart.chosen.accuracy == 1
    assert together.chosen.accuracy < 0.8
    assert together.inverse_penalty < apart.inverse_penalty


def test_many_images_without_val_hold_one_fold_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probe, "_MOST_IN_FOLDS", 100)
    found = probe.fit(clouds(200, 2), None, 3)
    # A fifth is 40 images, and its shares are of 40.
    assert found.chosen.accuracy * 40 == pytest.approx(round(found.chosen.accuracy * 40))
    features, targets = clouds(300, 4)
    assert (logits(found, features).argmax(1) == targets).float().mean() > 0.8


@pytest.mark.parametrize("kind", ["multiclass", "binary", "multilabel"])
def test_a_part_leads_to_the_same_probe(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    make = clouds if kind == "multiclass" else sigmoids
    train, val = of_kind(make(600, 2), kind), of_kind(make(300, 3), kind)
    classes = 2 if kind == "binary" else 3
    want = probe.fit(train, val, classes, kind)
    monkeypatch.setattr(penalties, "_PART", 150)
    monkeypatch.setattr(penalties, "_OF_EACH_CLASS", 1)
    monkeypatch.setattr("frostline.training.logistic._HELD_ROWS", 100)
    got = probe.fit(train, val, classes, kind)
    assert got.weight.shape == want.weight.shape
    # What is told of the chosen C is of all images, and of a fit to all.
    assert got.chosen.loss == pytest.approx(want.chosen.loss, rel=0.05)
    assert got.chosen.accuracy == pytest.approx(want.chosen.accuracy, abs=0.02)
    again = probe.fit(train, val, classes, kind, inverse_penalty=got.inverse_penalty)
    torch.testing.assert_close(got.weight, again.weight, rtol=0.05, atol=0.02)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_as_good(dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("frostline.training.logistic._HELD_ROWS", 100)
    train, val = clouds(600, 2), clouds(300, 3)
    want = probe.fit(train, val, 3)
    got = probe.fit((train[0].to(dtype), train[1]), (val[0].to(dtype), val[1]), 3)
    assert got.weight.dtype == torch.float32
    assert got.inverse_penalty == want.inverse_penalty
    assert got.chosen.loss == pytest.approx(want.chosen.loss, abs=2e-3)


def test_block_by_block_is_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("frostline.training.logistic._HELD_ROWS", 100)
    train, val = clouds(600, 2), clouds(300, 3)
    want = probe.fit(train, val, 3)
    got = probe.fit((Held(train[0], 77), train[1]), (Held(val[0], 101), val[1]), 3)
    assert got.inverse_penalty == want.inverse_penalty
    torch.testing.assert_close(got.weight, want.weight, rtol=1e-4, atol=1e-5)


def test_the_number_of_threads_changes_no_bit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("frostline.training.logistic._HELD_ROWS", 100)
    monkeypatch.setattr("frostline.training.features.BLOCK_VALUES", 1000)
    train, val = clouds(600, 2), clouds(300, 3)
    before = torch.get_num_threads()
    found = []
    try:
        for count in (1, 2, 3):
            torch.set_num_threads(count)
            found.append(probe.fit(train, val, 3))
            assert torch.get_num_threads() == count
    finally:
        torch.set_num_threads(before)
    for other in found[1:]:
        assert torch.equal(other.weight, found[0].weight)
        assert torch.equal(other.bias, found[0].bias)
        assert other.tried == found[0].tried


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
    said = logits(found, features)
    assert not (said.argmax(1) == 2).any()
    assert said.softmax(1)[:, 2].max() < 0.05


def test_one_sigmoid_is_the_logistic_regression_of_scikit_learn() -> None:
    features, many = sigmoids(200, 1)
    targets = many[:, 0].long()
    scaled = (features - features.mean(0)) / features.std(0, unbiased=False)
    found = probe.fit((features, targets), None, 2, "binary", inverse_penalty=0.05)
    assert found.weight.shape == (1, 20)
    assert found.bias.shape == (1,)
    want = rival(scaled, targets, 0.05).decision_function(scaled.numpy())
    got = logits(found, features).flatten()
    torch.testing.assert_close(got, torch.tensor(want).float(), rtol=1e-2, atol=1e-2)


def test_several_labels_are_a_regression_each() -> None:
    features, targets = sigmoids(200, 1)
    found = probe.fit((features, targets), None, 3, "multilabel", inverse_penalty=0.1)
    assert found.weight.shape == (3, 20)
    for number in range(3):
        alone = probe.fit((features, targets[:, number]), None, 2, "binary", inverse_penalty=0.1)
        torch.testing.assert_close(found.weight[number], alone.weight[0], rtol=1e-2, atol=2e-3)
        torch.testing.assert_close(found.bias[number], alone.bias[0], rtol=1e-2, atol=2e-3)


@pytest.mark.parametrize("kind", ["binary", "multilabel"])
def test_a_label_that_all_or_none_have_does_no_harm(kind: str) -> None:
    features, targets = sigmoids(40, 2)
    targets[:, 0] = 1
    targets[:, 1] = 0
    for column in (0, 1):
        own = targets[:, column].long() if kind == "binary" else targets
        found = probe.fit((features, own), None, 2 if kind == "binary" else 3, kind)
        assert torch.isfinite(found.weight).all()
        assert found.bias.abs().max() < 20


@pytest.mark.parametrize("count", [1, 2, 4])
@pytest.mark.parametrize("kind", ["multiclass", "binary", "multilabel"])
def test_a_handful_of_images_is_enough(kind: str, count: int) -> None:
    features, many = sigmoids(count, 6)
    targets = many if kind == "multilabel" else many[:, 0].long()
    found = probe.fit((features, targets), None, 3 if kind == "multilabel" else 2, kind)
    assert torch.isfinite(found.weight).all()
    assert torch.isfinite(found.bias).all()


@pytest.mark.parametrize("where", ["train", "val"])
def test_features_that_are_no_numbers_are_refused(where: str) -> None:
    train, val = clouds(50, 2), clouds(50, 3)
    (train if where == "train" else val)[0][7, 3] = float("nan")
    with pytest.raises(TrainingError, match="--precision fp32"):
        probe.fit(train, val, 3)
