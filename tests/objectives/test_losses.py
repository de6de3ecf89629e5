"""Losses see what they should and equal their definitions."""

import math

import pytest
import torch
import torch.nn.functional as F

from avspeech.inputs import IGNORE
from avspeech.objectives.cluster_loss import masked_cluster_loss
from avspeech.objectives.text_loss import ctc_loss, next_token_loss, teacher_tokens, token_accuracy


@pytest.fixture
def batch():
    logits_BTK = torch.randn(2, 5, 4, requires_grad=True)
    units_BT = torch.tensor([[0, 1, 2, 3, 0], [3, 2, 1, IGNORE, IGNORE]])
    return logits_BTK, units_BT, torch.tensor([[1, 0, 1, 0, 0], [0, 1, 0, 1, 0]], dtype=torch.bool)


def test_the_masked_loss_sees_only_masked_frames(batch):
    logits_BTK, units_BT, mask_BT = batch
    masked_cluster_loss(logits_BTK, units_BT, mask_BT).loss.backward()
    assert torch.equal(logits_BTK.grad.abs().sum(dim=-1) > 0, mask_BT & (units_BT != IGNORE))


def test_weights_and_division_are_av_huberts(batch):
    logits_BTK, units_BT, mask_BT = batch
    entropy_BT = F.cross_entropy(logits_BTK.transpose(1, 2), units_BT, ignore_index=IGNORE, reduction="none")
    masked, seen = mask_BT & (units_BT != IGNORE), ~mask_BT & (units_BT != IGNORE)
    both = masked_cluster_loss(logits_BTK, units_BT, mask_BT, 1.0, 0.5).loss
    expected = (entropy_BT[masked].sum() + 0.5 * entropy_BT[seen].sum()) / (masked.sum() + seen.sum())
    torch.testing.assert_close(both, expected)


def test_an_empty_mask_is_no_error(batch):
    logits_BTK, units_BT, mask_BT = batch
    result = masked_cluster_loss(logits_BTK, units_BT, torch.zeros_like(mask_BT))
    assert result.loss.item() == 0
    assert result.masked_accuracy.item() == 0


def test_accuracy_counts_masked_frames():
    logits_BTK = F.one_hot(torch.tensor([[0, 1, 1]]), 3).float()
    result = masked_cluster_loss(logits_BTK, torch.tensor([[0, 0, 1]]), torch.tensor([[True, True, False]]))
    assert result.masked_accuracy.item() == 0.5
    assert result.unmasked_accuracy.item() == 1.0


def test_smoothing_is_spread_over_the_other_tokens():
    logits_BLV = torch.randn(2, 3, 5)
    targets_BL = torch.tensor([[1, 2, -100], [4, -100, -100]])
    log_BLV = logits_BLV.log_softmax(dim=-1)
    expected = 0.0
    for b, position, token in [(0, 0, 1), (0, 1, 2), (1, 0, 4)]:
        weights = torch.full((5,), 0.1 / 4)
        weights[token] = 0.9
        expected -= (weights * log_BLV[b, position]).sum().item()
    assert next_token_loss(logits_BLV, targets_BL, 0.1).item() == pytest.approx(expected / 2, rel=1e-5)
    assert token_accuracy(F.one_hot(torch.tensor([[1, 1, 0]]), 5).float(), targets_BL[:1]).item() == 0.5


def test_ctc_loss_of_a_uniform_model_counts_the_alignments():
    """One token in three steps, V = 4: 6 alignments of chance 4^-3 each."""
    loss = ctc_loss(torch.zeros(1, 3, 4), torch.tensor([3]), torch.tensor([[2]]), torch.tensor([1]))
    assert loss.item() == pytest.approx(-math.log(6 / 64), rel=1e-5)


def test_ctc_padding_changes_nothing_and_an_impossible_text_contributes_nothing():
    logits_BTV = torch.randn(2, 6, 5)
    lengths_B, target_lengths_B = torch.tensor([4, 6]), torch.tensor([2, 3])
    targets_BL = torch.tensor([[1, 2, -100], [3, 3, 4]])
    before = ctc_loss(logits_BTV, lengths_B, targets_BL, target_lengths_B)
    logits_BTV[0, 4:] = 50.0
    torch.testing.assert_close(ctc_loss(logits_BTV, lengths_B, targets_BL, target_lengths_B), before)
    assert ctc_loss(logits_BTV[:1, :2], torch.tensor([2]), torch.tensor([[1, 2, 3]]), torch.tensor([3])).item() == 0


@pytest.mark.parametrize(
    ("prompts", "pad", "inputs", "targets"),
    [
        ([[2], [2]], 1, [[2, 5, 6, 8], [2, 4, 1, 1]], [[5, 6, 8, 7], [4, 7, -100, -100]]),
        ([[90, 91], [90, 92]], 7, [[90, 91, 5, 6, 8], [90, 92, 4, 7, 7]], [[91, 5, 6, 8, 7], [92, 4, 7, -100, -100]]),
    ],
)
def test_teacher_tokens_are_prompt_text_and_end(prompts, pad, inputs, targets):
    tokens_BL = torch.tensor([[5, 6, 8], [4, -100, -100]])
    inputs_BL, targets_BL = teacher_tokens(torch.tensor(prompts), tokens_BL, end=7, pad=pad)
    assert (inputs_BL.tolist(), targets_BL.tolist()) == (inputs, targets)
