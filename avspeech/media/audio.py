"""Read any sound as 16 kHz mono on the video's clock, and write wav files.

Sample 0 is at frame 0 of ``read_frames``. Samples are placed by timestamps and resampled in a stream; gaps are zeros.
"""

from collections.abc import Iterable, Iterator
from fractions import Fraction
from pathlib import Path

import numpy as np

from avspeech.media.channels import Mixer, describe
from avspeech.media.clock import LONGEST_GAP_S
from avspeech.media.container import guard, open_media, require_stream
from avspeech.media.decode import Timed, origin, tell
from avspeech.media.errors import MediaError, NoAudio
from avspeech.media.placing import Piece, place
from avspeech.media.resampling import Resampler
from avspeech.media.spans import SoundPart, decode_part
from avspeech.timebase import SAMPLE_RATE, Span


def read_audio(
    path: str | Path,
    notes: list[str] | None = None,
    track: int | None = None,
    span: Span | None = None,
) -> np.ndarray:
    """Return ``audio_S``, float32 mono at 16 kHz in [-1, 1], from any file that FFmpeg reads.

    ``notes`` receives notes on concealed damage; None logs them. ``track``: number of the sound track from 1, see
    ``find_tracks(path).sounds``; None takes the default. ``span``: a ``Span``, for the sound of these frames alone, as
    far as there is any; no more of a long recording is held. NoAudio: no audio track. MediaError: no such track, or the
    file is missing, empty, no media, damaged, cut off, or has samples that are not finite.
    """
    path = Path(path)
    mixer = Mixer()
    part = SoundPart(None if span is None else Span(*span))  # a list from another process
    audio_S = _read(path, mixer, notes, track, part)
    if mixer.watch is not None and (weights := mixer.watch.better()) is not None:
        mixer = Mixer(weights)
        del audio_S  # never two of them
        audio_S = _read(path, mixer, notes, track, part)
        tell(path, notes, describe(weights))
    if (scale := mixer.levels.full_scale(path)) > 1:
        audio_S *= np.float32(1 / scale)
        reach = f"Its samples reach {mixer.levels.peak:,.0f}, wanted at most 1"
        tell(path, notes, f"{reach}: they were divided by {round(scale, 3):,.10g}.")
    return np.clip(audio_S, -1, 1, out=audio_S)


def _read(path: Path, mixer: Mixer, notes: list[str] | None, track: int | None, part: SoundPart) -> np.ndarray:
    """Return the sound at the scale of its samples; a whole recording is decoded in a stream."""
    with open_media(path) as container:
        stream = require_stream(path, container, "audio", track)
        start = origin(path, container)
        until = None if part.until_s is None else start + part.until_s
        frames, sought = decode_part(path, container, stream, start, notes, start + part.begin_s, until)
        skipped_s = part.begin_s if sought else 0
        pieces = place(_pieces(path, frames, mixer), start + skipped_s)
        resampler, rate, sounding = Resampler(), 0, Fraction(0)
        for placed in part.placed(pieces, skipped_s):
            rate = placed.rate
            if Fraction(placed.position, rate) - sounding > LONGEST_GAP_S:
                raise MediaError(path, f"has gaps of more than {int(LONGEST_GAP_S / 3600)} h in its sound; remux it")
            sounding += Fraction(len(placed.mono_S), rate)
            if not np.isfinite(placed.mono_S).all():  # float files may have them; one spoils a whole batch
                raise MediaError(path, "has samples that are infinite or no numbers; make the file again")
            with guard(path, f"its sound cannot be resampled from {rate} Hz"):
                resampler.write(*placed)
        with guard(path, f"its sound cannot be resampled from {rate} Hz"):
            return part.cut(resampler.finish())


def _pieces(path: Path, timed: Iterable[Timed], mixer: Mixer) -> Iterator[Piece]:
    for time, _, frame in timed:
        with guard(path, "its sound cannot be converted"):
            piece = Piece(time, mixer.mono(frame), frame.sample_rate)
        yield piece


def read_audio_if_any(path: str | Path, notes: list[str] | None = None, track: int | None = None) -> np.ndarray | None:
    """Return ``read_audio``'s sound, or None without an audio track."""
    try:
        return read_audio(path, notes, track)
    except NoAudio:
        return None


def write_wav(path: str | Path, audio_S: np.ndarray) -> None:
    """Write ``audio_S``, float mono at 16 kHz, as 16-bit PCM, clipped to [-1, 1].

    The file is incomplete until this returns: use ``avspeech.files.written_whole``.
    """
    from scipy.io import wavfile  # slow to import, and reading does not need it

    if audio_S.ndim != 1:
        raise ValueError(f"audio of shape {audio_S.shape} came; wanted one axis, (S,)")
    pcm_S = np.clip(np.round(np.asarray(audio_S, np.float64) * 2**15), -(2**15), 2**15 - 1).astype("<i2")
    wavfile.write(path, SAMPLE_RATE, pcm_S)
