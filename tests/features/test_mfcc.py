"""MFCCs against Kaldi's recipe written out in numpy, and the two clocks they are used on."""

import numpy as np
import pytest
import torch

from avspeech.features.mfcc import differences, mfcc, pool_to_frames
from tests.features.test_logfbank import noise


def kaldi_mfcc(audio_S: np.ndarray) -> np.ndarray:
    """13 MFCCs step by step, in float64: Kaldi's defaults with use_energy=False and dither=0."""
    window = (0.5 - 0.5 * np.cos(2 * np.pi * np.arange(400) / 399)) ** 0.85
    mel = 1127 * np.log(1 + np.arange(256) * 16000 / 512 / 700)
    low, high = 1127 * np.log(1 + 20 / 700), 1127 * np.log(1 + 8000 / 700)
    width = (high - low) / 24
    centres = low + width * np.arange(1, 24)
    filters = np.maximum(0, 1 - np.abs(mel[:, None] - centres) / width)
    frames_AS = np.lib.stride_tricks.sliding_window_view(audio_S.astype(np.float64), 400)[::160]
    frames_AS = frames_AS - frames_AS.mean(axis=1, keepdims=True)
    frames_AS = frames_AS - 0.97 * np.concatenate([frames_AS[:, :1], frames_AS[:, :-1]], axis=1)
    power_AF = np.abs(np.fft.rfft(frames_AS * window, 512)[:, :256]) ** 2
    log_mel_AF = np.log(np.maximum(power_AF @ filters, np.finfo(np.float32).eps))
    transform = np.sqrt(2 / 23) * np.cos(np.pi / 23 * (np.arange(23)[:, None] + 0.5) * np.arange(13))
    transform[:, 0] /= np.sqrt(2)
    return log_mel_AF @ transform * (1 + 11 * np.sin(np.pi * np.arange(13) / 22))


def test_the_coefficients_are_kaldis():
    ours_AF, theirs_AF = mfcc(noise(8000))[:, :13].numpy(), kaldi_mfcc(noise(8000).numpy())
    assert ours_AF.shape == theirs_AF.shape
    assert np.abs(ours_AF - theirs_AF).max() / np.abs(theirs_AF).max() < 1e-4


def test_the_last_26_numbers_are_first_and_second_differences():
    mfcc_AF = mfcc(noise(4000))
    assert mfcc_AF.shape == (23, 39)
    torch.testing.assert_close(mfcc_AF[:, 13:26], differences(mfcc_AF[:, :13]))
    torch.testing.assert_close(mfcc_AF[:, 26:], differences(mfcc_AF[:, 13:26]))


def test_the_difference_of_a_ramp_is_its_slope_and_the_ends_repeat():
    ramp_AF = 3.0 * torch.arange(7)[:, None]
    # at the first row: (1 (x1 - x0) + 2 (x2 - x0)) / 10 = (3 + 12) / 10
    torch.testing.assert_close(differences(ramp_AF)[:, 0], torch.tensor([1.5, 2.4, 3, 3, 3, 2.4, 1.5]))


def test_25_hz_rows_are_means_of_four_and_fit_the_clip():
    values_AF = torch.arange(1.0, 11.0)[:, None]
    assert pool_to_frames(values_AF)[:, 0].tolist() == [2.5, 6.5, 9.5]  # the last of two rows only
    assert pool_to_frames(values_AF, 2)[:, 0].tolist() == [2.5, 6.5]
    assert pool_to_frames(values_AF[:0]).shape == (0, values_AF.shape[1])
    assert pool_to_frames(values_AF, 5)[:, 0].tolist() == [2.5, 6.5, 9.5, 9.5, 9.5]


def test_silence_is_finite():
    assert mfcc(torch.zeros(1600)).isfinite().all()


def test_audio_shorter_than_a_window_is_named_in_the_error():
    with pytest.raises(ValueError, match=r"\(399,\) came, wanted \(S,\) with at least 400"):
        mfcc(torch.zeros(399))
