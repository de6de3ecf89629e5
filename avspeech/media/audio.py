"""Read any sound as 16 kHz mono on the video's clock, and write wav files.

Sample 0 is at frame 0 of ``read_frames``. Samples are placed by timestamps and resampled once; gaps become zeros.
"""

from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np

from avspeech.media.container import guard, open_media, require_stream
from avspeech.media.decode import decode, origin
from avspeech.media.errors import MediaError, NoAudio
from avspeech.timebase import SAMPLE_RATE

MAX_DRIFT_S = Fraction(1, 50)
"""Drift beyond which timestamps replace the sample count: half a frame. Some containers round timestamps to 1 ms."""

PLANES = 7  # most planar channels that PyAV converts without a crash

_FULL_SCALE = {"u8": 2**7, "s16": 2**15, "s32": 2**31, "s64": 2**63, "flt": 1, "dbl": 1}
_DOWNMIX = {"FL": 0.7071, "FR": 0.7071, "FC": 1.0, "LFE": 0.0, "LFE2": 0.0}
"""Weights for more than two channels (ITU-R BS.775), scaled to sum 1; other channels have 0.5."""


def read_audio(path: str | Path, notes: list[str] | None = None, track: int | None = None) -> np.ndarray:
    """Return ``audio_S``, float32 mono at 16 kHz in [-1, 1], from any file that FFmpeg reads.

    ``notes`` receives notes on concealed damage; None logs them. ``track``: number of the sound track from 1, see
    ``find_tracks(path).sounds``; None takes the default. NoAudio: no audio track. MediaError: no such track, or the
    file is missing, empty, no media, damaged, cut off, or has samples that are not finite.
    """
    path = Path(path)
    with open_media(path) as container:
        stream = require_stream(path, container, "audio", track)
        start = origin(path, container)
        pieces: list[np.ndarray] = []
        rate = length = 0
        for time, _, frame in decode(path, container, stream, start, notes):
            with guard(path, "its sound cannot be converted"):
                mono_S, frame_rate = _mono(frame), frame.sample_rate
            if rate not in (0, frame_rate):
                raise MediaError(path, f"its sample rate changes from {rate} to {frame_rate} Hz; re-encode it at one")
            rate = frame_rate
            position = round((time - start) * rate)
            if position < 0 and length == 0:  # priming samples from before the origin
                mono_S, position = mono_S[-position:], 0
            drift = position - length
            if length == 0 or abs(drift) > MAX_DRIFT_S * rate:
                pieces.append(np.zeros(max(drift, 0), np.float32))
                mono_S = mono_S[max(-drift, 0) :]
                length += max(drift, 0)
            pieces.append(mono_S)
            length += len(mono_S)
    audio_S = np.concatenate(pieces)
    if not np.isfinite(audio_S).all():  # float wav files may have them; one spoils a whole batch
        raise MediaError(path, "has samples that are infinite or no numbers; make the file again")
    with guard(path, f"its sound cannot be resampled from {rate} Hz"):
        return np.clip(resample(audio_S, rate), -1, 1)


def read_audio_if_any(path: str | Path, notes: list[str] | None = None, track: int | None = None) -> np.ndarray | None:
    """Return ``read_audio``'s sound, or None without an audio track."""
    try:
        return read_audio(path, notes, track)
    except NoAudio:
        return None


def _mono(frame: Any) -> np.ndarray:
    """Return a float32 mono mix: the mean of two channels, a weighted mean of more."""
    channels = frame.layout.nb_channels
    if frame.format.is_planar and channels > PLANES:
        packer = av.AudioResampler(format=frame.format.packed, layout=frame.layout, rate=frame.sample_rate)
        frame = packer.resample(frame)[0]
    samples = frame.to_ndarray()
    if not frame.format.is_planar:
        samples = samples.reshape(-1, channels).T
    kind = frame.format.name.removesuffix("p")
    mono_S = samples.astype(np.float32 if kind in ("s16", "u8", "flt") else np.float64)
    if kind == "u8":
        mono_S -= 128
    weights = np.ones(channels)
    mix = np.array([_DOWNMIX.get(channel.name, 0.5) for channel in frame.layout.channels])
    if channels > 2 and mix.any():
        weights = mix
    weights /= weights.sum() * _FULL_SCALE[kind]
    return (weights @ mono_S).astype(np.float32) if channels > 1 else (mono_S[0] * weights[0]).astype(np.float32)


def resample(audio_S: np.ndarray, rate: int) -> np.ndarray:
    """Return float32 mono audio at 16 kHz, with the start and duration of the input at ``rate`` samples per second."""
    if rate == SAMPLE_RATE or not len(audio_S):
        return audio_S
    resampler = av.AudioResampler(format="flt", layout="mono", rate=SAMPLE_RATE)
    frame = av.AudioFrame.from_ndarray(audio_S[None], format="flt", layout="mono")
    frame.sample_rate = rate
    out = [piece.to_ndarray()[0] for piece in (*resampler.resample(frame), *resampler.resample(None))]
    resampled_S = np.concatenate(out) if out else np.zeros(0, np.float32)
    length = -(-len(audio_S) * SAMPLE_RATE // rate)
    return np.pad(resampled_S[:length], (0, max(0, length - len(resampled_S))))


def write_wav(path: str | Path, audio_S: np.ndarray) -> None:
    """Write ``audio_S``, float mono at 16 kHz, as 16-bit PCM, clipped to [-1, 1].

    The file is incomplete until this returns: use ``avspeech.files.written_whole``.
    """
    from scipy.io import wavfile  # slow to import, and reading does not need it

    if audio_S.ndim != 1:
        raise ValueError(f"audio of shape {audio_S.shape} came; wanted one axis, (S,)")
    pcm_S = np.clip(np.round(np.asarray(audio_S, np.float64) * 2**15), -(2**15), 2**15 - 1).astype("<i2")
    wavfile.write(path, SAMPLE_RATE, pcm_S)
