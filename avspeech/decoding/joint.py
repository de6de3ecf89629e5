"""Decoder, CTC and language model as one scorer of the next token.

The score of a text is (1 - w) * log p(decoder) + w * log p(CTC) + v * log p(language model), end token included
(joint decoding: Hori, Watanabe et al. 2017, arXiv:1706.02737). Each step adds the change that one token makes.
"""

from typing import Any

from torch import Tensor

from avspeech.decoding.ctc_prefix import CtcPrefixScorer
from avspeech.decoding.language_model import LanguageModel
from avspeech.models.decoder import State, TextDecoder


class JointScorer:
    """What the models that take part say of every next token.

    Args:
        decoder: the text decoder.
        state: the decoder's, for all hypotheses of the search.
        ctc: for the same hypotheses; None leaves CTC out.
        ctc_weight: share of CTC, 0 to 1; the decoder has the rest.
        lm: language model; None leaves it out.
        lm_weight: factor of its log-probabilities, at least 0; at 0 the model is not run.

    Raises:
        ValueError: a weight out of range, or a CTC head or language model of another vocabulary.
    """

    def __init__(
        self,
        decoder: TextDecoder,
        state: State,
        ctc: CtcPrefixScorer | None,
        ctc_weight: float,
        lm: LanguageModel | None,
        lm_weight: float,
    ) -> None:
        if not 0 <= ctc_weight <= 1:
            raise ValueError(f"ctc_weight={ctc_weight} must be from 0 (decoder only) to 1 (CTC only)")
        if not lm_weight >= 0:
            raise ValueError(f"lm_weight={lm_weight} must not be negative; 0 leaves the language model out")
        self.vocab_size = decoder.embedding.num_embeddings
        if ctc is not None and ctc.p_BTV.shape[-1] != self.vocab_size:
            raise ValueError(
                f"CTC logits of {ctc.p_BTV.shape[-1]} tokens came, the decoder has {self.vocab_size}: joint decoding "
                "needs both heads of one model; give Recognizer.ctc_logits of the same model"
            )
        self.decoder, self.state = decoder, state
        self.ctc, self.ctc_weight = (ctc if ctc_weight > 0 else None), ctc_weight
        self.lm, self.lm_weight = (lm if lm_weight > 0 else None), lm_weight
        self.lm_state: Any = None

    def step(self, tokens_R: Tensor) -> Tensor:
        """Append a token to each hypothesis; return the score that each next token adds, (R, V) in float32."""
        log_RV = self.decoder.step(tokens_R[:, None], self.state).float().log_softmax(dim=-1)
        if self.ctc is not None:
            log_RV = (1 - self.ctc_weight) * log_RV + self.ctc_weight * self.ctc.step(tokens_R).float()
        if self.lm is not None:
            log_RV = log_RV + self.lm_weight * self._ask_lm(self.lm, tokens_R)
        return log_RV

    def reorder(self, rows_R: Tensor) -> None:
        """Make hypothesis i continue the former hypothesis ``rows_R[i]`` of the same utterance."""
        for state in (self.state, self.ctc, self.lm_state):
            if state is not None:
                state.reorder(rows_R)

    def _ask_lm(self, lm: LanguageModel, tokens_R: Tensor) -> Tensor:
        if self.lm_state is None:
            self.lm_state = lm.start(len(tokens_R), tokens_R.device)
        log_RV: Tensor = lm.step(tokens_R, self.lm_state)
        if log_RV.shape != (len(tokens_R), self.vocab_size):
            raise ValueError(
                f"the language model gave {tuple(log_RV.shape)} log-probabilities, wanted {len(tokens_R)} hypotheses x "
                f"{self.vocab_size} tokens; it must use the recogniser's tokenizer"
            )
        return log_RV.float()
