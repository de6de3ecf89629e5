"""Interface of a language model in a beam search, and an adapter for any torch module.

A language model reads the tokens of the recogniser's own tokenizer, ``START`` first, and gives log-probabilities of
the next token, the end included. Its memory of the hypotheses is the state that ``start`` returns, so one model serves
many searches. Probabilities of padding and begin are not read.
"""

from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor, nn


class LanguageModelState(Protocol):
    """A language model's memory of a batch of hypotheses."""

    def reorder(self, rows_R: Tensor) -> None:
        """Make hypothesis i continue the former hypothesis ``rows_R[i]``; there may be more or fewer than before."""
        ...


class LanguageModel(Protocol):
    """Tokens -> log-probabilities of the next token."""

    def start(self, num_rows: int, device: torch.device) -> Any:
        """Return the state of ``num_rows`` empty hypotheses, a ``LanguageModelState``."""
        ...

    def step(self, tokens_R: Tensor, state: Any) -> Tensor:
        """Append a token to each hypothesis, ``START`` at first; return log-probabilities of the next, (R, V)."""
        ...


@dataclass
class TokensSoFar:
    """State of a model that reads the whole text at each step."""

    tokens_RL: Tensor

    def reorder(self, rows_R: Tensor) -> None:
        """Make hypothesis i continue the former hypothesis ``rows_R[i]``."""
        self.tokens_RL = self.tokens_RL[rows_R]


class TokenModel:
    """A language model from any module that maps tokens to the logits after each of them.

    Each step runs the module on the whole text so far, about L / 2 times the work of a model with a cache for a text of
    L tokens. For long texts write a ``LanguageModel`` with a cache.

    Args:
        module: int64 ``tokens_RL``, begin token first -> ``logits_RLV``; causal, on the device of the search, in
            evaluation mode.
    """

    def __init__(self, module: nn.Module) -> None:
        self.module = module

    def start(self, num_rows: int, device: torch.device) -> TokensSoFar:
        """Return the state of ``num_rows`` empty hypotheses."""
        return TokensSoFar(torch.zeros(num_rows, 0, dtype=torch.int64, device=device))

    @torch.no_grad()
    def step(self, tokens_R: Tensor, state: TokensSoFar) -> Tensor:
        """Append a token to each hypothesis; return log-probabilities of the next, (R, V)."""
        state.tokens_RL = torch.cat([state.tokens_RL, tokens_R[:, None]], dim=1)
        return self.module(state.tokens_RL)[:, -1].float().log_softmax(dim=-1)
