"""Check clips against the model before loading: languages, mouth crops, lengths of clips and texts.

The checks go through columns. Only texts that may be too long are tokenised, so that millions of clips take seconds.
"""

import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from avspeech.data.clips import Clips, as_clips, first_of_each
from avspeech.inputs import InputSpec
from avspeech.manifest import ManifestError, Utterance
from avspeech.sequence import ctc_steps
from avspeech.text.tokenizer import Tokenizer
from avspeech.text.whisper_tokens import WhisperTokenizer
from avspeech.timebase import FRAME_RATE

LISTED = 20  # most clips that a message names
SAMPLED = 50_000
"""Most texts that ``check_alignable`` tokenises; of more, evenly spaced ones stand for all."""
MOST_BYTES = 4
"""Bytes of a character in UTF-8, and so most of Whisper's tokens."""
logger = logging.getLogger(__name__)
AnyClips = Clips | Sequence[Utterance]


def check_languages(clips: AnyClips, tokenizer: Tokenizer | WhisperTokenizer, manifest: str | Path) -> None:
    """Raise ManifestError at the first utterance whose language the model lacks; monolingual models need no check."""
    clips = as_clips(clips)
    for index, language in first_of_each(clips, "language") if tokenizer.is_multilingual else ():
        if language is None:
            raise ManifestError(
                f"{manifest}: utterance {clips.utterance(index).id!r} has no 'language', which a multilingual model "
                "needs; add it, or have an evaluation detect it (decoding.detect_language: true)"
            )
        if language not in tokenizer.languages:
            known = ", ".join(tokenizer.languages)
            name = f"utterance {clips.utterance(index).id!r}"
            raise ManifestError(f"{manifest}: {name} has language {language!r}; this model knows {known}")


def check_crops(clips: AnyClips, crop: str | None, manifest: str | Path) -> str | None:
    """Return how the mouths of a manifest are cut, None if it does not say.

    Raises ManifestError at the first mouth cut otherwise than those before it, or than ``crop``, the model's.
    """
    clips = as_clips(clips)
    found = [(index, cut) for index, cut in first_of_each(clips, "crop") if cut is not None]
    wanted = crop or (found[0][1] if found else None)
    for index, cut in found:
        if cut != wanted:
            raise ManifestError(
                f"{manifest}: the mouth of utterance {clips.utterance(index).id!r} is cut {cut!r}, wanted {wanted!r} "
                "as in the model or the utterances before it; cut it anew with data_prep/extract_rois.py "
                f"--roi.alignment {wanted}, or train on its crops from the start"
            )
    return found[0][1] if found else None


def check_lengths(
    clips: AnyClips,
    inputs: InputSpec,
    tokenizer: Tokenizer | WhisperTokenizer,
    manifest: str | Path,
    cut: bool = False,
) -> None:
    """Raise ManifestError at the first utterance too long for the model; with ``cut`` check only texts."""
    clips = as_clips(clips)
    longest_s = None if cut or inputs.pads_to_30s else inputs.longest_s  # padding to 30 s cuts longer clips
    fix = "cut it or take it out (data.init_args.batches"
    if longest_s is not None and (too_long := np.flatnonzero(clips.num_frames_N > longest_s * FRAME_RATE)).size:
        utterance = clips.utterance(int(too_long[0]))
        raise ManifestError(
            f"{manifest}: utterance {utterance.id!r} lasts {(utterance.num_frames or 0) / FRAME_RATE:g} s, this model "
            f"takes at most {longest_s:g} s; {fix}.longest leaves long training clips out)"
        )
    if inputs.longest_text is None:
        return
    room = inputs.longest_text - len(tokenizer.prompt("en"))
    for index in np.flatnonzero(clips.text_lengths() * MOST_BYTES >= room).tolist():
        utterance = clips.utterance(index)
        text = utterance.text or ""
        # A token is one byte or more, so only texts of many bytes need counting.
        if len(text.encode()) >= room and (count := len(tokenizer.encode(text))) > room:
            raise ManifestError(
                f"{manifest}: the text of utterance {utterance.id!r} has {count} tokens, this model has room for "
                f"{room}; {fix}.longest_text leaves long training texts out)"
            )


def check_alignable(
    clips: AnyClips, num_steps: Sequence[int] | np.ndarray, tokenizer: Tokenizer, manifest: str | Path, most: float
) -> None:
    """Warn of utterances whose tokens are more than CTC can align to their steps, which teach it nothing.

    Raises ManifestError if they are more than the share ``most``, of all or of ``SAMPLED`` ones.
    """
    clips = as_clips(clips)
    seen = np.unique(np.linspace(0, len(clips) - 1, min(len(clips), SAMPLED)).astype(np.int64))
    bad: list[str] = []
    for index in seen.tolist():
        utterance = clips.utterance(index)
        tokens_L = torch.tensor(tokenizer.encode(utterance.text or ""))
        needed = int(ctc_steps(tokens_L[None], torch.tensor([len(tokens_L)])))
        if needed > num_steps[index]:
            bad.append(f"{utterance.id} ({needed} for {num_steps[index]})")
    if not bad:
        return
    more = f" and {len(bad) - LISTED} more" if len(bad) > LISTED else ""
    reason = (
        f"{manifest}: the texts of {len(bad)} of {len(seen)} clips have more tokens than CTC can align to their "
        f"frames (steps needed for steps there): {', '.join(bad[:LISTED])}{more}"
    )
    if len(bad) > most * len(seen):
        raise ManifestError(
            f"{reason}. At most {most:.0%} may be so (data.init_args.batches.max_unalignable): are these the texts of "
            "these clips? Larger tokens or a larger model.init_args.recognizer.ctc_upsample need fewer frames"
        )
    logger.warning("%s; they teach CTC nothing", reason)
