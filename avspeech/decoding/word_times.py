"""Word times of a hypothesis, by CTC alignment or by the text decoder's attention.

CTC reads a token in one or two steps anywhere inside the word; ``words_around`` finds the words' ends between them.
Attention follows dynamic time warping, for a Whisper's audio as in OpenAI's package (openai-whisper, MIT), but without
padding to 30 s and without its rule for words at the ends of sentences. Known speech bounds the words at pauses.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch

from avspeech.decoding.attention_path import positions_between_silence, positions_of_openai, record_attention
from avspeech.decoding.ctc import align_ctc
from avspeech.decoding.hypothesis import Hypothesis
from avspeech.decoding.word_edges import Interval, Moments, fit_to_speech, speech_intervals, spread, words_around
from avspeech.manifest import Word
from avspeech.models.base import Model
from avspeech.models.memory import Memory
from avspeech.models.whisper import Whisper
from avspeech.models.whisper_encoder import POSITIONS_PER_SECOND
from avspeech.sequence import pad_stack
from avspeech.text.tokenizer import EOS, START
from avspeech.timebase import FRAME_RATE

TOKENS_AT_ONCE = 1024  # rows times tokens whose logits are in memory at once; one token takes 200 kB in a Whisper


@dataclass(frozen=True)
class TimedWord(Word):
    """A word and its times; its probability is the mean of its tokens given those before, or of its CTC steps."""

    probability: float = 0.0


def word_times(
    model: Model,
    tokenizer: Any,
    hypotheses: Sequence[Hypothesis],
    memory: Memory,
    durations_s: Sequence[float] | None = None,
    speech: Sequence[np.ndarray | None] | None = None,
) -> list[list[TimedWord]]:
    """Return ``time_words`` of the model; ``tokenizer`` is accepted from earlier callers, the model has its own."""
    return time_words(model, hypotheses, memory, durations_s, speech)


@torch.no_grad()
def time_words(
    model: Model,
    hypotheses: Sequence[Hypothesis],
    memory: Memory,
    durations_s: Sequence[float] | None = None,
    speech: Sequence[np.ndarray | None] | None = None,
    method: Literal["ctc", "attention"] | None = None,
) -> list[list[TimedWord]]:
    """Return the words of each hypothesis with their times in seconds from the clip's start, in order.

    A text with too many tokens for CTC is spread over the speech, with probability 0.

    Args:
        hypotheses: one for each utterance of ``memory``, which ``encode_batch`` gave.
        durations_s: length of each clip, if the memory is padded to 30 s or includes silence; None: the memory's.
        speech: per clip the probability of speech at 25 Hz, (T,); None: the first word may start too early.
        method: what times the words; None: CTC where the model has it.

    Raises ValueError if lengths differ, the model lacks the head, or an utterance has neither audio nor video.
    """
    for name, given in (("hypotheses", hypotheses), ("probabilities of speech", speech)):
        if given is not None and len(given) != len(memory):
            raise ValueError(f"{len(given)} {name} came for a memory of {len(memory)} utterances; give one of each")
    method = method or ("ctc" if "ctc" in model.methods else "attention")
    if method not in model.methods:
        raise ValueError(f"method={method!r} came for word times; this model has {' and '.join(model.methods)}")
    heard = [[] if one is None else speech_intervals(one) for one in speech or [None] * len(hypotheses)]
    if method == "ctc":
        return _by_ctc(model, hypotheses, memory, heard)
    words: list[list[TimedWord]] = [[] for _ in hypotheses]
    by_video = _timed_by_video(memory) if isinstance(model, Whisper) else [False] * len(memory)
    for from_video in (False, True):  # attention to the memory and to the video is recorded in different layers
        group = [i for i, one in enumerate(hypotheses) if one.tokens and by_video[i] == from_video]
        for rows in _chunks(group, [len(one.tokens) for one in hypotheses]):
            for i, split, times, probs in _by_attention(model, hypotheses, memory, rows, from_video, durations_s):
                words[i] = _timed(split, fit_to_speech(times, heard[i]), probs)
    return words


def _by_ctc(
    model: Any, hypotheses: Sequence[Hypothesis], memory: Memory, heard: list[list[Interval]]
) -> list[list[TimedWord]]:
    tokenizer, upsample = model.tokenizer, model.config.ctc_upsample
    assert memory.valid_BT is not None
    log_BTV = model.ctc_logits(memory.memory_BTD).float().log_softmax(dim=-1).cpu().numpy()
    rate, lengths = FRAME_RATE * upsample, memory.valid_BT.sum(dim=1).tolist()
    result = []
    for log_TV, one, length, speech in zip(log_BTV, hypotheses, lengths, heard, strict=True):
        words, duration_s = tokenizer.split_words(one.tokens), length / FRAME_RATE
        log_TV = log_TV[: length * upsample]
        steps = align_ctc(log_TV, one.tokens)
        if steps is None:
            start, end = (speech[0][0], min(duration_s, speech[-1][1])) if speech else (0.0, duration_s)
            times, probs = spread([len(word) for word, _ in words], start, end), [0.0] * len(one.tokens)
        else:
            letters = [max(1, tokenizer.num_letters(token)) for token in one.tokens]
            seconds = [(first / rate, end / rate) for first, end in steps]
            moments = [Moments(seconds[p[0]], seconds[p[-1]], letters[p[0]], letters[p[-1]]) for _, p in words]
            times = words_around(moments, duration_s, speech)
            spans = zip(one.tokens, steps, strict=True)
            probs = [float(np.exp(log_TV[first:end, token]).mean()) for token, (first, end) in spans]
        result.append(_timed(words, times, probs))
    return result


def _by_attention(
    model: Any,
    hypotheses: Sequence[Hypothesis],
    memory: Memory,
    rows: list[int],
    from_video: bool,
    durations_s: Sequence[float] | None,
) -> Iterator[tuple[int, list[tuple[str, list[int]]], list[Interval], list[float]]]:
    """Yield the number, words, their times and the tokens' probabilities of each of ``rows`` that has words."""
    tokenizer, is_whisper = model.tokenizer, isinstance(model, Whisper)
    chosen, memory = [hypotheses[i] for i in rows], memory.select(torch.tensor(rows, device=memory.memory_BTD.device))
    if is_whisper:  # time tokens are no words
        texts = [[token for token in one.tokens if token < tokenizer.end] for one in chosen]
        prompts = [tokenizer.prompt(one.language, one.task) for one in chosen]
        end = text_vocab = tokenizer.end
    else:
        texts, prompts = [list(one.tokens) for one in chosen], [[START]] * len(chosen)
        end, text_vocab = EOS, tokenizer.vocab_size
    inputs = [torch.tensor([*prompt, *text, end]) for prompt, text in zip(prompts, texts, strict=True)]
    with record_attention(model, from_video) as recorded:
        logits_BLV = model.decoder(pad_stack(inputs, end).to(memory.memory_BTD.device), memory)
    by_silence = from_video or not is_whisper
    rate = FRAME_RATE if by_silence else POSITIONS_PER_SECOND
    valid_BT = memory.video_valid_BT if from_video else memory.valid_BT
    memory_BTD: Any = memory.video_BTD if from_video else memory.memory_BTD
    for i, (row, one, prompt, text) in enumerate(zip(rows, chosen, prompts, texts, strict=True)):
        words = tokenizer.split_words(text, one.language) if is_whisper else tokenizer.split_words(text)
        if not words:
            continue
        num_positions = memory_BTD.shape[1] if valid_BT is None else int(valid_BT[i].sum())
        if durations_s is not None:
            num_positions = max(1, min(num_positions, round(durations_s[row] * rate)))
        first = len(prompt) - 1  # the attention before a text token finds it
        weights_NLP = recorded.weights(i, len(inputs[i]), num_positions)
        find = positions_between_silence if by_silence else positions_of_openai
        starts = [position / rate for position in find(weights_NLP, first, len(text))]
        # Blanks between words belong to the word before; punctuation joined to a Whisper's word takes no time.
        stops = [p[-1] + 1 for _, p in words] if is_whisper else [*(p[0] for _, p in words[1:]), len(text)]
        times = [(starts[places[0]], starts[stop]) for (_, places), stop in zip(words, stops, strict=True)]
        probs_LV = logits_BLV[i, first : first + len(text), :text_vocab].float().softmax(dim=1)
        probs = probs_LV.gather(1, torch.tensor(text, device=probs_LV.device)[:, None])[:, 0].tolist()
        yield row, words, times, probs


def _timed(words: list[tuple[str, list[int]]], times: list[Interval], probs: list[float]) -> list[TimedWord]:
    return [
        TimedWord(text, start, end, sum(probs[place] for place in places) / len(places))
        for (text, places), (start, end) in zip(words, times, strict=True)
    ]


def _timed_by_video(memory: Memory) -> list[bool]:
    """Return True for each utterance of a Whisper whose audio was dropped (all zeros)."""
    silent_B = (memory.memory_BTD == 0).flatten(1).all(dim=1)
    has_video_B = memory.has_video_B if memory.has_video_B is not None else torch.ones_like(silent_B)
    if bool((silent_B & ~has_video_B).any()) or (memory.video_BTD is None and bool(silent_B.any())):
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
