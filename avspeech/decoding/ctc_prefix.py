"""CTC prefix probabilities of a text, for joint CTC/attention decoding.

Definition: Graves (2008, "Supervised sequence labelling with recurrent neural networks"); one token at a time: Hori,
Watanabe et al. (2017, arXiv:1706.02737). ``label_RT`` and ``blank_RT`` are the probability that the first t frames
spell the hypothesis, ending in its last label or in a blank. Before a repeated token only ``blank_RT`` counts.

Where we differ: a matrix product scores all tokens, and scans replace the loops over frames. Both need float64: a scan
subtracts sums over all frames, and the product drops terms 10^300 times smaller than the largest.
"""

import torch
from torch import Tensor

from avspeech.text.tokenizer import BLANK, EOS, START


class CtcPrefixScorer:
    """Change of a text's CTC log-probability by each next token, the end included.

    R are the hypotheses, utterance-major: one per utterance at first, others after ``select``. T are CTC steps;
    ``valid_BT`` is False only at the right end.
    """

    def __init__(self, logits_BTV: Tensor, valid_BT: Tensor) -> None:
        assert logits_BTV.shape[:2] == valid_BT.shape, "one mark of validity for each CTC step"
        log_BTV = logits_BTV.double().log_softmax(dim=-1).masked_fill(~valid_BT[..., None], -torch.inf)
        self.p_BTV = log_BTV.exp()
        self.log_BVT = log_BTV.clamp_min(-1e4).transpose(1, 2).contiguous()  # finite: the scans divide by it
        self.utterance_R = torch.arange(len(valid_BT), device=valid_BT.device)
        self.valid_RT = valid_BT
        self.length_R1 = valid_BT.sum(dim=1, keepdim=True)
        # These have T + 1 entries, the first before any frame. The empty text is all blanks.
        self.blanks_RT = _cumulated(self.log_BVT[:, BLANK])
        self.blank_RT = self.blanks_RT
        self.label_RT = torch.full_like(self.blank_RT, -torch.inf)
        self.prefix_R = self.blank_RT.new_zeros(len(self.blank_RT))
        self.tokens_R: Tensor | None = None

    def step(self, tokens_R: Tensor) -> Tensor:
        """Append a token to each text (``START`` first); return the change that each next token would make, (R, V).

        The end token stands for exactly this text. The blank, and texts too long for the frames, give -inf.
        """
        if self.tokens_R is None:
            assert bool((tokens_R == START).all()), "a text starts with the start token"
        else:
            self._append(tokens_R, repeated_R=tokens_R == self.tokens_R)
        self.tokens_R = tokens_R
        next_RV = self._any_next(torch.logaddexp(self.label_RT, self.blank_RT)[:, :-1])
        next_RV.scatter_(1, tokens_R[:, None], self._starting_RT(tokens_R, self.blank_RT).logsumexp(dim=1)[:, None])
        next_RV[:, BLANK] = -torch.inf
        next_RV[:, EOS] = torch.logaddexp(self.label_RT, self.blank_RT).gather(1, self.length_R1)[:, 0]
        return torch.where(self.prefix_R[:, None] > -torch.inf, next_RV - self.prefix_R[:, None], -torch.inf)

    def reorder(self, rows_R: Tensor) -> None:
        """Make hypothesis i continue the former hypothesis ``rows_R[i]`` of the same utterance."""
        assert self.tokens_R is not None, "before the first step all hypotheses are the same"
        self.label_RT, self.blank_RT = self.label_RT[rows_R], self.blank_RT[rows_R]
        self.tokens_R = self.tokens_R[rows_R]

    def select(self, rows_R: Tensor) -> None:
        """Make hypothesis i continue ``rows_R[i]``, of any utterance; the number of rows may change."""
        self.reorder(rows_R)
        self.utterance_R, self.prefix_R = self.utterance_R[rows_R], self.prefix_R[rows_R]
        self.valid_RT, self.length_R1 = self.valid_RT[rows_R], self.length_R1[rows_R]
        self.blanks_RT = self.blanks_RT[rows_R]
        present_B, self.utterance_R = self.utterance_R.unique_consecutive(return_inverse=True)
        self.p_BTV, self.log_BVT = self.p_BTV[present_B], self.log_BVT[present_B]

    def _append(self, tokens_R: Tensor, repeated_R: Tensor) -> None:
        """Append one token: r(t) = p(t) * (r(t - 1) + what enters), for both kinds of r."""
        before_RT = torch.where(repeated_R[:, None], self.blank_RT, torch.logaddexp(self.label_RT, self.blank_RT))
        self.prefix_R = self._starting_RT(tokens_R, before_RT).logsumexp(dim=1)
        self.label_RT = _scan(_cumulated(self.log_BVT[self.utterance_R, tokens_R]), before_RT)
        self.blank_RT = _scan(self.blanks_RT, self.label_RT)

    def _starting_RT(self, tokens_R: Tensor, before_RT: Tensor) -> Tensor:
        started_RT = before_RT[:, :-1] + self.log_BVT[self.utterance_R, tokens_R]
        return started_RT.masked_fill(~self.valid_RT, -torch.inf)

    def _any_next(self, before_RT: Tensor) -> Tensor:
        """Return the log-probability that each token starts in any frame, (R, V)."""
        largest_R1 = before_RT.amax(dim=1, keepdim=True)
        largest_R1 = torch.where(largest_R1 > -torch.inf, largest_R1, 0)
        sum_BKV = (before_RT - largest_R1).exp().unflatten(0, (len(self.p_BTV), -1)) @ self.p_BTV
        return sum_BKV.flatten(0, 1).log() + largest_R1


def _cumulated(log_RT: Tensor) -> Tensor:
    """Return sums up to each frame, (R, T + 1), the first over no frame."""
    return torch.nn.functional.pad(log_RT, (1, 0)).cumsum(dim=1)


def _scan(cumulated_RT: Tensor, entering_RT: Tensor) -> Tensor:
    """Solve r(t) = p(t) * (r(t - 1) + e(t - 1)) with r(0) = 0, in logs; p(1) * ... * p(t) is given."""
    stays_RT = (entering_RT - cumulated_RT)[:, :-1].logcumsumexp(dim=1)
    return torch.nn.functional.pad(stays_RT, (1, 0), value=-torch.inf) + cumulated_RT
