"""What is said of a file of several rows: the mean of their probabilities."""

import pytest
import torch

from frostline.model.classifier import probabilities
from frostline.scores import pooling

FILES = torch.tensor([4, 1, 4, 1, 4, 7])
KINDS = {"multiclass": 3, "binary": 1, "multilabel": 3}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("size", [1.0, 300.0])
def test_probabilities_of_files_are_means_over_their_rows(kind: str, size: float) -> None:
    torch.manual_seed(0)
    rows = size * torch.randn(6, KINDS[kind])
    pooled = pooling.logits(rows, FILES, kind)
    assert pooled.isfinite().all()
    each = probabilities(rows, kind)
    expected = torch.stack([each[[1, 3]].mean(0), each[[0, 2, 4]].mean(0), each[5]])
    torch.testing.assert_close(probabilities(pooled, kind), expected, rtol=1e-12, atol=1e-15)
    torch.testing.assert_close(pooling.mean(each, FILES), expected, rtol=1e-15, atol=0)


def test_where_each_row_is_a_file_nothing_is_touched() -> None:
    rows = torch.randn(6, 3)
    assert pooling.logits(rows, None, "multiclass") is rows
    assert pooling.mean(rows, None) is rows
    assert pooling.first(rows, None) is rows
    assert pooling.count(6, None) == 6


def test_a_file_has_the_target_of_its_first_row() -> None:
    assert pooling.first(torch.tensor([0, 1, 0, 1, 0, 2]), FILES).tolist() == [1, 0, 2]
    several = torch.eye(6)
    assert pooling.first(several, FILES).argmax(1).tolist() == [1, 0, 5]
    assert pooling.count(6, FILES) == 3


@pytest.mark.parametrize("bad", [torch.nan, torch.inf])
def test_what_is_no_number_stays_none(bad: float) -> None:
    rows = torch.zeros(6, 3)
    rows[0, 1] = bad
    assert not pooling.logits(rows, FILES, "multiclass").isfinite().all()
