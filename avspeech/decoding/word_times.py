"""When each word is said: the path of least cost through the decoder's attention to the audio, or to the lips.

As in OpenAI's package (openai-whisper, MIT), which gives the dynamic time warping, the median filter and the rule for
punctuation. Where we differ: audio need not be padded to 30 s; an utterance without audio is timed by its gated
attention to the video, by another path (``avspeech.decoding.attention_path``); words at the ends of sentences are not
shortened by a rule, but where it is known when somebody speaks, words at pauses begin and end with the speech.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from avspeech.decoding.attention_path import (
    RecordedAttention,
    later_heads,
    positions_between_silence,
    positions_of_openai,
    record,
)
from avspeech.decoding.whisper_transcribe import WhisperHypothesis
from avspeech.decoding.word_edges import fit_to_speech, speech_stretches
from avspeech.manifest import Word
from avspeech.models.blocks import Attention
from avspeech.models.memory import Memory
from avspeech.models.whisper import Whisper
from avspeech.models.whisper_encoder import POSITIONS_PER_SECOND
from avspeech.text.whisper_tokens import WhisperTokenizer
from avspeech.timebase import FRAME_RATE

TOKENS_AT_ONCE = 1024
"""Rows times tokens whose logits are in memory at once; a token's logits take 200 kB."""
WITHOUT_BLANKS = ("zh", "ja", "th", "lo", "my", "yue")
"""Languages whose words are not set apart by blanks: every token that ends a character is a word."""
PREPENDED, APPENDED = "\"'“¿([{-", "\"'.。,，!！?？:：”)]}、"
"""Punctuation that belongs to the word after it, and to the word before it."""


@dataclass(frozen=True)
class TimedWord(Word):
    """A word, when it is spoken, and how sure the model is of it."""

    probability: float = 0.0
    """Mean probability of its tokens, given those before."""


@torch.no_grad()
def word_times(
    model: Whisper,
    tokenizer: WhisperTokenizer,
    hypotheses: Sequence[WhisperHypothesis],
    memory: Memory,
    durations_s: Sequence[float] | None = None,
    speech: Sequence[np.ndarray | None] | None = None,
) -> list[list[TimedWord]]:
    """Return the words of each hypothesis with their times in seconds from the clip's start.

    Args:
        model: in evaluation mode.
        tokenizer: the model's.
        hypotheses: one for each utterance of ``memory``.
        memory: of ``encode_batch``.
        durations_s: how long each clip lasts where the audio was padded to 30 s, or the silence takes part in the
            alignment; None: as long as the memory is real.
        speech: for each clip the probability of speech per frame at 25 Hz, (T,), or None where nobody listened. Without
            it the first word starts with the silence before it, if the audio times it.

    Raises:
        ValueError: there are not as many hypotheses, or as many of ``speech``, as utterances, or an utterance has
            neither audio nor video.
    """
    if len(hypotheses) != len(memory):
        raise ValueError(
            f"{len(hypotheses)} hypotheses came for a memory of {len(memory)} utterances; give the best one of each"
        )
    if speech is not None and len(speech) != len(hypotheses):
        raise ValueError(
            f"{len(speech)} probabilities of speech came for {len(hypotheses)} hypotheses; give one for each"
        )
    silent = _without_audio(memory)
    texts = [[token for token in one.tokens if token < tokenizer.end] for one in hypotheses]
    words: list[list[TimedWord]] = [[] for _ in hypotheses]
    for from_video in (False, True):  # attention to audio and to video is recorded in different layers
        group = [i for i, text in enumerate(texts) if text and silent[i] == from_video]
        for rows in _chunks(group, [len(text) for text in texts]):
            part = memory.select(torch.tensor(rows, device=memory.memory_BTD.device))
            lasts = None if durations_s is None else [durations_s[i] for i in rows]
            timed = _align(model, tokenizer, [hypotheses[i] for i in rows], part, from_video, lasts)
            for i, one in zip(rows, timed, strict=True):
                words[i] = one
    if speech is not None:
        words = [one if heard is None else _in_speech(one, heard) for one, heard in zip(words, speech, strict=True)]
    return words


def _in_speech(words: list[TimedWord], prob_T: np.ndarray) -> list[TimedWord]:
    fitted = fit_to_speech([(word.start_s, word.end_s) for word in words], speech_stretches(prob_T))
    return [replace(word, start_s=start, end_s=end) for word, (start, end) in zip(words, fitted, strict=True)]


def _without_audio(memory: Memory) -> list[bool]:
    """Return for each utterance whether it is timed by its video: its audio was dropped, which leaves zeros."""
    silent_B = (memory.memory_BTD == 0).flatten(1).all(dim=1)
    has_video_B = torch.full_like(silent_B, memory.video_BTD is not None)
    if memory.has_video_B is not None:
        has_video_B &= memory.has_video_B
    if bool((silent_B & ~has_video_B).any()):
        raise ValueError("an utterance has neither audio nor video to time its words by; keep one of them in keep_B2")
    return silent_B.tolist()


def _chunks(rows: list[int], lengths: list[int]) -> Iterator[list[int]]:
    chunk: list[int] = []
    for row in sorted(rows, key=lambda i: lengths[i]):
        if chunk and (len(chunk) + 1) * (lengths[row] + 5) > TOKENS_AT_ONCE:
            yield chunk
            chunk = []
        chunk.append(row)
    if chunk:
        yield chunk


def _align(
    model: Whisper,
    tokenizer: WhisperTokenizer,
    hypotheses: list[WhisperHypothesis],
    memory: Memory,
    from_video: bool,
    durations_s: list[float] | None,
) -> list[list[TimedWord]]:
    """Return the words of utterances that all are timed by the same stream."""
    texts = [[token for token in one.tokens if token < tokenizer.end] for one in hypotheses]
    prompts = [tokenizer.prompt(one.language, one.task) for one in hypotheses]
    rows = [[*prompt, *text, tokenizer.end] for prompt, text in zip(prompts, texts, strict=True)]
    longest = max(map(len, rows))
    tokens_BL = torch.tensor([row + [tokenizer.end] * (longest - len(row)) for row in rows])
    with record_attention(model, from_video) as recorded:
        logits_BLV = model.decoder(tokens_BL.to(memory.memory_BTD.device), memory)
    rate, valid = (FRAME_RATE, memory.video_valid_BT) if from_video else (POSITIONS_PER_SECOND, memory.valid_BT)
    result = []
    for i, (one, prompt, text) in enumerate(zip(hypotheses, prompts, texts, strict=True)):
        num_positions = recorded.num_positions if valid is None else int(valid[i].sum())
        if durations_s is not None:
            num_positions = max(1, min(num_positions, round(durations_s[i] * rate)))
        first = len(prompt) - 1  # the token before a text token is the one that looks for it
        weights_NLP = recorded.weights(i, len(rows[i]), num_positions)
        find = positions_between_silence if from_video else positions_of_openai
        times_s = [position / rate for position in find(weights_NLP, first, len(text))]
        probs_LV = logits_BLV[i, first : first + len(text), : tokenizer.end].float().softmax(dim=1)
        probs = probs_LV.gather(1, torch.tensor(text, device=probs_LV.device)[:, None])[:, 0].tolist()
        result.append(_words(tokenizer, one.language, text, times_s, probs))
    return result


@contextmanager
def record_attention(model: Whisper, from_video: bool = False) -> Iterator[RecordedAttention]:
    """Record attention to the memory inside the ``with``.

    Args:
        model: its heads in ``sizes.alignment_heads`` are recorded, or all of the later half of the blocks.
        from_video: record the gated attention to the video instead, all heads of the later half.
    """
    sizes = model.sizes
    heads = () if from_video else sizes.alignment_heads
    heads = heads or later_heads(sizes.text_depth, sizes.text_heads)
    layers: dict[int, Attention] = {}
    for number in {block for block, _ in heads}:
        block: Any = model.decoder.blocks[number]
        layers[number] = block.video.attention if from_video else block.memory_attention
    with record(layers, heads) as recorded:
        yield recorded


def _words(
    tokenizer: WhisperTokenizer, language: str, text: list[int], times_s: list[float], probs: list[float]
) -> list[TimedWord]:
    """Return words from the start of each token (``times_s`` has one more, the end's), punctuation joined to them."""
    from whisper.timing import WordTiming, merge_punctuations

    blanks = language not in WITHOUT_BLANKS
    split = tokenizer.library.split_tokens_on_spaces if blanks else tokenizer.library.split_tokens_on_unicode
    timings, at = [], 0
    for word, tokens in zip(*split([*text, tokenizer.end]), strict=True):
        end = at + len(tokens)
        if at < len(text):  # the last word is the end itself
            probability = sum(probs[at:end]) / len(tokens)
            timings.append(WordTiming(word, tokens, times_s[at], times_s[end], probability))
        at = end
    merge_punctuations(timings, PREPENDED, APPENDED)
    return [TimedWord(one.word.strip(), one.start, one.end, one.probability) for one in timings if one.word.strip()]
