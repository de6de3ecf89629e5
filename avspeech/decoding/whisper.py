"""Hypotheses from a Whisper's memory: language, prompt, search, and temperature fallback.

Options and thresholds are OpenAI's (MIT; Radford et al. 2023, arXiv:2212.04356). Where we differ: a batch may mix
languages, one pass detects both language and silence, only failed texts are decoded again, and silence is reported
(``no_speech_prob``), not deleted.
"""

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from avspeech.decoding.config import DecodingConfig
from avspeech.decoding.hypothesis import Hypothesis
from avspeech.decoding.search import Ending, Found, Scorer, beam_tokens, sample_tokens
from avspeech.decoding.whisper_rules import TokenRules
from avspeech.models.decoder import State, TextDecoder
from avspeech.models.memory import Memory
from avspeech.models.whisper import Whisper
from avspeech.text.whisper_tokens import WhisperTokenizer


@torch.no_grad()
def decode_whisper(
    model: Whisper,
    memory: Memory,
    config: DecodingConfig,
    languages: Sequence[str | None] = (),
    ids: Sequence[str] = (),
) -> list[list[Hypothesis]]:
    """Return hypotheses of each utterance, best first.

    ``config`` comes from ``settle``; other arguments and errors as for ``decode_memory``.
    """
    if config.length_penalty is not None and not 0 <= config.length_penalty <= 1:
        raise ValueError(f"length_penalty={config.length_penalty} must lie in 0..1 for a Whisper, or be null")
    tokenizer, batch = model.tokenizer, len(memory)
    wanted: list[str | None] = [config.language] * batch
    if config.language is None and not config.detect_language and languages:
        wanted = list(languages)
    if not tokenizer.is_multilingual:
        wanted = ["en"] * batch
    ids = ids or [str(place) for place in range(batch)]
    results: list[list[Hypothesis]] = [[] for _ in range(batch)]
    language_probs: list[dict[str, float] | None] = [None] * batch
    pending = list(range(batch))
    for temperature in config.temperatures:
        part = memory
        if len(pending) < batch:
            part = memory.select(torch.tensor(pending, device=memory.memory_BTD.device))
        start = _start(model, part, [wanted[i] for i in pending], config)
        found = _search(model, start, [ids[i] for i in pending], temperature, config)
        columns = (start.languages, start.language_probs, found, start.no_speech_B.tolist())
        for i, language, probs, nbest, no_speech_prob in zip(pending, *columns, strict=True):
            wanted[i], language_probs[i] = language, language_probs[i] or probs
            results[i] = []
            for one in nbest[: config.num_best]:
                text, score = tokenizer.decode(one.tokens), one.logprob / (len(one.tokens) + 1)
                scores = (score, tuple(one.tokens), score, one.parts)
                measures = (temperature, no_speech_prob, compression_ratio(text), language_probs[i])
                results[i].append(Hypothesis(text, *scores, language, config.task, *measures))
        pending = [i for i in pending if failed(results[i][0], config)]
        if not pending:
            break
    return results


def failed(best: Hypothesis, config: DecodingConfig) -> bool:
    """Return True if a text is repetitive or improbable and needs another temperature."""
    assert best.no_speech_prob is not None and best.compression_ratio is not None
    unlikely = config.logprob_threshold is not None and best.mean_score < config.logprob_threshold
    silent = config.no_speech_threshold is not None and best.no_speech_prob > config.no_speech_threshold
    if unlikely and silent:
        return False
    limit = config.compression_ratio_threshold
    return unlikely or (limit is not None and best.compression_ratio > limit)


def compression_ratio(text: str) -> float:
    """Return how many times shorter zlib makes a text; above about 2.4 it is repetitive."""
    data = text.encode("utf-8")
    return len(data) / len(zlib.compress(data))


def rank(found: list[Found], length_penalty: float | None) -> list[Found]:
    """Return an utterance's hypotheses best first, duplicates removed; see ``DecodingConfig.length_penalty``."""

    def score(one: Found) -> float:
        length = max(1, len(one.tokens))
        return one.logprob / (length if length_penalty is None else ((5 + length) / 6) ** length_penalty)

    unique = {tuple(one.tokens): one for one in reversed(found)}  # of equals, the first one found stays
    return sorted((one for one in found if unique[tuple(one.tokens)] is one), key=score, reverse=True)


@torch.no_grad()
def detect_languages(model: Whisper, memory: Memory) -> tuple[list[str], list[dict[str, float]]]:
    """Return each utterance's likeliest language, and the probability of all; ValueError for an English-only model."""
    tokenizer = model.tokenizer
    if not tokenizer.is_multilingual:
        raise ValueError("an English-only Whisper came to detect languages; it has no tokens for them")
    start_B1 = torch.full((len(memory), 1), tokenizer.start, device=memory.memory_BTD.device)
    return _languages(tokenizer, model.decoder.step(start_B1, model.decoder.start(memory, 1)))


def _languages(tokenizer: WhisperTokenizer, logits_BV: Tensor) -> tuple[list[str], list[dict[str, float]]]:
    probs = logits_BV[:, list(tokenizer.language_tokens)].float().softmax(dim=1).tolist()
    tables = [dict(zip(tokenizer.languages, row, strict=True)) for row in probs]
    return [max(table, key=table.__getitem__) for table in tables], tables


class WhisperScorer(Scorer):
    """Log-probabilities after the prompt, by OpenAI's rules; changes ``state`` and ``logits_RV``, the prompt's."""

    def __init__(self, decoder: TextDecoder, state: State, logits_RV: Tensor, rules: TokenRules) -> None:
        self.decoder, self.state, self.logits_RV, self.rules = decoder, state, logits_RV, rules

    def step(self, tokens_RL: Tensor) -> Tensor:
        logits_RV = self.decoder.step(tokens_RL[:, -1:], self.state) if tokens_RL.shape[1] else self.logits_RV
        logits_RV = logits_RV.float()
        self.rules.apply(logits_RV, tokens_RL)
        return logits_RV.log_softmax(dim=1)


@dataclass
class _Start:
    """The decoder after the prompt."""

    state: State
    logits_BV: Tensor
    no_speech_B: Tensor
    languages: list[str]
    language_probs: list[dict[str, float] | None]
    limit: int


def _start(model: Whisper, memory: Memory, wanted: list[str | None], config: DecodingConfig) -> _Start:
    """Feed the prompt, and detect the languages that are None on the way."""
    decoder, tokenizer, device = model.decoder, model.tokenizer, memory.memory_BTD.device
    positions, batch = model.sizes.text_positions, len(wanted)
    context = []
    if config.context:  # at most half of the positions, as OpenAI's decoder cuts it
        context = [tokenizer.library.sot_prev, *tokenizer.encode(config.context)[-(positions // 2 - 1) :]]
    unknown, detected = None in wanted, None
    if unknown and context:  # Whisper detects at the first position without context, so in a state of its own
        detected = detect_languages(model, memory)
    prompt_length = len(context) + len(tokenizer.prompt("en", config.task, config.timestamps))  # of any language
    # The last token is never fed, so it needs no position.
    limit = max(1, min(config.max_tokens or positions // 2, positions + 1 - prompt_length))
    state = decoder.start(memory, prompt_length + limit)
    if context:
        decoder.step(torch.tensor([context], device=device).expand(batch, -1), state)
    start_BV = None
    if unknown and detected is None:
        start_BV = decoder.step(torch.full((batch, 1), tokenizer.start, device=device), state)
        detected = _languages(tokenizer, start_BV)
    found, tables = detected or (wanted, [None] * batch)
    probs = [table if language is None else None for language, table in zip(wanted, tables, strict=True)]
    languages: list[Any] = [language or best for language, best in zip(wanted, found, strict=True)]
    prompts = [tokenizer.prompt(language, config.task, config.timestamps) for language in languages]
    prompt_BL = torch.tensor(prompts, device=device)
    if start_BV is not None:
        logits_BV = decoder.step(prompt_BL[:, 1:], state)
    else:
        logits_BLV = decoder.step(prompt_BL, state, last_only=False)
        start_BV, logits_BV = logits_BLV[:, 0], logits_BLV[:, -1]
    no_speech_B = start_BV.float().softmax(dim=1)[:, tokenizer.library.no_speech]
    return _Start(state, logits_BV, no_speech_B, languages, probs, limit)


def _search(
    model: Whisper, start: _Start, ids: list[str], temperature: float, config: DecodingConfig
) -> list[list[Found]]:
    device, end, size = start.logits_BV.device, model.tokenizer.end, config.beam_size or 1
    rules, logits_RV = TokenRules(model.tokenizer, config, model.sizes.audio_positions, device), start.logits_BV
    uniform_RL = None
    if temperature > 0:
        uniform_RL = torch.cat([_uniform(one, temperature, start.limit, config) for one in ids]).to(device)
        start.state.repeat(config.best_of)
        logits_RV = logits_RV.repeat_interleave(config.best_of, dim=0)
    scorer = WhisperScorer(model.decoder, start.state, logits_RV, rules)
    if temperature > 0 or size == 1:
        found = sample_tokens(scorer, end, start.limit, temperature, uniform_RL)
    else:
        ending = Ending(round(size * config.patience), among_best=False)
        if ending.wanted < 1:
            raise ValueError(f"beam_size={size} times patience={config.patience} must round to at least 1")
        found = beam_tokens(scorer, end, start.limit, size, ending)
    return [rank(hypotheses, config.length_penalty) for hypotheses in found]


def _uniform(utterance_id: str, temperature: float, limit: int, config: DecodingConfig) -> Tensor:
    """Return an utterance's random numbers, independent of its batch and of the device."""
    generator = torch.Generator().manual_seed(zlib.crc32(f"{config.seed} {temperature} {utterance_id}".encode()))
    return torch.rand(config.best_of, limit, generator=generator)
