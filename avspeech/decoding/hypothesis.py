"""One text that a model gives for an utterance."""

from dataclasses import dataclass

from avspeech.text.whisper_tokens import Task


@dataclass(frozen=True)
class Hypothesis:
    """Text, tokens and scores; fields that only a Whisper fills have defaults."""

    text: str
    score: float  # for ranking: log-probability after the length penalty
    tokens: tuple[int, ...] = ()  # without prompt, begin and end; time tokens included
    mean_score: float = float("-inf")
    """Log-probability per token, end included, or per CTC step; no length penalty."""
    token_scores: tuple[float, ...] = ()  # share of each token in the log-probability, the end's last; empty for CTC
    language: str | None = None
    task: Task = "transcribe"
    temperature: float = 0.0
    no_speech_prob: float | None = None
    compression_ratio: float | None = None  # zlib's; high for a repetitive text
    language_probs: dict[str, float] | None = None  # of every language, where it was detected
