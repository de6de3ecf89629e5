"""A tiny encoder and inputs for it."""

import pytest
import torch

from avspeech.models.encoder import AVEncoder, EncoderConfig
from tests.models.tiny_whisper import VIDEO

TINY = EncoderConfig(32, 2, 4, 64, position_kernel=8, position_groups=4, video=VIDEO)


@pytest.fixture
def tiny() -> EncoderConfig:
    return TINY


@pytest.fixture
def encoder() -> AVEncoder:
    torch.manual_seed(0)
    return AVEncoder(TINY).eval()


@pytest.fixture
def inputs():
    """Return a function: frames -> audio (2, T, 104), video (2, T, 24, 24) uint8, valid (2, T)."""

    def make(frames: int):
        generator = torch.Generator().manual_seed(1)
        audio_BTF = torch.randn(2, frames, 104, generator=generator)
        video_BTHW = torch.randint(0, 256, (2, frames, 24, 24), generator=generator, dtype=torch.uint8)
        return audio_BTF, video_BTHW, torch.ones(2, frames, dtype=torch.bool)

    return make
