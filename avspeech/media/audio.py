"""Read any sound as 16 kHz mono on the video's clock, and write wav files.

Sample 0 is at frame 0 of ``read_frames``. Samples are placed by timestamps and resampled in a stream; gaps are zeros.
"""

from collections.abc import Iterable, Iterator
from fractions import Fraction
from math import inf
from pathlib import Path

import numpy as np

from avspeech.media.channels import Mixer, describe
from avspeech.media.clock import LONGEST_GAP_S
from avspeech.media.container import guard, open_media
from avspeech.media.decode import Timed, find_wanted, origin, tell
from avspeech.media.errors import MediaError
from avspeech.media.placing import Piece, Placed, place
from avspeech.media.resampling import Resampler
from avspeech.media.sound import Sound, collect
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
    return np.asarray(collect(read_pieces(path, notes, track, span), inf))


def read_sound(
    path: str | Path,
    notes: list[str] | None = None,
    track: int | None = None,
    span: Span | None = None,
) -> Sound:
    """Return ``read_audio``'s sound in memory that is flat with its length."""
    return collect(read_pieces(path, notes, track, span))


def read_pieces(
    path: str | Path,
    notes: list[str] | None = None,
    track: int | None = None,
    span: Span | None = None,
) -> Iterator[np.ndarray | float | None]:
    """Yield sound as ``read_audio``, but for its scale, and last what all of it is to be divided by.

    None: what came is void and comes again, as another mix of the channels carries more speech.
    """
    path = Path(path)
    mixer = Mixer()
    part = SoundPart(None if span is None else Span(*span))  # a list from another process
    yield from _read(path, mixer, notes, track, part)
    if mixer.watch is not None and (weights := mixer.watch.better()) is not None:
        mixer = Mixer(weights)
        yield None
        yield from _read(path, mixer, notes, track, part)
        tell(path, notes, describe(weights))
    if (scale := mixer.levels.full_scale(path)) > 1:
        reach = f"Its samples reach {mixer.levels.peak:,.0f}, wanted at most 1"
        tell(path, notes, f"{reach}: they were divided by {round(scale, 3):,.10g}.")
    yield float(scale)


def _read(
    path: Path, mixer: Mixer, notes: list[str] | None, track: int | None, part: SoundPart
) -> Iterator[np.ndarray]:
    """Yield the sound at the scale of its samples; a whole recording is decoded in a stream."""
    with open_media(path) as container:
        wanted = find_wanted(path, container, "audio", track)
        start = origin(path, container)
        until = None if part.until_s is None else start + part.until_s
        frames, sought = decode_part(path, container, wanted, start, notes, start + part.begin_s, until)
        skipped_s = part.begin_s if sought else 0
        pieces = place(_pieces(path, frames, mixer), start + skipped_s)
        yield from part.cut(_resampled(path, part.placed(pieces, skipped_s)))


def _resampled(path: Path, pieces: Iterable[Placed]) -> Iterator[np.ndarray]:
    resampler, rate, sounding = Resampler(), 0, Fraction(0)
    for placed in pieces:
        rate = placed.rate
        if Fraction(placed.position, rate) - sounding > LONGEST_GAP_S:
            raise MediaError(path, f"has gaps of more than {int(LONGEST_GAP_S / 3600)} h in its sound; remux it")
        sounding += Fraction(len(placed.mono_S), rate)
        if not np.isfinite(placed.mono_S).all():  # float files may have them; one spoils a whole batch
            raise MediaError(path, "has samples that are infinite or no numbers; make the file again")
        yield from _guarded(path, rate, resampler.write(*placed))
    yield from _guarded(path, rate, resampler.finish())


def _guarded(path: Path, rate: int, pieces: Iterator[np.ndarray]) -> Iterator[np.ndarray]:
    """Yield the pieces; only what makes them is guarded, and not what is done with them."""
    while True:
        with guard(path, f"its sound cannot be resampled from {rate} Hz"):
            piece_S = next(pieces, None)
        if piece_S is None:
            return
        yield piece_S


def _pieces(path: Path, timed: Iterable[Timed], mixer: Mixer) -> Iterator[Piece]:
    for one in timed:
        with guard(path, "its sound cannot be converted"):
            piece = Piece(one.time, mixer.mono(one.frame), one.frame.sample_rate)
        yield piece


def write_wav(path: str | Path, audio_S: np.ndarray) -> None:
    """Write ``audio_S``, float mono at 16 kHz, as 16-bit PCM, clipped to [-1, 1].

    The file is incomplete until this returns: use ``avspeech.files.written_whole``.
    """
    from scipy.io import wavfile  # slow to import, and reading does not need it

    if audio_S.ndim != 1:
        raise ValueError(f"audio of shape {audio_S.shape} came; wanted one axis, (S,)")
    pcm_S = np.clip(np.round(np.asarray(audio_S, np.float64) * 2**15), -(2**15), 2**15 - 1).astype("<i2")
    wavfile.write(path, SAMPLE_RATE, pcm_S)
