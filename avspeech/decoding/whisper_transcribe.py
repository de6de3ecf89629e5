"""A batch and a Whisper, with lips or without -> texts: language, prompt, search, and another try where it failed.

Options, rules and thresholds are those of OpenAI's package (MIT; Radford et al. 2023, arXiv:2212.04356).
Where we differ: languages may be mixed in a batch, one pass over the start token both detects the language and says how
likely there is no speech, and only what failed is decoded again. Silence is reported (``no_speech_prob``), not deleted.
"""

import zlib
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from avspeech.decoding.whisper_rules import Suppress, token_rules
from avspeech.decoding.whisper_search import WhisperTokens, beam_tokens, rank, sample_tokens
from avspeech.inputs import AVBatch
from avspeech.models.decoder import State
from avspeech.models.files import ModelFileError
from avspeech.models.memory import Memory
from avspeech.models.whisper import Whisper
from avspeech.text.whisper_tokens import Task, WhisperTokenizer


@dataclass(frozen=True)
class WhisperOptions:
    """How to decode. The defaults are greedy, without times and without fallback."""

    language: str | None = None
    """Of all utterances, as Whisper writes it (`en`, `yue`); null: what the batch says, detected where it says none."""
    task: Task = "transcribe"
    """`transcribe`, or `translate` into English."""
    beam_size: int = 1
    """Hypotheses kept alive at temperature 0; 1 is greedy."""
    patience: float = 1.0
    """A beam ends with round(beam_size * patience) finished hypotheses."""
    best_of: int = 5
    """Texts drawn at a temperature above 0, the best of which is taken."""
    length_penalty: float | None = None
    """Ranks hypotheses by log-probability / ((5 + tokens) / 6) ** penalty; null: by log-probability / tokens."""
    temperatures: tuple[float, ...] = (0.0,)
    """Tried in order until a text passes the thresholds; OpenAI's are 0, 0.2, ... 1."""
    compression_ratio_threshold: float | None = 2.4
    """A text that gzip shrinks by more than this repeats itself: try the next temperature. null: no limit."""
    logprob_threshold: float | None = -1.0
    """A text with a lower mean log-probability: try the next temperature. null: no limit."""
    no_speech_threshold: float | None = 0.6
    """Where no speech is likelier than this, a low log-probability is silence, and no other is tried. null: never."""
    suppress: Suppress = "default"
    """`default` forbids symbols that are not spoken; a list of token numbers forbids those; `none` forbids nothing."""
    suppress_blank: bool = True
    """The first token is neither a blank nor the end."""
    timestamps: bool = False
    """Ask for time tokens between segments (OpenAI's `without_timestamps` is the opposite)."""
    max_tokens: int | None = None
    """Most tokens of a text; null: half of the model's text positions."""
    num_best: int = 1
    """Most hypotheses returned for an utterance."""
    detect_language: bool = False
    """Detect the language even where the batch says it."""
    seed: int = 0
    """Of the draws at a temperature above 0; an utterance's draws follow from it and the utterance's id."""
    context: str | None = None
    """Text that came before, for names and style (OpenAI's `prompt`)."""

    def __post_init__(self) -> None:
        for name in ("beam_size", "best_of", "num_best"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}={getattr(self, name)} must be at least 1")
        if round(self.beam_size * self.patience) < 1:
            raise ValueError(f"beam_size={self.beam_size} times patience={self.patience} must round to at least 1")
        if self.max_tokens is not None and self.max_tokens < 1:
            raise ValueError(f"max_tokens={self.max_tokens} must be at least 1, or null for the model's")
        if not self.temperatures or min(self.temperatures) < 0:
            raise ValueError(f"temperatures={self.temperatures} must be one or more numbers from 0 on")
        if self.length_penalty is not None and not 0 <= self.length_penalty <= 1:
            raise ValueError(f"length_penalty={self.length_penalty} must lie in 0..1, or be null")
        if self.language is not None and self.detect_language:
            raise ValueError(f"language={self.language!r} came with detect_language; give one of them")


@dataclass(frozen=True)
class WhisperHypothesis:
    """A text and what Whisper says of it."""

    text: str
    tokens: list[int]
    """Without prompt and end; with ``timestamps`` also those of times."""
    score: float
    """Mean log-probability of the tokens, the end included: sum / (tokens + 1)."""
    language: str
    temperature: float
    no_speech_prob: float
    compression_ratio: float
    task: Task = "transcribe"
    language_probs: dict[str, float] | None = None
    """Probability of every language, where it was detected."""


@torch.no_grad()
def transcribe_whisper(
    model: Whisper,
    tokenizer: WhisperTokenizer,
    batch: AVBatch,
    keep_B2: Tensor | None = None,
    options: WhisperOptions = WhisperOptions(),
) -> list[list[WhisperHypothesis]]:
    """Return up to ``options.num_best`` hypotheses of each utterance, best first.

    Args:
        model: in evaluation mode.
        tokenizer: the model's.
        batch: on the model's device.
        keep_B2: bool, columns AUDIO and VIDEO; None keeps both.
        options: how to decode.

    Raises:
        ValueError: a stream is missing, the model does not know a language, or the encoder gives NaN.
    """
    return decode_memory(model, tokenizer, encode_batch(model, batch, keep_B2), batch.languages, options, batch.ids)


@torch.no_grad()
def encode_batch(model: Whisper, batch: AVBatch, keep_B2: Tensor | None = None) -> Memory:
    """Return what the decoder looks at; arguments and errors as in ``transcribe_whisper``."""
    valid_BA = batch.valid_BA
    if valid_BA is not None and bool(valid_BA.all()):
        valid_BA = None  # attention without a mask is faster
    memory = model.encode_streams(batch.logmel_BAF, valid_BA, batch.video_BTHW, batch.valid_BT, keep_B2)
    for part, valid in ((memory.memory_BTD, memory.valid_BT), (memory.video_BTD, memory.video_valid_BT)):
        if part is not None and not (part if valid is None else part[valid]).isfinite().all():
            raise ModelFileError(
                "the encoder gave values that are not finite: its training diverged, or its file is damaged"
            )
    return memory


@torch.no_grad()
def decode_memory(
    model: Whisper,
    tokenizer: WhisperTokenizer,
    memory: Memory,
    languages: Sequence[str | None] = (),
    options: WhisperOptions = WhisperOptions(),
    ids: Sequence[str] = (),
) -> list[list[WhisperHypothesis]]:
    """Return hypotheses as ``transcribe_whisper`` does, from what the encoder gave.

    Args:
        languages: of the utterances; None, or none at all: detected, unless ``options`` has one.
        ids: of the utterances, for the draws above temperature 0; none: their places.
    """
    batch = len(memory)
    wanted: list[str | None] = [options.language] * batch
    if options.language is None and not options.detect_language and languages:
        wanted = list(languages)
    if not tokenizer.is_multilingual:
        wanted = ["en"] * batch
    ids = ids or [str(place) for place in range(batch)]
    results: list[list[WhisperHypothesis]] = [[] for _ in range(batch)]
    language_probs: list[dict[str, float] | None] = [None] * batch
    pending = list(range(batch))
    for temperature in options.temperatures:
        part = memory
        if len(pending) < batch:
            part = memory.select(torch.tensor(pending, device=memory.memory_BTD.device))
        start = _start(model, tokenizer, part, [wanted[i] for i in pending], options)
        for i, language, probs in zip(pending, start.languages, start.language_probs, strict=True):
            wanted[i] = language
            language_probs[i] = language_probs[i] or probs
        found = _search(model, tokenizer, start, [ids[i] for i in pending], temperature, options)
        for i, nbest, no_speech_prob in zip(pending, found, start.no_speech_B.tolist(), strict=True):
            language = wanted[i]
            assert language is not None
            results[i] = []
            for one in nbest[: options.num_best]:
                text = tokenizer.decode(one.tokens)
                results[i].append(
                    WhisperHypothesis(
                        text=text,
                        tokens=one.tokens,
                        score=one.logprob / (len(one.tokens) + 1),
                        language=language,
                        temperature=temperature,
                        no_speech_prob=no_speech_prob,
                        compression_ratio=compression_ratio(text),
                        task=options.task,
                        language_probs=language_probs[i],
                    )
                )
        pending = [i for i in pending if failed(results[i][0], options)]
        if not pending:
            break
    return results


def failed(best: WhisperHypothesis, options: WhisperOptions) -> bool:
    """Return whether a text repeats itself or is improbable, so that another temperature is to be tried."""
    unlikely = options.logprob_threshold is not None and best.score < options.logprob_threshold
    silent = options.no_speech_threshold is not None and best.no_speech_prob > options.no_speech_threshold
    if unlikely and silent:
        return False
    limit = options.compression_ratio_threshold
    return unlikely or (limit is not None and best.compression_ratio > limit)


def compression_ratio(text: str) -> float:
    """Return how many times shorter zlib makes a text; above about 2.4 it repeats itself."""
    data = text.encode("utf-8")
    return len(data) / len(zlib.compress(data))


@torch.no_grad()
def detect_languages(
    model: Whisper, tokenizer: WhisperTokenizer, memory: Memory
) -> tuple[list[str], list[dict[str, float]]]:
    """Return the likeliest language of each utterance, and the probability of every language.

    Raises:
        ValueError: the model is English only.
    """
    if not tokenizer.is_multilingual:
        raise ValueError("an English-only Whisper came to detect languages; it has no tokens for them")
    state = model.decoder.start(memory, 1)
    start_B1 = torch.full((len(memory), 1), tokenizer.start, device=memory.memory_BTD.device)
    return _languages(tokenizer, model.decoder.step(start_B1, state))


def _languages(tokenizer: WhisperTokenizer, logits_BV: Tensor) -> tuple[list[str], list[dict[str, float]]]:
    probs = logits_BV[:, list(tokenizer.language_tokens)].float().softmax(dim=1).tolist()
    tables = [dict(zip(tokenizer.languages, row, strict=True)) for row in probs]
    return [max(table, key=table.__getitem__) for table in tables], tables


@dataclass
class _Start:
    """The decoder after the prompt."""

    state: State
    logits_BV: Tensor
    no_speech_B: Tensor
    languages: list[str]
    language_probs: list[dict[str, float] | None]
    limit: int


def _start(
    model: Whisper, tokenizer: WhisperTokenizer, memory: Memory, wanted: list[str | None], options: WhisperOptions
) -> _Start:
    """Feed the prompt, and detect the languages that are None on the way."""
    decoder, device = model.decoder, memory.memory_BTD.device
    positions, batch = model.sizes.text_positions, len(wanted)
    context = _context(tokenizer, options.context, positions)
    unknown = [i for i, language in enumerate(wanted) if language is None]
    tables: list[dict[str, float] | None] = [None] * batch

    def learn(detected: list[str], probs: list[dict[str, float]]) -> list[str | None]:
        for i in unknown:
            tables[i] = probs[i]
        return [language or found for language, found in zip(wanted, detected, strict=True)]

    if unknown and context:  # Whisper detects without context: at the first position, in a state of its own
        wanted, unknown_left = learn(*detect_languages(model, tokenizer, memory)), False
    else:
        unknown_left = bool(unknown)
    prompt_length = len(context) + len(tokenizer.prompt(_any_language(wanted), options.task, options.timestamps))
    # The last token needs no position: it is never fed.
    limit = max(1, min(options.max_tokens or positions // 2, positions + 1 - prompt_length))
    state = decoder.start(memory, prompt_length + limit)
    if context:
        decoder.step(torch.tensor([context], device=device).expand(batch, -1), state)
    if unknown_left:
        start_B1 = torch.full((batch, 1), tokenizer.start, device=device)
        start_BV = decoder.step(start_B1, state)
        wanted = learn(*_languages(tokenizer, start_BV))
        rest = _prompts(tokenizer, wanted, options)[:, 1:].to(device)
        logits_BV = decoder.step(rest, state)
    else:
        logits_BLV = decoder.step(_prompts(tokenizer, wanted, options).to(device), state, last_only=False)
        start_BV, logits_BV = logits_BLV[:, 0], logits_BLV[:, -1]
    no_speech_B = start_BV.float().softmax(dim=1)[:, tokenizer.library.no_speech]
    assert all(language is not None for language in wanted)
    return _Start(state, logits_BV, no_speech_B, wanted, tables, limit)  # type: ignore[arg-type]


def _any_language(wanted: list[str | None]) -> str:
    """Return a language whose prompt is as long as every other's."""
    return next((language for language in wanted if language is not None), "en")


def _prompts(tokenizer: WhisperTokenizer, languages: list[str | None], options: WhisperOptions) -> Tensor:
    return torch.tensor([tokenizer.prompt(language, options.task, options.timestamps) for language in languages])


def _context(tokenizer: WhisperTokenizer, text: str | None, positions: int) -> list[int]:
    """Return the tokens of what came before, at most half of the positions, as OpenAI's decoder cuts them."""
    if not text:
        return []
    tokens = tokenizer.encode(text)[-(positions // 2 - 1) :]
    return [tokenizer.library.sot_prev, *tokens]


def _search(
    model: Whisper,
    tokenizer: WhisperTokenizer,
    start: _Start,
    ids: list[str],
    temperature: float,
    options: WhisperOptions,
) -> list[list[WhisperTokens]]:
    device = start.logits_BV.device
    rules = token_rules(
        tokenizer,
        options.suppress,
        options.suppress_blank,
        options.timestamps,
        model.sizes.audio_positions,
        device,
    )
    search = (model.decoder, start.state, start.logits_BV, rules, start.limit)
    if temperature == 0 and options.beam_size > 1:
        found = beam_tokens(*search, options.beam_size, options.patience)
    elif temperature == 0:
        found = [[one] for one in sample_tokens(*search)]
    else:
        times = options.best_of
        uniform_RL = torch.cat([_uniform(one, options.seed, temperature, times, start.limit) for one in ids]).to(device)
        start.state.repeat(times)
        logits_RV = start.logits_BV.repeat_interleave(times, dim=0)
        rows = sample_tokens(model.decoder, start.state, logits_RV, rules, start.limit, temperature, uniform_RL)
        found = [rows[first : first + times] for first in range(0, len(rows), times)]
    return [rank(hypotheses, options.length_penalty) for hypotheses in found]


def _uniform(utterance_id: str, seed: int, temperature: float, times: int, limit: int) -> Tensor:
    """Return the numbers that an utterance's texts are drawn with; its neighbours and the device do not matter."""
    generator = torch.Generator().manual_seed(zlib.crc32(f"{seed} {temperature} {utterance_id}".encode()))
    return torch.rand(times, limit, generator=generator)
