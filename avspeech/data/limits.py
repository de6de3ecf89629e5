"""Check a manifest against the model before loading: languages, mouth crops, lengths of clips and texts."""

import logging
from collections.abc import Sequence
from pathlib import Path

import torch

from avspeech.inputs import InputSpec
from avspeech.manifest import ManifestError, Utterance
from avspeech.sequence import ctc_steps
from avspeech.text.tokenizer import Tokenizer
from avspeech.text.whisper_tokens import WhisperTokenizer
from avspeech.timebase import FRAME_RATE

LISTED = 20  # most clips that a message names
logger = logging.getLogger(__name__)


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


def check_alignable(
    utterances: Sequence[Utterance], num_steps: Sequence[int], tokenizer: Tokenizer, manifest: str | Path, most: float
) -> None:
    """Warn of utterances whose tokens are more than CTC can align to their steps, which teach it nothing.

    Raises ManifestError if they are more than the share ``most``.
    """
    tokens = [torch.tensor(tokenizer.encode(utterance.text or "")) for utterance in utterances]
    needed = [int(ctc_steps(tokens_L[None], torch.tensor([len(tokens_L)]))) for tokens_L in tokens]
    rows = zip(utterances, needed, num_steps, strict=True)
    bad = [f"{utterance.id} ({steps} for {room})" for utterance, steps, room in rows if steps > room]
    if not bad:
        return
    more = f" and {len(bad) - LISTED} more" if len(bad) > LISTED else ""
    reason = (
        f"{manifest}: the texts of {len(bad)} of {len(utterances)} clips have more tokens than CTC can align to their "
        f"frames (steps needed for steps there): {', '.join(bad[:LISTED])}{more}"
    )
    if len(bad) > most * len(utterances):
        raise ManifestError(
            f"{reason}. At most {most:.0%} may be so (data.init_args.batches.max_unalignable): are these the texts of "
            "these clips? Larger tokens or a larger model.init_args.recognizer.ctc_upsample need fewer frames"
        )
    logger.warning("%s; they teach CTC nothing", reason)
