"""Decoding options, shared by validation, evaluation, transcription, web page and export."""

import math
from dataclasses import dataclass, replace
from typing import Literal

from avspeech.features.logmel import PAD_S
from avspeech.inputs import InputSpec
from avspeech.models.base import Model
from avspeech.text.whisper_tokens import Task

Method = Literal["ctc", "attention", "joint"]
Suppress = Literal["default", "none"] | tuple[int, ...]
FALLBACK = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)  # OpenAI's temperatures for failed texts
BEAM_SIZES: dict[str, int] = {"ctc": 16, "attention": 1, "joint": 5}  # a decoder's beam costs in proportion to its size


@dataclass(frozen=True)
class DecodingConfig:
    """Decoding options."""

    method: Method | None = None
    """`ctc`, `attention`, or `joint` (both heads score a beam); null: `joint` if both exist. Whisper: `attention`."""
    beam_size: int | None = None
    """Hypotheses kept, 1 is greedy; null: 16 for `ctc`, 5 for `joint`, 1 for `attention`."""
    num_best: int = 1
    """Most hypotheses returned per utterance."""
    length_penalty: float | None = None
    """Recogniser: divide the log-probability by length ** penalty, null is 1. Whisper: by ((5 + length) / 6) **
    penalty, 0..1; null: by the length. Unused by `ctc`."""
    min_length: int = 0
    """Recogniser, not `ctc`: fewest tokens of a text. AV-HuBERT uses 1."""
    max_tokens: int | None = None
    """Not for `ctc`: most tokens of a text; null: one per frame, at least 10 (Whisper: half of its text positions)."""
    official_limit: bool = False
    """Recogniser: limit the tokens as AV-HuBERT's published decoder does (see `official_length_limit`)."""
    ctc_weight: float = 0.3
    """Share of CTC in the score of `joint`, 0 to 1."""
    lm_weight: float = 0.3
    """Factor of the language model's log-probabilities, if one is given."""
    language: str | None = None
    """Whisper: language of all utterances (`en`, `yue`); null: each utterance's own, detected where it has none."""
    detect_language: bool = False
    """Whisper: detect the language even where the utterance has one."""
    task: Task = "transcribe"
    """Whisper: `transcribe`, or `translate` into English. Models trained to translate from English use `transcribe`."""
    context: str | None = None
    """Whisper: preceding text, for names and style (OpenAI's `prompt`)."""
    pad_to_30s: bool | None = None
    """Whisper: pad the audio to 30 s; null: only for published weights, which need it."""
    temperatures: tuple[float, ...] = FALLBACK
    """Whisper: fallback temperatures, tried in order until a text passes the thresholds; above 0 texts are sampled."""
    best_of: int = 5
    """Whisper: texts sampled at a temperature above 0; the best is taken."""
    patience: float = 1.0
    """Whisper: a beam ends with round(beam_size * patience) finished hypotheses."""
    compression_ratio_threshold: float | None = 2.4
    """Whisper: a text with a higher zlib ratio is repetitive and falls back to the next temperature; null: no limit."""
    logprob_threshold: float | None = -1.0
    """Whisper: a text with a lower mean log-probability falls back to the next temperature; null: no limit."""
    no_speech_threshold: float | None = 0.6
    """Whisper: above this no-speech probability a low log-probability causes no fallback; null: never."""
    suppress: Suppress = "default"
    """Whisper: `default` suppresses symbols that are not spoken, a list those token numbers, `none` nothing."""
    suppress_blank: bool = True
    """Whisper: the first token is neither a blank nor the end."""
    timestamps: bool = False
    """Whisper: ask for time tokens (the opposite of OpenAI's `without_timestamps`)."""
    seed: int = 0
    """Whisper: seed of the sampling, combined with the utterance's id."""

    def __post_init__(self) -> None:
        if self.method not in (None, "ctc", "attention", "joint"):
            raise ValueError(f"method={self.method!r} must be ctc, attention or joint, or null for the model's own")
        for name in ("beam_size", "num_best", "max_tokens", "best_of"):
            if (value := getattr(self, name)) is not None and value < 1:
                raise ValueError(f"{name}={value} must be at least 1")
        if self.length_penalty is not None and not math.isfinite(self.length_penalty):
            raise ValueError(f"length_penalty={self.length_penalty} must be a number; 0 leaves scores as they are")
        if self.min_length < 0 or (self.max_tokens is not None and self.min_length > self.max_tokens):
            most = "up" if self.max_tokens is None else f"to max_tokens={self.max_tokens}"
            raise ValueError(f"min_length={self.min_length} must be from 0 {most}")
        if self.official_limit and self.max_tokens is not None:
            raise ValueError(f"max_tokens={self.max_tokens} came with official_limit, which sets it; give one of them")
        if not 0 <= self.ctc_weight <= 1:
            raise ValueError(f"ctc_weight={self.ctc_weight} must be from 0 (decoder only) to 1 (CTC only)")
        if not self.lm_weight >= 0:
            raise ValueError(f"lm_weight={self.lm_weight} must not be negative; 0 leaves the language model out")
        if self.language is not None and self.detect_language:
            raise ValueError(f"language={self.language!r} came with detect_language; give one of them")
        if self.task not in ("transcribe", "translate"):
            raise ValueError(f"task={self.task!r} must be transcribe or translate")
        if not self.temperatures or not all(math.isfinite(one) and one >= 0 for one in self.temperatures):
            raise ValueError(f"temperatures={list(self.temperatures)} must be one or more numbers of at least 0")
        if isinstance(self.suppress, str) and self.suppress not in ("default", "none"):
            raise ValueError(f"suppress={self.suppress!r} must be default, none or a list of token numbers")


def settle(config: DecodingConfig, model: Model) -> DecodingConfig:
    """Return the config with the model's defaults for null; ValueError if it gives no text, or not by this method."""
    if not model.gives_text:
        raise ValueError(f"this {type(model).__name__} gives no text: {model.no_text}")
    method = config.method or model.methods[0]
    if method not in model.methods:
        lacks, has = "text decoder" if model.methods == ("ctc",) else "CTC head", " or ".join(model.methods)
        raise ValueError(f"method={method!r} came for a {type(model).__name__} without {lacks}; it decodes with {has}")
    return replace(config, method=method, beam_size=config.beam_size or BEAM_SIZES[method])


def inputs_for(model: Model, config: DecodingConfig) -> InputSpec:
    """Return the model's inputs, with ``pad_to_30s`` applied; ValueError if the model takes less than 30 s."""
    inputs = model.inputs
    if config.pad_to_30s is None or inputs.audio != "logmel":
        return inputs
    if config.pad_to_30s and inputs.longest_s is not None and inputs.longest_s < PAD_S:
        raise ValueError(f"pad_to_30s=true came for a model that takes at most {inputs.longest_s:g} s")
    return replace(inputs, pads_to_30s=config.pad_to_30s)
