"""Score of a recogniser's next token, from text decoder, CTC and language model.

A text scores (1 - w) * log p(decoder) + w * log p(CTC) + v * log p(language model), end token included (Hori, Watanabe
et al. 2017, arXiv:1706.02737).
"""

from typing import Any

import torch
from torch import Tensor

from avspeech.decoding.config import DecodingConfig
from avspeech.decoding.ctc_prefix import CtcPrefixScorer
from avspeech.decoding.language_model import LanguageModel
from avspeech.decoding.search import Scorer
from avspeech.models.decoder import TextDecoder
from avspeech.models.memory import Memory
from avspeech.text.tokenizer import EOS, PAD, START


class JointScorer(Scorer):
    """Scores of a decoder in evaluation mode, with limits on the length of each utterance's text.

    Args:
        limit_B: int64, most tokens of each utterance's text, the end not counted.
        config: its ``min_length`` and weights.
        ctc: of the same utterances; None or weight 0 leaves it out.
        lm: None or weight 0 leaves it out.

    Raises ValueError if the CTC head or the language model has another vocabulary.
    """

    def __init__(
        self,
        decoder: TextDecoder,
        memory: Memory,
        limit_B: Tensor,
        config: DecodingConfig,
        ctc: CtcPrefixScorer | None = None,
        lm: LanguageModel | None = None,
    ) -> None:
        if ctc is not None and ctc.p_BTV.shape[-1] != decoder.vocab_size:
            raise ValueError(
                f"CTC logits of {ctc.p_BTV.shape[-1]} tokens came, the decoder has {decoder.vocab_size}; give "
                "Recognizer.ctc_logits of the same model"
            )
        self.decoder, self.config, self.limit_R = decoder, config, limit_B
        self.state = decoder.start(memory, int(limit_B.max()) + 1)
        self.ctc = ctc if config.ctc_weight > 0 else None
        self.lm = lm if config.lm_weight > 0 else None
        self.lm_state: Any = None
        self.is_end_V = torch.arange(decoder.vocab_size, device=limit_B.device) == EOS

    def step(self, tokens_RL: Tensor) -> Tensor:
        length, config = tokens_RL.shape[1], self.config
        # A copy, because the search writes over its tokens.
        last_R = tokens_RL[:, -1].clone() if length else torch.full_like(self.limit_R, START)
        log_RV = self.decoder.step(last_R[:, None], self.state).float().log_softmax(dim=-1)
        if self.ctc is not None:
            log_RV = (1 - config.ctc_weight) * log_RV + config.ctc_weight * self.ctc.step(last_R).float()
        if self.lm is not None:
            log_RV = log_RV + config.lm_weight * self._ask_lm(self.lm, last_R)
        log_RV[:, PAD] = -torch.inf
        if length < config.min_length:
            log_RV[:, EOS] = -torch.inf
        is_full_R1 = (self.limit_R <= length)[:, None]
        return log_RV.masked_fill(is_full_R1 & ~self.is_end_V, -torch.inf)

    def reorder(self, rows_R: Tensor) -> None:
        super().reorder(rows_R)
        for part in (self.ctc, self.lm_state):
            if part is not None:
                part.reorder(rows_R)

    def repeat(self, times: int) -> None:
        super().repeat(times)
        self._select(self._rows().repeat_interleave(times))

    def keep(self, places: list[int]) -> None:
        rows_R = self._rows().view(self.num_utterances, -1)[places].flatten()
        super().keep(places)
        self._select(rows_R)

    def _rows(self) -> Tensor:
        return torch.arange(len(self.limit_R), device=self.limit_R.device)

    def _select(self, rows_R: Tensor) -> None:
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
