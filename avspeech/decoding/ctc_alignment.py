"""Viterbi alignment of a known text with CTC steps (Graves et al. 2006, section 4.1, maximum in place of the sum)."""

from collections.abc import Sequence

import numpy as np

from avspeech.text.tokenizer import BLANK


def align_ctc(log_TV: np.ndarray, tokens: Sequence[int]) -> list[tuple[int, int]] | None:
    """Return (first step, end step) of each token, end excluded; None if the steps are too few for the text.

    ``log_TV`` are log-probabilities of the valid CTC steps.
    """
    if not tokens:
        return []
    states = np.full(2 * len(tokens) + 1, BLANK)
    states[1::2] = tokens
    num_steps, num_states = len(log_TV), len(states)
    skips = np.zeros(num_states, dtype=bool)  # the blank between two tokens may be left out, unless they are equal
    skips[3::2] = states[3::2] != states[1:-2:2]
    emitted_TK = log_TV[:, states].astype(np.float64)
    if num_steps == 0:
        return None
    best_K = np.full(num_states, -np.inf)
    best_K[:2] = emitted_TK[0, :2]
    came_TK = np.zeros((num_steps, num_states), dtype=np.int8)
    for step in range(1, num_steps):
        before_3K = np.full((3, num_states), -np.inf)
        before_3K[0] = best_K
        before_3K[1, 1:] = best_K[:-1]
        before_3K[2, 2:] = np.where(skips[2:], best_K[:-2], -np.inf)
        came_TK[step] = before_3K.argmax(axis=0)
        best_K = before_3K.max(axis=0) + emitted_TK[step]
    state = num_states - 1 if best_K[-1] >= best_K[-2] else num_states - 2
    if best_K[state] == -np.inf:
        return None
    path_T = np.empty(num_steps, dtype=int)
    for step in range(num_steps - 1, -1, -1):
        path_T[step] = state
        state -= came_TK[step, state]
    first = np.searchsorted(path_T, 2 * np.arange(len(tokens)) + 1, side="left")
    end = np.searchsorted(path_T, 2 * np.arange(len(tokens)) + 1, side="right")
    return list(zip(first.tolist(), end.tolist(), strict=True))
