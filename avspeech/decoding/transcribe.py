"""A batch and a recogniser -> text, by CTC, by the text decoder, or by both."""

from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from avspeech.decoding.beam import beam_search, official_length_limit
from avspeech.decoding.ctc_beam import ctc_beam
from avspeech.decoding.greedy import TokenHypothesis, attention_greedy, ctc_greedy
from avspeech.decoding.language_model import LanguageModel
from avspeech.inputs import AVBatch
from avspeech.models.files import ModelFileError
from avspeech.models.recognizer import Recognizer
from avspeech.text.tokenizer import Tokenizer

Method = Literal["ctc", "attention", "joint"]


@dataclass(frozen=True)
class Hypothesis:
    """A transcript and its score (log-probability, or length-normalised when from a beam)."""

    text: str
    score: float
    tokens: tuple[int, ...] = ()
    """Without begin and end; what the words are timed by."""
    mean_score: float = -torch.inf
    """Log-probability per token, the end included; a CTC's per CTC step. No length penalty is left in it."""


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
        method: ``ctc``, ``attention``, or ``joint``: a beam scored by both heads.
        beam_size: hypotheses that are kept; with 1 (and no language model) ``ctc`` and ``attention`` are greedy.
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
    memory_BTD = recognizer_memory(model, batch, keep_B2)
    return transcribe_memory(
        model,
        tokenizer,
        memory_BTD,
        batch.valid_BT,
        method,
        beam_size,
        length_penalty,
        ctc_weight=ctc_weight,
        lm=lm,
        lm_weight=lm_weight,
        min_length=min_length,
        max_length=max_length,
    )


@torch.no_grad()
def recognizer_memory(model: Recognizer, batch: AVBatch, keep_B2: Tensor | None = None) -> Tensor:
    """Return what the heads look at, (B, T, D); arguments as in ``transcribe_nbest``.

    Raises:
        ValueError: the encoder gives NaN.
    """
    memory_BTD = model(batch.audio_BTF, batch.video_BTHW, batch.valid_BT, keep_B2)
    if not memory_BTD[batch.valid_BT].isfinite().all():  # a search over NaN would end with silence
        raise ModelFileError(
            "the encoder gave values that are not finite: its training diverged, or its file is damaged"
        )
    return memory_BTD


@torch.no_grad()
def transcribe_memory(
    model: Recognizer,
    tokenizer: Tokenizer,
    memory_BTD: Tensor,
    valid_BT: Tensor,
    method: Method = "attention",
    beam_size: int = 1,
    length_penalty: float = 1.0,
    *,
    ctc_weight: float = 0.3,
    lm: LanguageModel | None = None,
    lm_weight: float = 0.3,
    min_length: int = 0,
    max_length: int | None = None,
) -> list[list[Hypothesis]]:
    """Return hypotheses as ``transcribe_nbest`` does, from ``recognizer_memory``, which word times need again.

    Args:
        memory_BTD: of the encoder.
        valid_BT: bool, True where a frame of the memory is real.

    The others are those of ``transcribe_nbest``, and so are the errors.
    """
    check_heads(model, method)
    if method == "ctc":
        if lm is not None:
            raise ValueError("a language model came with method 'ctc', which knows none; decode with 'joint'")
        steps = (valid_BT.sum(dim=1) * model.config.ctc_upsample).clamp(min=1).tolist()
        if beam_size > 1:
            found = ctc_beam(model, memory_BTD, valid_BT, beam_size)
        else:
            found = [[one] for one in ctc_greedy(model, memory_BTD, valid_BT)]
        return [
            [_to_text(tokenizer, one, one.score / of) for one in best] for best, of in zip(found, steps, strict=True)
        ]
    assert model.decoder is not None
    penalty = length_penalty
    if method == "attention" and beam_size == 1 and lm is None:
        greedy = attention_greedy(model.decoder, memory_BTD, valid_BT, max_length, min_length)
        nbest, penalty = [[hypothesis] for hypothesis in greedy], 0.0
    else:
        nbest = beam_search(
            model.decoder,
            memory_BTD,
            valid_BT,
            beam_size,
            length_penalty,
            max_length,
            min_length=min_length,
            ctc_BTV=model.ctc_logits(memory_BTD) if method == "joint" else None,
            ctc_weight=ctc_weight,
            lm=lm,
            lm_weight=lm_weight,
        )
    return [
        [_to_text(tokenizer, one, one.score * (len(one.tokens) + 1) ** (penalty - 1)) for one in hypotheses]
        for hypotheses in nbest
    ]


def _to_text(tokenizer: Tokenizer, hypothesis: TokenHypothesis, mean_score: float) -> Hypothesis:
    tokens = tuple(hypothesis.tokens)
    return Hypothesis(tokenizer.decode(tokens), hypothesis.score, tokens, mean_score)
