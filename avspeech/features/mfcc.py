"""MFCCs at 100 Hz: 39 of Kaldi's for the first k-means units, 13 of ``python_speech_features`` for LR-ASD.

The first are as in AV-HuBERT (Shi et al. 2022, arXiv:2201.02184): 13 Kaldi MFCCs (kaldi-native-fbank; no energy term,
no dither, audio in [-1, 1]) with first and second differences, a regression over five frames with repeated ends.
"""

import math

import kaldi_native_fbank
import torch
from torch import Tensor
from torch.nn import functional

from avspeech.features.logfbank import NUM_FILTERS, log_energy, mel_filters, power_spectrum
from avspeech.timebase import ACOUSTIC_PER_FRAME, ACOUSTIC_RATE, SAMPLE_RATE, frames_to_samples

NUM_CEPSTRA, _WINDOW = 13, SAMPLE_RATE * 25 // 1000
_LIFTER = 22


def mfcc(audio_S: Tensor) -> Tensor:
    """Return MFCCs with first and second differences, (A, 39) float32 at 100 Hz.

    Row a comes from samples 160 a to 160 a + 399 (mono, 16 kHz, in [-1, 1], on the CPU); A = 1 + (S - 400) // 160.

    Raises ValueError if the audio is shorter than one window, or has more than one axis.
    """
    if audio_S.ndim != 1 or len(audio_S) < _WINDOW:
        shape, fix = tuple(audio_S.shape), "drop shorter clips from the manifest"
        raise ValueError(f"audio of shape {shape} came, wanted (S,) with at least {_WINDOW} samples (25 ms); {fix}")
    options = kaldi_native_fbank.MfccOptions()
    options.frame_opts.samp_freq = SAMPLE_RATE
    options.frame_opts.dither = 0.0
    options.use_energy = False
    options.num_ceps = NUM_CEPSTRA
    computer = kaldi_native_fbank.OnlineMfcc(options)
    computer.accept_waveform(SAMPLE_RATE, audio_S.float().tolist())
    computer.input_finished()
    cepstra_AF = torch.stack([torch.from_numpy(computer.get_frame(a)) for a in range(computer.num_frames_ready)])
    first_AF = differences(cepstra_AF)
    return torch.cat([cepstra_AF, first_AF, differences(first_AF)], dim=1)


def cepstra(audio_S: Tensor, num_frames: int) -> Tensor:
    """Return 13 MFCCs with the defaults of ``python_speech_features``, (4 ``num_frames``, 13) float32 at 100 Hz.

    The orthonormal cosine transform of ``log_filterbank``, raised by a sine of period 44, the first of them replaced by
    the log of the frame's energy. ``audio_S``, as in ``power_spectrum``, is cut or filled with zeros.
    """
    num_samples = frames_to_samples(num_frames) + _WINDOW - SAMPLE_RATE // ACOUSTIC_RATE  # the last window is whole
    power_AF = power_spectrum(functional.pad(audio_S[:num_samples], (0, max(0, num_samples - len(audio_S)))))
    bands_AF = log_energy(power_AF @ mel_filters(audio_S.device))
    order, band = torch.arange(NUM_CEPSTRA, dtype=torch.float64)[:, None], torch.arange(NUM_FILTERS) + 0.5
    cosines = torch.cos(math.pi / NUM_FILTERS * order * band) * (2 / NUM_FILTERS) ** 0.5
    lifter = 1 + _LIFTER / 2 * torch.sin(math.pi * order / _LIFTER)
    cepstra_AF = bands_AF @ (lifter * cosines).T.to(bands_AF)
    cepstra_AF[:, 0] = log_energy(power_AF.sum(dim=1))
    return cepstra_AF.float()


def differences(values_AF: Tensor) -> Tensor:
    """Return the slope of each column: sum of n (x[a+n] - x[a-n]) over n = 1, 2, divided by 10; ends are repeated."""
    padded_FA = functional.pad(values_AF.T[None], (2, 2), mode="replicate")[0]
    slope = torch.arange(-2, 3, dtype=values_AF.dtype, device=values_AF.device) / 10
    return (padded_FA.unfold(1, 5, 1) @ slope).T


def pool_to_frames(values_AF: Tensor, num_frames: int | None = None) -> Tensor:
    """Return ``values_TF`` at 25 Hz: the mean of every four 100 Hz rows, or of the remaining ones at the end.

    ``num_frames`` cuts rows or repeats the last one; None: ceil(A / 4).
    """
    whole = len(values_AF) // ACOUSTIC_PER_FRAME * ACOUSTIC_PER_FRAME
    pooled_TF = values_AF[:whole].unflatten(0, (-1, ACOUSTIC_PER_FRAME)).mean(dim=1)
    if whole < len(values_AF):
        pooled_TF = torch.cat([pooled_TF, values_AF[whole:].mean(dim=0, keepdim=True)])
    if num_frames is None:
        return pooled_TF
    return pooled_TF[torch.arange(num_frames).clamp(max=len(pooled_TF) - 1)]
