"""Tiny Whisper models with lips and without, every weight random, and inputs for them."""

import torch
from torch import nn

from avspeech.models.encoder import EncoderConfig
from avspeech.models.flamingo import Flamingo, FlamingoConfig
from avspeech.models.frontends import VideoConfig
from avspeech.models.whisper import Whisper
from avspeech.models.whisper_encoder import WhisperConfig

SIZES = WhisperConfig(
    mel_bins=8, audio_positions=30, audio_width=32, audio_heads=4, audio_depth=2,
    vocab_size=50, text_positions=20, text_width=32, text_heads=4, text_depth=2,
)  # fmt: skip
VIDEO = VideoConfig(input_size=24, stem_width=8, widths=(8, 16), blocks=(1, 1))
LIPS = EncoderConfig(24, 1, 4, 32, position_kernel=8, position_groups=4, video=VIDEO)
KEPT = torch.tensor([[True, False], [False, True], [True, True]])
"""Audio alone, video alone, both."""


@torch.no_grad()
def stirred(model: nn.Module) -> nn.Module:
    """Move every weight, gates and positions too, so that nothing is hidden behind a zero."""
    for parameter in model.parameters():
        parameter += 0.2 * torch.randn_like(parameter)
    return model.eval()


def make_whisper(config: WhisperConfig = SIZES) -> Whisper:
    torch.manual_seed(0)
    return stirred(Whisper(config))  # type: ignore[return-value]


def make_flamingo(config: FlamingoConfig = FlamingoConfig(SIZES, LIPS)) -> Flamingo:
    torch.manual_seed(0)
    return stirred(Flamingo(config))  # type: ignore[return-value]


def make_inputs(batch: int = 3, frames: int = 12):
    """Return log-mel (B, 4 T, 8), video (B, T, 24, 24) uint8 and tokens (B, 7)."""
    generator = torch.Generator().manual_seed(1)
    logmel_BAF = torch.randn(batch, 4 * frames, 8, generator=generator)
    video_BTHW = torch.randint(0, 256, (batch, frames, 24, 24), generator=generator, dtype=torch.uint8)
    return logmel_BAF, video_BTHW, torch.randint(0, 50, (batch, 7), generator=generator)


def valid_until(lengths: list[int], size: int) -> torch.Tensor:
    """Return bool (B, size), True before each length."""
    return torch.arange(size) < torch.tensor(lengths)[:, None]
