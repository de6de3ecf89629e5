"""Score of a recogniser's next token, from text decoder, CTC and language model.

A text scores (1 - w) * log p(decoder) + w * log p(CTC) + v * log p(language model), end token included (Hori, Watanabe
et al. 2017, arXiv:1706.02737).
"""

from typing import Any

import torch
from torch import Tensor

from avspeech.decoding.ctc_prefix import CtcPrefixScorer
from avspeech.decoding.language_model import LanguageModel
from avspeech.models.decoder import TextDecoder
from avspeech.models.memory import Memory
from avspeech.text.tokenizer import EOS, PAD, START


class JointScorer:
    """A ``Scorer`` of ``avspeech.decoding.search``, with limits on the length of each utterance's text.

    Args:
        decoder: in evaluation mode.
        limit_B: int64, most tokens of each utterance's text, the end not counted.
        min_length: fewest tokens.
        ctc: of the same utterances; None leaves CTC out.
        ctc_weight: share of CTC, 0 to 1; the decoder has the rest.
        lm: None leaves it out, as does ``lm_weight`` 0.

    Raises ValueError if the CTC head or the language model has another vocabulary.
    """

    def __init__(
        self,
        decoder: TextDecoder,
        memory: Memory,
        limit_B: Tensor,
        min_length: int = 0,
        ctc: CtcPrefixScorer | None = None,
        ctc_weight: float = 0.3,
        lm: LanguageModel | None = None,
        lm_weight: float = 0.3,
    ) -> None:
        if ctc is not None and ctc.p_BTV.shape[-1] != decoder.vocab_size:
            raise ValueError(
                f"CTC logits of {ctc.p_BTV.shape[-1]} tokens came, the decoder has {decoder.vocab_size}; give "
                "Recognizer.ctc_logits of the same model"
            )
        self.decoder, self.min_length = decoder, min_length
        self.state = decoder.start(memory, int(limit_B.max()) + 1)
        self.limit_R = limit_B
        self.ctc, self.ctc_weight = (ctc if ctc_weight > 0 else None), ctc_weight
        self.lm, self.lm_weight = (lm if lm_weight > 0 else None), lm_weight
        self.lm_state: Any = None
        self.is_end_V = torch.arange(decoder.vocab_size, device=limit_B.device) == EOS

    @property
    def num_utterances(self) -> int:
        """Utterances of the batch."""
        return self.state.num_utterances

    def step(self, tokens_RL: Tensor) -> Tensor:
        """Return the score that each next token adds, (R, V) float32."""
        length = tokens_RL.shape[1]
        # A copy, because the search writes over its tokens.
        last_R = tokens_RL[:, -1].clone() if length else torch.full_like(self.limit_R, START)
        log_RV = self.decoder.step(last_R[:, None], self.state).float().log_softmax(dim=-1)
        if self.ctc is not None:
            log_RV = (1 - self.ctc_weight) * log_RV + self.ctc_weight * self.ctc.step(last_R).float()
        if self.lm is not None:
            log_RV = log_RV + self.lm_weight * self._ask_lm(self.lm, last_R)
        log_RV[:, PAD] = -torch.inf
        if length < self.min_length:
            log_RV[:, EOS] = -torch.inf
        is_full_R1 = (self.limit_R <= length)[:, None]
        return log_RV.masked_fill(is_full_R1 & ~self.is_end_V, -torch.inf)

    def reorder(self, rows_R: Tensor) -> None:
        """See ``Scorer``."""
        self.state.reorder(rows_R)
        if self.ctc is not None:
            self.ctc.reorder(rows_R)
        if self.lm_state is not None:
            self.lm_state.reorder(rows_R)

    def repeat(self, times: int) -> None:
        """See ``Scorer``."""
        self.state.repeat(times)
        self._select(torch.arange(len(self.limit_R), device=self.limit_R.device).repeat_interleave(times))

    def keep(self, places: list[int]) -> None:
        """See ``Scorer``."""
        rows_R = torch.arange(len(self.limit_R), device=self.limit_R.device)
        rows_R = rows_R.view(self.num_utterances, -1)[places].flatten()
        self.state.keep(places)
        self._select(rows_R)

    def _select(self, rows_R: Tensor) -> None:
        """Keep these rows of everything with one row per hypothesis."""
        self.limit_R = self.limit_R[rows_R]
        if self.ctc is not None:
            self.ctc.select(rows_R)
        if self.lm_state is not None:
            self.lm_state.reorder(rows_R)

    def _ask_lm(self, lm: LanguageModel, tokens_R: Tensor) -> Tensor:
        if self.lm_state is None:
            self.lm_state = lm.start(len(tokens_R), tokens_R.device)
        log_RV: Tensor = lm.step(tokens_R, self.lm_state)
        wanted = (len(tokens_R), self.decoder.vocab_size)
        if log_RV.shape != wanted:
            raise ValueError(
                f"the language model gave log-probabilities of shape {tuple(log_RV.shape)}, wanted {wanted} "
                "(hypotheses, tokens); it must use the recogniser's tokenizer"
            )
        return log_RV.float()
