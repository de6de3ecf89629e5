"""Interface of a language model in a beam search, and an adapter for any torch module.

The model uses the recogniser's tokenizer and reads ``START`` first. The search keeps its state, so one model serves
many searches. Probabilities of padding and begin are not read.
"""

from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor, nn


class LanguageModel(Protocol):
    """Tokens -> log-probabilities of the next token."""

    def start(self, num_rows: int, device: torch.device) -> Any:
        """Return the state of ``num_rows`` empty hypotheses; it has the ``reorder`` of ``TokensSoFar``."""
        ...

    def step(self, tokens_R: Tensor, state: Any) -> Tensor:
        """Append a token to each hypothesis (``START`` first); return log-probabilities of the next, (R, V)."""
        ...


@dataclass
class TokensSoFar:
    """State of a model that reads the whole text at each step."""

    tokens_RL: Tensor

    def reorder(self, rows_R: Tensor) -> None:
        """Make hypothesis i continue the former hypothesis ``rows_R[i]``; the number of rows may change."""
        self.tokens_RL = self.tokens_RL[rows_R]


@dataclass
class TokenModel:
    """A ``LanguageModel`` without a cache: each step runs ``module`` on the whole text.

    ``module`` maps int64 ``tokens_RL``, begin token first, to ``logits_RLV``; causal, in evaluation mode.
    """

    module: nn.Module

    def start(self, num_rows: int, device: torch.device) -> TokensSoFar:
        return TokensSoFar(torch.zeros(num_rows, 0, dtype=torch.int64, device=device))

    @torch.no_grad()
    def step(self, tokens_R: Tensor, state: TokensSoFar) -> Tensor:
        state.tokens_RL = torch.cat([state.tokens_RL, tokens_R[:, None]], dim=1)
        return self.module(state.tokens_RL)[:, -1].float().log_softmax(dim=-1)
