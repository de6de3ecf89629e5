"""What a Whisper cannot take, found in the manifest before anything is loaded: languages, long clips, long texts."""

from collections.abc import Sequence
from pathlib import Path

from avspeech.manifest import ManifestError, Utterance
from avspeech.text.whisper_tokens import WhisperTokenizer
from avspeech.timebase import FRAME_RATE


def check_languages(utterances: Sequence[Utterance], tokenizer: WhisperTokenizer, manifest: str | Path) -> None:
    """Check that the model has a token for the language of each utterance; one that is English only asks for none.

    Raises:
        ManifestError: names the first utterance without a language, or with another one.
    """
    if not tokenizer.is_multilingual:
        return
    for utterance in utterances:
        if utterance.language is None:
            raise ManifestError(
                f"{manifest}: utterance {utterance.id!r} has no 'language', which a multilingual Whisper is told; "
                "add it, or have an evaluation detect it (language: detected)"
            )
        if utterance.language not in tokenizer.languages:
            raise ManifestError(
                f"{manifest}: utterance {utterance.id!r} has language {utterance.language!r}; this Whisper knows "
                f"{', '.join(tokenizer.languages)}"
            )


def check_lengths(
    utterances: Sequence[Utterance],
    tokenizer: WhisperTokenizer,
    longest_s: float,
    text_positions: int,
    manifest: str | Path,
) -> None:
    """Check that each utterance fits the model's positions, so that training does not end on one after hours.

    Args:
        utterances: of training or validation.
        tokenizer: the model's.
        longest_s: the longest audio that it hears, in seconds.
        text_positions: its longest text in tokens, prompt included.
        manifest: for the message.

    Raises:
        ManifestError: names the first that does not fit.
    """
    room = text_positions - len(tokenizer.prompt("en"))
    for utterance in utterances:
        if (utterance.num_frames or 0) > longest_s * FRAME_RATE:
            raise ManifestError(
                f"{manifest}: utterance {utterance.id!r} lasts {(utterance.num_frames or 0) / FRAME_RATE:g} s, this "
                f"Whisper hears at most {longest_s:g} s; cut it or take it out (data.init_args.batches.longest leaves "
                "long training clips out)"
            )
        text = utterance.text or ""
        # A token is one byte or more, so only texts of many bytes need counting.
        if len(text.encode()) >= room and (count := len(tokenizer.encode(text))) > room:
            raise ManifestError(
                f"{manifest}: the text of utterance {utterance.id!r} has {count} tokens, this Whisper has room for "
                f"{room}; cut it or take it out (data.init_args.batches.longest_text leaves long training texts out)"
            )
