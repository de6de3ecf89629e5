"""26 log mel filterbanks at 100 Hz, stacked by four to 104 values at 25 Hz: AV-HuBERT's audio input.

Defaults of ``python_speech_features`` (Shi et al. 2022, arXiv:2201.02184): rectangular 25 ms windows every 10 ms,
512-point transform, pre-emphasis 0.97, natural logarithm. Float64, corners on whole bins and an epsilon for zero energy
are kept for the released checkpoints. Audio in [-1, 1] is scaled to int16 amplitude here.
"""

from functools import cache

import torch
from torch import Tensor
from torch.nn import functional

from avspeech.timebase import ACOUSTIC_PER_FRAME, ACOUSTIC_RATE, SAMPLE_RATE

NUM_FILTERS = 26
STACKED_WIDTH = NUM_FILTERS * ACOUSTIC_PER_FRAME  # values per 25 Hz frame: four 100 Hz frames
_WINDOW, _HOP, _FFT = SAMPLE_RATE * 25 // 1000, SAMPLE_RATE // ACOUSTIC_RATE, 512
_PREEMPHASIS, _INT16_SCALE = 0.97, 32768.0
_EPSILON = torch.finfo(torch.float64).eps


def fbank_TF(audio_S: Tensor, num_frames: int) -> Tensor:
    """Return the encoder's audio input, (T, 104) float32, normalised per frame, of mono audio at 16 kHz in [-1, 1].

    T is ``num_frames``, the video's length at 25 Hz; short audio is padded with zero rows, long audio is cut.
    """
    return normalize_frames(fit_to_length(stack_frames(log_filterbank(audio_S)), num_frames))


def log_filterbank(audio_S: Tensor) -> Tensor:
    """Return log filterbank energies, (A, 26) float32 at 100 Hz; ``audio_S`` and A as in ``power_spectrum``."""
    return log_energy(power_spectrum(audio_S) @ mel_filters(audio_S.device)).float()


def power_spectrum(audio_S: Tensor) -> Tensor:
    """Return the power of 257 bins, (A, 257) float64 at 100 Hz, of mono audio at 16 kHz in [-1, 1].

    A is 1 up to 400 samples, then 1 + ceil((S - 400) / 160); the last window is padded with zeros. Raises ValueError if
    the audio is empty, has more than one axis or is not floating point.
    """
    if audio_S.ndim != 1 or not len(audio_S) or not audio_S.is_floating_point():
        raise ValueError(
            f"audio of shape {tuple(audio_S.shape)} and type {audio_S.dtype} came, wanted (S,) float in [-1, 1] "
            "with at least one sample; avspeech.media.audio.read_audio gives that"
        )
    # float64, because in float32 the quiet bins of a loud frame are lost in rounding.
    audio_S = audio_S.to(torch.float64) * _INT16_SCALE
    num_acoustic = 1 + max(0, -(-(len(audio_S) - _WINDOW) // _HOP))
    emphasised_S = audio_S.new_zeros((num_acoustic - 1) * _HOP + _WINDOW)
    emphasised_S[: len(audio_S)] = audio_S
    emphasised_S[1 : len(audio_S)] -= _PREEMPHASIS * audio_S[:-1]
    spectrum_AF = torch.fft.rfft(emphasised_S.unfold(0, _WINDOW, _HOP), n=_FFT)
    return (spectrum_AF.real.square() + spectrum_AF.imag.square()) / _FFT


def log_energy(energy: Tensor) -> Tensor:
    """Return the natural logarithm, float64, an epsilon in place of 0."""
    return torch.where(energy == 0, _EPSILON, energy).log()


@cache
def mel_filters(device: torch.device) -> Tensor:
    """Return triangular mel filters, (257, 26) float64, with corners on whole bins."""
    top = 2595 * torch.log10(torch.tensor(1 + SAMPLE_RATE / 2 / 700, dtype=torch.float64))
    mel = torch.linspace(0, 1, NUM_FILTERS + 2, dtype=torch.float64) * top
    corners = torch.floor((_FFT + 1) * 700 * (10 ** (mel / 2595) - 1) / SAMPLE_RATE)
    low, centre, high = corners[:-2], corners[1:-1], corners[2:]
    bins = torch.arange(_FFT // 2 + 1, dtype=torch.float64)[:, None]
    rising, falling = (bins - low) / (centre - low), (high - bins) / (high - centre)
    return torch.minimum(rising, falling).clamp(min=0).to(device)


def stack_frames(fbank_AF: Tensor) -> Tensor:
    """Return every four rows side by side, (ceil(A / 4), 4 F); missing rows are 0 (in the log)."""
    missing = -len(fbank_AF) % ACOUSTIC_PER_FRAME
    return functional.pad(fbank_AF, (0, 0, 0, missing)).reshape(-1, ACOUSTIC_PER_FRAME * fbank_AF.shape[1])


def fit_to_length(fbank_TF: Tensor, num_frames: int) -> Tensor:
    """Return the frames, cut or padded with zero rows to ``num_frames``."""
    return functional.pad(fbank_TF[:num_frames], (0, 0, 0, max(0, num_frames - len(fbank_TF))))


def normalize_frames(fbank_TF: Tensor) -> Tensor:
    """Return each frame with mean 0 and variance 1; a zero row stays zero."""
    return functional.layer_norm(fbank_TF, fbank_TF.shape[-1:], eps=1e-5)
