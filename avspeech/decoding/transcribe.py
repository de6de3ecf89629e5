"""A batch and a recogniser -> text, by CTC or by the text decoder."""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from avspeech.data.batching import AVBatch
from avspeech.decoding.beam import beam_search
from avspeech.decoding.greedy import attention_greedy, ctc_greedy
from avspeech.models.recognizer import Recognizer
from avspeech.text.tokenizer import Tokenizer

Method = Literal["ctc", "attention"]


@dataclass(frozen=True)
class Hypothesis:
    """A transcript and its score (log-probability, or length-normalised when from a beam)."""

    text: str
    score: float


@torch.no_grad()
def transcribe_batch(
    model: Recognizer,
    tokenizer: Tokenizer,
    batch: AVBatch,
    keep_B2: Tensor | None = None,
    method: Method = "attention",
    beam_size: int = 1,
    length_penalty: float = 1.0,
) -> list[Hypothesis]:
    """Return the best transcript of each utterance.

    Args:
        model: in evaluation mode.
        tokenizer: the model's.
        batch: on the model's device.
        keep_B2: bool, columns AUDIO and VIDEO; None keeps both.
        method: ``ctc`` (greedy) or ``attention``.
        beam_size: hypotheses kept by the decoder; 1 is greedy.
        length_penalty: of the beam.

    Raises:
        ValueError: the model lacks the head that ``method`` needs.
    """
    memory_BTD = model(batch.audio_BTF, batch.video_BTHW, batch.valid_BT, keep_B2)
    if method == "ctc":
        best = ctc_greedy(model, memory_BTD, batch.valid_BT)
    elif model.decoder is None:
        raise ValueError("this model has no text decoder; decode with method 'ctc'")
    elif beam_size == 1:
        best = attention_greedy(model.decoder, memory_BTD, batch.valid_BT)
    else:
        beams = beam_search(model.decoder, memory_BTD, batch.valid_BT, beam_size, length_penalty)
        best = [hypotheses[0] for hypotheses in beams]
    return [Hypothesis(tokenizer.decode(hypothesis.tokens), hypothesis.score) for hypothesis in best]
