"""A batch and a recogniser -> text, by CTC, by the text decoder, or by both."""

from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from avspeech.data.batching import AVBatch
from avspeech.decoding.beam import beam_search, official_length_limit
from avspeech.decoding.greedy import TokenHypothesis, attention_greedy, ctc_greedy
from avspeech.decoding.language_model import LanguageModel
from avspeech.models.recognizer import Recognizer
from avspeech.text.tokenizer import Tokenizer

Method = Literal["ctc", "attention", "joint"]


@dataclass(frozen=True)
class Hypothesis:
    """A transcript and its score (log-probability, or length-normalised when from a beam)."""

    text: str
    score: float


def transcribe_batch(
    model: Recognizer,
    tokenizer: Tokenizer,
    batch: AVBatch,
    keep_B2: Tensor | None = None,
    method: Method = "attention",
    beam_size: int = 1,
    length_penalty: float = 1.0,
    **options: Any,
) -> list[Hypothesis]:
    """Return the best transcript of each utterance; the empty text with -inf where CTC rules all out.

    Arguments, ``options`` among them, are those of ``transcribe_nbest``.
    """
    nbest = transcribe_nbest(model, tokenizer, batch, keep_B2, method, beam_size, length_penalty, **options)
    return [hypotheses[0] if hypotheses else Hypothesis("", -torch.inf) for hypotheses in nbest]


def check_heads(model: Recognizer, method: Method) -> None:
    """Do nothing if the model has the heads that the method needs.

    Raises:
        ValueError: it has not.
    """
    has = {"ctc": model.ctc_head is not None, "attention": model.decoder is not None}
    has["joint"] = has["ctc"] and has["attention"]
    if not has[method]:
        lacks = "CTC head" if has["attention"] else "text decoder"
        other = "attention" if has["attention"] else "ctc"
        raise ValueError(f"method {method!r} came for a model that has no {lacks}; decode with method {other!r}")


@torch.no_grad()
def transcribe_nbest(
    model: Recognizer,
    tokenizer: Tokenizer,
    batch: AVBatch,
    keep_B2: Tensor | None = None,
    method: Method = "attention",
    beam_size: int = 1,
    length_penalty: float = 1.0,
    *,
    ctc_weight: float = 0.3,
    lm: LanguageModel | None = None,
    lm_weight: float = 0.3,
    min_length: int = 0,
    max_length: int | None = None,
    official_limit: bool = False,
) -> list[list[Hypothesis]]:
    """Return up to ``beam_size`` transcripts of each utterance, best first; two may be the same text in other tokens.

    Args:
        model: in evaluation mode.
        tokenizer: the model's.
        batch: on the model's device.
        keep_B2: bool, columns AUDIO and VIDEO; None keeps both.
        method: ``ctc`` (greedy), ``attention``, or ``joint``: a beam scored by both heads.
        beam_size: hypotheses kept by the decoder; ``attention`` with 1 and no language model is greedy.
        length_penalty: of the beam.
        ctc_weight: of ``joint``: share of CTC, 0 to 1.
        lm: language model over the tokenizer's tokens, for ``attention`` and ``joint``.
        lm_weight: factor of its log-probabilities.
        min_length: fewest tokens; not for ``ctc``.
        max_length: most tokens; None allows one a frame. Not for ``ctc``.
        official_limit: allow as many tokens as AV-HuBERT's published decoder does (see ``official_length_limit``).

    Raises:
        ValueError: the model lacks a head that ``method`` needs, options do not go together, or the encoder gives NaN.
    """
    check_heads(model, method)
    if official_limit:
        if max_length is not None:
            raise ValueError(f"max_length={max_length} came with official_limit, which sets it; give one of them")
        max_length = official_length_limit(batch.valid_BT.shape[1], batch.audio_BTF is not None)
    memory_BTD = model(batch.audio_BTF, batch.video_BTHW, batch.valid_BT, keep_B2)
    if not memory_BTD[batch.valid_BT].isfinite().all():  # a search over NaN would end with silence
        raise ValueError("the encoder gave values that are not finite: its training diverged, or its file is damaged")
    if method == "ctc":
        if lm is not None:
            raise ValueError("a language model came with method 'ctc', which is greedy; decode with 'joint'")
        return [[_to_text(tokenizer, hypothesis)] for hypothesis in ctc_greedy(model, memory_BTD, batch.valid_BT)]
    assert model.decoder is not None
    if method == "attention" and beam_size == 1 and lm is None:
        greedy = attention_greedy(model.decoder, memory_BTD, batch.valid_BT, max_length, min_length)
        nbest = [[hypothesis] for hypothesis in greedy]
    else:
        nbest = beam_search(
            model.decoder,
            memory_BTD,
            batch.valid_BT,
            beam_size,
            length_penalty,
            max_length,
            min_length=min_length,
            ctc_BTV=model.ctc_logits(memory_BTD) if method == "joint" else None,
            ctc_weight=ctc_weight,
            lm=lm,
            lm_weight=lm_weight,
        )
    return [[_to_text(tokenizer, one) for one in hypotheses] for hypotheses in nbest]


def _to_text(tokenizer: Tokenizer, hypothesis: TokenHypothesis) -> Hypothesis:
    return Hypothesis(tokenizer.decode(hypothesis.tokens), hypothesis.score)
