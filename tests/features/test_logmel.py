"""Whisper's log-mel: OpenAI's to the digit, cut to length instead of padded, and what short or wrong input gives."""

import pytest
import torch

from avspeech.features.logmel import logmel_AF, mel_filters

whisper_audio = pytest.importorskip("whisper.audio", reason="openai-whisper is not installed")


@pytest.fixture
def speech_S():
    generator = torch.Generator().manual_seed(0)
    time_S = torch.arange(37_123) / 16_000
    return 0.3 * torch.sin(1200 * time_S) * (time_S < 1) + 0.01 * torch.randn(len(time_S), generator=generator)


@pytest.mark.parametrize("mel_bins", [80, 128])
def test_it_is_openais(speech_S, mel_bins):
    expected_FA = whisper_audio.log_mel_spectrogram(speech_S, mel_bins)
    ours_AF = logmel_AF(speech_S, mel_bins)
    assert ours_AF.shape == (37_123 // 160, mel_bins)
    torch.testing.assert_close(ours_AF, expected_FA.T, atol=1e-5, rtol=0)


def test_padding_to_30_s_is_openais(speech_S):
    expected_FA = whisper_audio.log_mel_spectrogram(whisper_audio.pad_or_trim(speech_S), 80)
    torch.testing.assert_close(logmel_AF(speech_S, pad_to_30s=True), expected_FA.T, atol=1e-5, rtol=0)
    long_S = speech_S.repeat(14)
    assert len(long_S) > 30 * 16_000
    assert logmel_AF(long_S, pad_to_30s=True).shape == (3000, 80)


@pytest.mark.parametrize("size", [1, 160, 399, 400])
def test_a_very_short_clip_has_finite_features(size):
    mel_AF = logmel_AF(torch.full((size,), 0.1))
    assert len(mel_AF) >= 1 and bool(mel_AF.isfinite().all())


def test_filters_that_do_not_exist_are_named():
    with pytest.raises(ValueError, match="mel_bins=64 came; Whisper has filters for mel_80, mel_128"):
        mel_filters(64)
