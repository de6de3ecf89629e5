"""When each word of a recogniser's text is said, by its CTC head or by its decoder's attention.

CTC reads a token in one or two steps anywhere inside the word, so the text is aligned with CTC
(``avspeech.decoding.ctc_alignment``) and the words' ends are sought between those steps (``words_around``). Without a
CTC head the decoder's attention to the memory is followed (``positions_between_silence``), as a Whisper's to the lips.
Where it is known when somebody speaks, words at pauses and at the clip's ends begin and end with the speech.
"""

import unicodedata
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from avspeech.decoding.attention_path import later_heads, positions_between_silence, record
from avspeech.decoding.ctc_alignment import align_ctc
from avspeech.decoding.greedy import BEGIN, END, PAD
from avspeech.decoding.transcribe import check_heads
from avspeech.decoding.word_edges import Moments, Stretch, fit_to_speech, speech_stretches, spread, words_around
from avspeech.decoding.word_times import TimedWord
from avspeech.models.blocks import Attention
from avspeech.models.memory import Memory
from avspeech.models.recognizer import Recognizer
from avspeech.text.tokenizer import BOS, PIECES, Tokenizer
from avspeech.timebase import FRAME_RATE

TimesMethod = Literal["ctc", "attention"]
WORD_START = "\u2581"
"""What sentencepiece writes for the blank before a word."""


@torch.no_grad()
def recognizer_word_times(
    model: Recognizer,
    tokenizer: Tokenizer,
    tokens: Sequence[Sequence[int]],
    memory_BTD: Tensor,
    valid_BT: Tensor,
    speech: Sequence[np.ndarray | None] | None = None,
    method: TimesMethod | None = None,
) -> list[list[TimedWord]]:
    """Return the words of each text with their times in seconds from the clip's start.

    Times are ordered and lie within the clip. A text that CTC cannot spell in so few frames is spread over the speech,
    with probability 0. Joined by blanks, the words are the tokenizer's text.

    Args:
        model: in evaluation mode.
        tokenizer: the model's.
        tokens: ``Hypothesis.tokens`` of each utterance.
        memory_BTD: of ``recognizer_memory``.
        valid_BT: bool, True where a frame of the memory is real.
        speech: for each utterance the probability of speech per frame at 25 Hz, (T,), or None where nobody listened.
        method: what times the words; None: CTC where the model has it.

    Raises:
        ValueError: there are not as many texts, or as many of ``speech``, as utterances, or the model lacks the head.
    """
    for name, given in (("texts", tokens), ("probabilities of speech", speech)):
        if given is not None and len(given) != len(memory_BTD):
            raise ValueError(
                f"{len(given)} {name} came for a memory of {len(memory_BTD)} utterances; give one for each"
            )
    method = method or ("attention" if model.ctc_head is None else "ctc")
    check_heads(model, method)
    heard = [[] if one is None else speech_stretches(one) for one in speech or [None] * len(tokens)]
    timed = _by_ctc if method == "ctc" else _by_attention
    return timed(model, tokenizer, [list(one) for one in tokens], memory_BTD, valid_BT, heard)


def split_words(tokenizer: Tokenizer, tokens: Sequence[int]) -> list[tuple[str, list[int]]]:
    """Return the words of a text and the places of their tokens; blanks and special tokens belong to none."""
    words: list[tuple[str, list[int]]] = []
    pieces = tokenizer.kind in ("sentencepiece", PIECES)
    open_word = False
    for place, token in enumerate(tokens):
        if token in (BOS, PAD, END):
            continue
        piece = tokenizer.piece(token)
        if tokenizer.kind == "words" or (pieces and piece.startswith(WORD_START)) or piece.isspace():
            open_word = False
        text = piece.replace(WORD_START, "") if pieces else piece.strip()
        if not text:
            continue
        if open_word:
            words[-1] = (words[-1][0] + text, [*words[-1][1], place])
        else:
            words.append((text, [place]))
        open_word = True
    return [(unicodedata.normalize("NFC", text), places) for text, places in words]


def _by_ctc(
    model: Recognizer,
    tokenizer: Tokenizer,
    texts: list[list[int]],
    memory_BTD: Tensor,
    valid_BT: Tensor,
    heard: list[list[Stretch]],
) -> list[list[TimedWord]]:
    log_BTV = model.ctc_logits(memory_BTD).float().log_softmax(dim=-1).cpu().numpy()
    rate, lengths = FRAME_RATE * model.config.ctc_upsample, valid_BT.sum(dim=1).tolist()
    result = []
    for log_TV, text, length, speech in zip(log_BTV, texts, lengths, heard, strict=True):
        words, duration_s = split_words(tokenizer, text), length / FRAME_RATE
        log_TV = log_TV[: length * model.config.ctc_upsample]
        steps = align_ctc(log_TV, text)
        if steps is None:
            start, end = (speech[0][0], min(duration_s, speech[-1][1])) if speech else (0.0, duration_s)
            times, probs = spread([len(word) for word, _ in words], start, end), [0.0] * len(text)
        else:
            letters = [max(1, len(tokenizer.piece(token).strip(WORD_START))) for token in text]
            seconds = [(first / rate, end / rate) for first, end in steps]
            moments = [Moments(seconds[p[0]], seconds[p[-1]], letters[p[0]], letters[p[-1]]) for _, p in words]
            times = words_around(moments, duration_s, speech)
            probs = [
                float(np.exp(log_TV[first:end, token]).mean()) for token, (first, end) in zip(text, steps, strict=True)
            ]
        result.append(_timed(words, times, probs))
    return result


def _by_attention(
    model: Recognizer,
    tokenizer: Tokenizer,
    texts: list[list[int]],
    memory_BTD: Tensor,
    valid_BT: Tensor,
    heard: list[list[Stretch]],
) -> list[list[TimedWord]]:
    decoder: Any = model.decoder
    longest = max(map(len, texts), default=0)
    rows = [[BEGIN, *text, *[PAD] * (longest - len(text))] for text in texts]
    tokens_BL = torch.tensor(rows, device=memory_BTD.device)
    heads = later_heads(decoder.config.depth, decoder.config.num_heads)
    layers: dict[int, Attention] = {number: decoder.blocks[number].memory_attention for number, _ in heads}
    with record(layers, heads) as recorded:
        logits_BLV = decoder(tokens_BL, Memory(memory_BTD, valid_BT))
    lengths = valid_BT.sum(dim=1).tolist()
    result = []
    for row, (text, length, speech) in enumerate(zip(texts, lengths, heard, strict=True)):
        words = split_words(tokenizer, text)
        if not words:
            result.append([])
            continue
        positions = positions_between_silence(recorded.weights(row, len(text), length), 0, len(text))
        starts = [positions[places[0]] / FRAME_RATE for _, places in words]
        times = list(zip(starts, [*starts[1:], positions[-1] / FRAME_RATE], strict=True))
        probs_LV = logits_BLV[row, : len(text)].float().softmax(dim=1)
        probs = probs_LV.gather(1, torch.tensor(text, device=probs_LV.device)[:, None])[:, 0].tolist()
        result.append(_timed(words, fit_to_speech(times, speech), probs))
    return result


def _timed(words: list[tuple[str, list[int]]], times: list[Stretch], probs: list[float]) -> list[TimedWord]:
    return [
        TimedWord(text, start, end, sum(probs[place] for place in places) / len(places))
        for (text, places), (start, end) in zip(words, times, strict=True)
    ]
