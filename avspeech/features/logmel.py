"""Whisper's audio features: 80 or 128 log-mel bins at 100 Hz (Radford et al. 2023, arXiv:2212.04356, section 2.2).

The filters come from openai-whisper. Padding to 30 s is optional: only published models need it, or they repeat text.
"""

import importlib.util
from functools import cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from avspeech.timebase import SAMPLE_RATE

WINDOW, HOP = 400, 160  # samples: 25 ms every 10 ms
PAD_S = 30  # length of OpenAI's training clips


def logmel_AF(audio_S: Tensor, mel_bins: int = 80, pad_to_30s: bool = False) -> Tensor:
    """Return log-mel features, (A, mel_bins) float32 at 100 Hz, A = S // 160, or 2 if S is less than a window.

    Values are log10 of power, clipped at 8 below the clip's maximum and scaled to about [-1, 1]. ``audio_S`` is mono at
    16 kHz in [-1, 1]; ``mel_bins`` is 80, or 128 for large-v3 and turbo, else ValueError; ``pad_to_30s`` also cuts.
    """
    if pad_to_30s:
        size = PAD_S * SAMPLE_RATE
        audio_S = torch.nn.functional.pad(audio_S[:size], (0, size - min(size, len(audio_S))))
    elif len(audio_S) < WINDOW:  # the window's reflection needs half a window of audio
        audio_S = torch.nn.functional.pad(audio_S, (0, WINDOW - len(audio_S)))
    stft_FA = torch.stft(audio_S.float(), WINDOW, HOP, window=torch.hann_window(WINDOW), return_complex=True)[:, :-1]
    power_FA = stft_FA.real.square() + stft_FA.imag.square()
    log_FA = (mel_filters(mel_bins) @ power_FA).clamp(min=1e-10).log10()
    log_FA = torch.maximum(log_FA, log_FA.max() - 8)
    return ((log_FA + 4) / 4).T.contiguous()


@cache
def mel_filters(mel_bins: int) -> Tensor:
    """Return Whisper's mel filters, (mel_bins, 201). ValueError: other bins; ModuleNotFoundError: no openai-whisper."""
    package = importlib.util.find_spec("whisper")  # not imported, which takes seconds
    if package is None or package.origin is None:
        raise ModuleNotFoundError("Whisper's mel filters come with openai-whisper: pip install openai-whisper")
    with np.load(Path(package.origin).parent / "assets" / "mel_filters.npz") as filters:
        if f"mel_{mel_bins}" not in filters:
            raise ValueError(f"mel_bins={mel_bins} came; Whisper has filters for {', '.join(filters.files)}")
        return torch.from_numpy(filters[f"mel_{mel_bins}"])
