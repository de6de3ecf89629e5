"""One text that a model gives for an utterance."""

from dataclasses import dataclass

from avspeech.text.whisper_tokens import Task


@dataclass(frozen=True)
class Hypothesis:
    """A text, its tokens and its scores; fields that only a Whisper fills have defaults."""

    text: str
    score: float
    """What hypotheses are ranked by: log-probability, divided by the length as the config says."""
    tokens: tuple[int, ...] = ()
    """Without prompt, begin and end; with `timestamps` also those of times."""
    mean_score: float = float("-inf")
    """Log-probability per token, the end included; for CTC, per CTC step. Free of any length penalty."""
    token_scores: tuple[float, ...] = ()
    """What each token added to the log-probability, the end's last; empty for CTC, which has no such parts."""
    language: str | None = None
    """Language that a Whisper was told or detected."""
    task: Task = "transcribe"
    temperature: float = 0.0
    """Temperature that gave the text."""
    no_speech_prob: float | None = None
    """Probability that the audio has no speech."""
    compression_ratio: float | None = None
    """How many times shorter zlib makes the text."""
    language_probs: dict[str, float] | None = None
    """Probability of every language, where it was detected."""
