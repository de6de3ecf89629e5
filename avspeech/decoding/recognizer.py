"""Hypotheses from a recogniser's memory, by CTC, by the text decoder, or by both.

The beam follows AV-HuBERT's published decoder (Shi et al. 2022, arXiv:2201.02184). A hypothesis scores log-probability
/ (number of tokens + 1) ** length_penalty; at the length limit the end is forced. The log-probability is (1 - w) * log
p(decoder) + w * log p(CTC) + v * log p(language model) (Hori, Watanabe et al. 2017, arXiv:1706.02737).
"""

from typing import Any

import torch
from torch import Tensor

from avspeech.decoding.config import DecodingConfig
from avspeech.decoding.ctc import ctc_beam, ctc_greedy
from avspeech.decoding.ctc_prefix import CtcPrefixScorer
from avspeech.decoding.hypothesis import Hypothesis
from avspeech.decoding.language_model import LanguageModel
from avspeech.decoding.search import Ending, Found, Scorer, beam_tokens, sample_tokens
from avspeech.features.logfbank import STACKED_WIDTH
from avspeech.models.decoder import TextDecoder
from avspeech.models.memory import Memory
from avspeech.models.recognizer import Recognizer
from avspeech.text.tokenizer import EOS, PAD, START

FEWEST_TOKENS = 10  # least token limit of a text, however short the utterance


def official_length_limit(num_frames: int, has_audio: bool, max_len_a: float = 1.0, max_len_b: float = 0) -> int:
    """Return the token limit of AV-HuBERT's published decoder, from the number of frames, padding included.

    With audio it counts 104 frames for every clip, because it reads them from the wrong axis.
    """
    return int(max_len_a * (STACKED_WIDTH if has_audio else num_frames) + max_len_b)


def length_limits(valid_BT: Tensor, config: DecodingConfig, has_audio: bool) -> Tensor:
    """Return the most tokens of each utterance's text, (B,) int64; only ``official_limit`` depends on the padding."""
    limit_B = valid_BT.sum(dim=1).clamp(min=FEWEST_TOKENS)
    if config.max_tokens is not None:
        return torch.full_like(limit_B, config.max_tokens)
    if config.official_limit:
        limit_B = torch.full_like(limit_B, official_length_limit(valid_BT.shape[1], has_audio))
    return limit_B.clamp(min=config.min_length)


@torch.no_grad()
def decode_recognizer(
    model: Recognizer, memory: Memory, config: DecodingConfig, has_audio: bool = True, lm: LanguageModel | None = None
) -> list[list[Hypothesis]]:
    """Return hypotheses of each utterance, best first; none where CTC rules all out.

    ``config`` comes from ``settle``; other arguments and errors as for ``decode_memory``.
    """
    tokenizer, valid_BT, size = model.tokenizer, memory.valid_BT, config.beam_size
    assert tokenizer is not None and valid_BT is not None and size is not None
    logits_BTV = None if config.method == "attention" else model.ctc_logits(memory.memory_BTD)
    steps_BT = valid_BT.repeat_interleave(model.config.ctc_upsample, dim=1)
    if config.method == "ctc":
        assert logits_BTV is not None
        if lm is not None:
            raise ValueError("a language model came with method 'ctc', which takes none; decode with 'joint'")
        nbest = ctc_greedy(logits_BTV, steps_BT) if size == 1 else ctc_beam(logits_BTV, steps_BT, size)
        pairs = zip(nbest, steps_BT.sum(dim=1).clamp(min=1).tolist(), strict=True)
        measured = [[(one, one.logprob, length) for one in found] for found, length in pairs]
    else:
        assert model.decoder is not None
        ctc = None if logits_BTV is None else CtcPrefixScorer(logits_BTV, steps_BT)
        limit_B = length_limits(valid_BT, config, has_audio)
        pairs = zip(*search_text(model.decoder, memory, limit_B, config, ctc, lm), strict=True)
        measured = [[(one, score, len(one.tokens) + 1) for one, score in zip(*both, strict=True)] for both in pairs]

    def hypothesis(one: Found, score: float, length: int) -> Hypothesis:
        return Hypothesis(tokenizer.decode(one.tokens), score, tuple(one.tokens), one.logprob / length, one.parts)

    return [[hypothesis(*one) for one in found] for found in measured]


def search_text(
    decoder: TextDecoder,
    memory: Memory,
    limit_B: Tensor,
    config: DecodingConfig,
    ctc: CtcPrefixScorer | None = None,
    lm: LanguageModel | None = None,
) -> tuple[list[list[Found]], list[list[float]]]:
    """Return the text decoder's hypotheses of each utterance and their scores, best first.

    A single hypothesis scored by the decoder alone is greedy; its default ``length_penalty`` is 0. Raises ValueError
    if the beam is not below the vocabulary's size, or CTC or the language model does not fit.
    """
    size = config.beam_size or 1
    if size >= decoder.vocab_size:
        raise ValueError(f"beam_size={size} must be below the vocabulary's {decoder.vocab_size} tokens")
    scorer = JointScorer(decoder, memory, limit_B, config, ctc, lm)
    limit = int(limit_B.max()) + 1
    is_greedy = size == 1 and ctc is None and lm is None
    if is_greedy:
        nbest = sample_tokens(scorer, EOS, limit)
    else:
        nbest = beam_tokens(scorer, EOS, limit, size, Ending(wanted=size, among_best=True))
    penalty = float(not is_greedy) if config.length_penalty is None else config.length_penalty

    def score(one: Found) -> float:
        return one.logprob / (len(one.tokens) + 1) ** penalty

    ranked = [sorted(found, key=score, reverse=True) for found in nbest]
    return ranked, [[score(one) for one in found] for found in ranked]


class JointScorer(Scorer):
    """Scores of decoder, CTC and language model; ``limit_B`` are the most tokens of each text, the end not counted.

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
            came = f"CTC logits of {ctc.p_BTV.shape[-1]} tokens came, the decoder has {decoder.vocab_size}"
            raise ValueError(f"{came}; give Recognizer.ctc_logits of the same model")
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
            came = f"the language model gave log-probabilities of shape {tuple(log_RV.shape)}"
            mend = "it must use the recogniser's tokenizer"
            raise ValueError(f"{came}, wanted {wanted} (hypotheses, tokens); {mend}")
        return log_RV.float()
