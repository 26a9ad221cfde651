import pytest
import torch
from torch.nn import functional

from frostline.training import objectives

CLASSES = torch.tensor([0, 0, 0, 1, 2, 2])
YES = torch.tensor([0, 0, 0, 0, 0, 1])
LABELS = torch.tensor([[1, 0, 0], [1, 1, 0], [1, 0, 0], [0, 0, 0]]).float()


def logits(count: int, scores: int) -> torch.Tensor:
    return torch.randn(count, scores, generator=torch.Generator().manual_seed(4)) * 2


def test_one_class_an_image_is_cross_entropy() -> None:
    got = objectives.loss(logits(6, 3), CLASSES, "multiclass")
    want = -logits(6, 3).log_softmax(1)[range(6), CLASSES].mean()
    torch.testing.assert_close(got, want)
    smooth = objectives.loss(logits(6, 3), CLASSES, "multiclass", 0.3)
    even = -logits(6, 3).log_softmax(1).mean()
    torch.testing.assert_close(smooth, 0.7 * want + 0.3 * even)


def test_one_sigmoid_is_the_cross_entropy_of_two_classes() -> None:
    one = logits(6, 1)
    two = torch.cat([torch.zeros(6, 1), one], 1)
    for smoothing in (0.0, 0.2):
        for weights in (None, torch.tensor([0.5, 3.0])):
            got = objectives.loss(one, YES, "binary", smoothing, weights)
            if smoothing and weights is not None:
                continue  # PyTorch weighs what is smoothed class by class, ours image by image.
            want = functional.cross_entropy(
                two, YES, weights, reduction="sum", label_smoothing=smoothing
            )
            torch.testing.assert_close(got, want / 6)


def test_binary_weights_with_smoothing_weigh_each_image_by_its_class() -> None:
    weights = torch.tensor([0.5, 3.0])
    got = objectives.loss(logits(6, 1), YES, "binary", 0.2, weights)
    soft = YES.float() * 0.8 + 0.1
    each = functional.binary_cross_entropy_with_logits(
        logits(6, 1).flatten(), soft, reduction="none"
    )
    torch.testing.assert_close(got, (each * weights[YES]).mean())


@pytest.mark.parametrize("kind", ["multiclass", "binary"])
def test_weights_count_in_a_batch_of_one_image_too(kind: str) -> None:
    x, weights = logits(1, 1 if kind == "binary" else 2), torch.tensor([0.5, 3.0])
    plain = objectives.loss(x, YES[-1:], kind)
    torch.testing.assert_close(objectives.loss(x, YES[-1:], kind, 0.0, weights), 3 * plain)


def test_several_labels_are_a_sigmoid_each() -> None:
    x = logits(4, 3)
    want = -(LABELS * x.sigmoid().log() + (1 - LABELS) * (1 - x.sigmoid()).log()).mean()
    torch.testing.assert_close(objectives.loss(x, LABELS, "multilabel"), want)
    weighed = objectives.loss(x, LABELS, "multilabel", 0.0, torch.tensor([1.0, 5.0, 1.0]))
    assert weighed > want


@pytest.mark.parametrize("kind", ["multiclass", "binary", "multilabel"])
def test_losses_take_whole_numbers_and_double_precision(kind: str) -> None:
    targets = {"multiclass": CLASSES, "binary": YES, "multilabel": LABELS.long()}[kind]
    x = logits(len(targets), 1 if kind == "binary" else 3).double().requires_grad_()
    value = objectives.loss(x, targets, kind)
    assert value.dtype == torch.float64
    value.backward()
    assert x.grad is not None
    assert x.grad.abs().sum() > 0


def test_what_is_right_is_counted() -> None:
    multi = torch.tensor([[3.0, 1, 2], [1, 0, 2]])
    assert objectives.correct(multi, torch.tensor([0, 1]), "multiclass") == 1
    one = torch.tensor([[0.1], [-2.0], [3.0]])
    assert objectives.correct(one, torch.tensor([1, 0, 0]), "binary") == 2
    several = torch.tensor([[1.0, -1, -1], [1, -1, -1]])
    assert objectives.correct(several, LABELS[:2], "multilabel") == 1
    assert objectives.correct(several, LABELS[[0, 2]].long(), "multilabel") == 2


def test_class_weights_make_classes_count_alike() -> None:
    got = objectives.class_weights(CLASSES, "multiclass", 3)
    torch.testing.assert_close(got, torch.tensor([2 / 3, 2.0, 1.0]))
    torch.testing.assert_close(got[CLASSES].sum(), torch.tensor(6.0))
    torch.testing.assert_close(objectives.class_weights(YES, "binary", 2), torch.tensor([0.6, 3.0]))


def test_label_weights_are_how_many_lack_a_label_for_each_that_has_it() -> None:
    got = objectives.class_weights(LABELS, "multilabel", 3)
    torch.testing.assert_close(got, torch.tensor([1 / 3, 3.0, 4.0]))


def test_weights_stay_within_bounds_where_a_class_is_absent_or_very_rare() -> None:
    rare = torch.tensor([0] * 9999 + [1])
    got = objectives.class_weights(rare, "multiclass", 3)
    assert got[1] == got[2] == 100
    every = torch.ones(5, 2)
    assert objectives.class_weights(every, "multilabel", 2).tolist() == pytest.approx([0.01] * 2)
    none = torch.zeros(500, 2)
    assert objectives.class_weights(none, "multilabel", 2).tolist() == [100, 100]


def test_sampling_gives_each_class_the_same_chance() -> None:
    got = objectives.sampling_weights(CLASSES, "multiclass", 3)
    for number in range(3):
        torch.testing.assert_close(got[number == CLASSES].sum(), torch.tensor(1.0))
    yes = objectives.sampling_weights(YES, "binary", 2)
    torch.testing.assert_close(yes[YES == 0].sum(), yes[YES == 1].sum())


def test_sampling_takes_the_rarest_label_of_an_image_and_none_as_one_more() -> None:
    got = objectives.sampling_weights(LABELS, "multilabel", 3)
    torch.testing.assert_close(got, torch.tensor([1 / 3, 1.0, 1 / 3, 1.0]))
