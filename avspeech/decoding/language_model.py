"""What a language model must offer to take part in a beam search, and an adapter for any torch model.

A language model reads the tokens of the recogniser's own tokenizer, ``START`` first, and gives log-probabilities of
the next one, the end token among them. It carries no state of its own; what it remembers of the hypotheses is the
state that ``start`` gives, so that one model serves many searches. Probabilities of padding and begin are not read.
"""

from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor, nn


class LanguageModelState(Protocol):
    """What a language model remembers of a batch of hypotheses."""

    def reorder(self, rows_R: Tensor) -> None:
        """Make hypothesis i continue the former hypothesis ``rows_R[i]``."""
        ...


class LanguageModel(Protocol):
    """Tokens in, log-probabilities of the next one out."""

    def start(self, num_rows: int, device: torch.device) -> Any:
        """Return the state of ``num_rows`` empty hypotheses, a ``LanguageModelState``."""
        ...

    def step(self, tokens_R: Tensor, state: Any) -> Tensor:
        """Append a token to each hypothesis, ``START`` at first; return log-probabilities of the next, (R, V)."""
        ...


@dataclass
class TokensSoFar:
    """State of a model that reads each text afresh."""

    tokens_RL: Tensor

    def reorder(self, rows_R: Tensor) -> None:
        """Make hypothesis i continue the former hypothesis ``rows_R[i]``."""
        self.tokens_RL = self.tokens_RL[rows_R]


class TokenModel:
    """A language model out of any module that maps tokens to logits of what follows each.

    Every step runs the module on the whole text so far: a text of L tokens costs L runs of 1, 2, ..., L tokens, about
    L / 2 times the work of a model with a cache. For long texts write a ``LanguageModel`` that keeps one.

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
