"""Check a manifest against the model before loading: languages, mouth crops, clip lengths, text lengths."""

from collections.abc import Sequence
from pathlib import Path

from avspeech.inputs import InputSpec
from avspeech.manifest import ManifestError, Utterance
from avspeech.text.tokenizer import Tokenizer
from avspeech.text.whisper_tokens import WhisperTokenizer
from avspeech.timebase import FRAME_RATE


def check_languages(
    utterances: Sequence[Utterance], tokenizer: Tokenizer | WhisperTokenizer, manifest: str | Path
) -> None:
    """Raise ManifestError at the first utterance whose language the model lacks; monolingual models need no check."""
    for utterance in utterances if tokenizer.is_multilingual else ():
        if utterance.language is None:
            raise ManifestError(
                f"{manifest}: utterance {utterance.id!r} has no 'language', which a multilingual model needs; "
                "add it, or have an evaluation detect it (decoding.detect_language: true)"
            )
        if utterance.language not in tokenizer.languages:
            known = ", ".join(tokenizer.languages)
            raise ManifestError(
                f"{manifest}: utterance {utterance.id!r} has language {utterance.language!r}; this model knows {known}"
            )


def check_crops(utterances: Sequence[Utterance], crop: str | None, manifest: str | Path) -> str | None:
    """Return how the mouths of a manifest are cut, None if it does not say.

    Raises ManifestError at the first mouth cut otherwise than those before it, or than ``crop``, the model's.
    """
    for utterance in utterances:
        crop = crop or utterance.crop
        if utterance.crop not in (None, crop):
            raise ManifestError(
                f"{manifest}: the mouth of utterance {utterance.id!r} is cut {utterance.crop!r}, wanted {crop!r} as in "
                f"the model or the utterances before it; cut it anew with data_prep/extract_rois.py --roi.alignment "
                f"{crop}, or train on its crops from the start"
            )
    return next((one.crop for one in utterances if one.crop is not None), None)


def check_lengths(
    utterances: Sequence[Utterance],
    inputs: InputSpec,
    tokenizer: Tokenizer | WhisperTokenizer,
    manifest: str | Path,
    cut: bool = False,
) -> None:
    """Raise ManifestError at the first utterance too long for the model; with ``cut`` check only texts."""
    longest_s = None if cut or inputs.pads_to_30s else inputs.longest_s  # padding to 30 s cuts longer clips
    fix = "cut it or take it out (data.init_args.batches"
    for utterance in utterances:
        length_s, text = (utterance.num_frames or 0) / FRAME_RATE, utterance.text or ""
        if longest_s is not None and length_s > longest_s:
            raise ManifestError(
                f"{manifest}: utterance {utterance.id!r} lasts {length_s:g} s, this model takes at most "
                f"{longest_s:g} s; {fix}.longest leaves long training clips out)"
            )
        if inputs.longest_text is None:
            continue
        room = inputs.longest_text - len(tokenizer.prompt("en"))
        # A token is one byte or more, so only texts of many bytes need counting.
        if len(text.encode()) >= room and (count := len(tokenizer.encode(text))) > room:
            raise ManifestError(
                f"{manifest}: the text of utterance {utterance.id!r} has {count} tokens, this model has room for "
                f"{room}; {fix}.longest_text leaves long training texts out)"
            )
