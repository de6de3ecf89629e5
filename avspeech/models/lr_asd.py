"""LR-ASD, a published detector of active speakers: face crops and sound -> a score per frame.

Liao et al. 2024; the layout is that of the released weights (github.com/Junhua-Liao/LR-ASD, MIT). The classifier of the
picture alone, which only training uses, is left out.
"""

import itertools
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from avspeech.features.mfcc import NUM_CEPSTRA
from avspeech.inputs import InputSpec
from avspeech.models.base import Model
from avspeech.roi.sizes import FACE_SIZE

_MEAN, _STD = 0.4161, 0.1688  # of face crops in [0, 1]
_CHANNELS = (1, 32, 64, 128)
_WIDTH, _HIDDEN, _EPS = 128, 64, 1e-3


class SpeakerBlock(nn.Module):
    """Two convolutions across, two along time, each with BatchNorm and ReLU; ``kernels`` are those along each axis."""

    def __init__(self, names: str, into: int, out: int, kernels: list[tuple[int, ...]], stride: int = 1) -> None:
        super().__init__()
        convolution, norm = (nn.Conv3d, nn.BatchNorm3d) if len(kernels[0]) == 3 else (nn.Conv2d, nn.BatchNorm2d)
        self.parts: list[tuple[str, str]] = []
        widths = [into, out // 2, out, out, out]
        for place, kernel in enumerate(kernels):
            name, norm_name = (f"{names[place // 2]}_{part}{place % 2 + 1}" for part in ("", "norm_"))
            padding = tuple(size // 2 for size in kernel)
            strides = (1, stride, stride) if place == 0 and stride > 1 else 1
            add = convolution(widths[place], widths[place + 1], kernel, strides, padding, bias=False)  # type: ignore[arg-type]
            self.add_module(name, add)
            self.add_module(norm_name, norm(widths[place + 1], eps=_EPS))
            self.parts.append((name, norm_name))

    def forward(self, x: Tensor) -> Tensor:
        for name, norm in self.parts:
            x = F.relu(self.get_submodule(norm)(self.get_submodule(name)(x)))
        return x


class VisualEncoder(nn.Module):
    """Face crops, normalised (B, T, 112, 112) -> (B, T, 128)."""

    def __init__(self) -> None:
        super().__init__()
        kernels = [(1, 5, 5), (1, 3, 3), (5, 1, 1), (3, 1, 1)]
        self.block1, self.block2, self.block3 = (
            SpeakerBlock("st", into, out, kernels, stride=2 if into == 1 else 1)
            for into, out in itertools.pairwise(_CHANNELS)
        )

    def forward(self, face_BTHW: Tensor) -> Tensor:
        x = face_BTHW[:, None]
        for block in (self.block1, self.block2):
            x = F.max_pool3d(block(x), (1, 3, 3), (1, 2, 2), (0, 1, 1))
        return self.block3(x).amax(dim=(3, 4)).transpose(1, 2)


class AudioEncoder(nn.Module):
    """Cepstra (B, 4 T, 13) -> (B, T, 128)."""

    def __init__(self) -> None:
        super().__init__()
        kernels = [(5, 1), (3, 1), (1, 5), (1, 3)]
        self.block1, self.block2, self.block3 = (
            SpeakerBlock("mt", into, out, kernels) for into, out in itertools.pairwise(_CHANNELS)
        )

    def forward(self, mfcc_BAF: Tensor) -> Tensor:
        x = mfcc_BAF.transpose(1, 2)[:, None]
        for block in (self.block1, self.block2):
            x = F.max_pool2d(block(x), (1, 3), (1, 2), (0, 1))
        return self.block3(x).mean(dim=2).transpose(1, 2)


class Gate(nn.Module):
    """x -> x * sigmoid(BatchNorm(W x)), per frame."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.attention = nn.Conv1d(width, width, 1, bias=False)
        self.bn = nn.BatchNorm1d(width, eps=_EPS)

    def forward(self, x_BTD: Tensor) -> Tensor:
        x_BDT = x_BTD.transpose(1, 2)
        return (x_BDT * torch.sigmoid(self.bn(self.attention(x_BDT)))).transpose(1, 2)


class Detector(nn.Module):
    """A recurrence in either direction, gated."""

    def __init__(self) -> None:
        super().__init__()
        self.gru_forward = nn.GRU(2 * _WIDTH, _HIDDEN, batch_first=True)
        self.gru_backward = nn.GRU(2 * _WIDTH, _HIDDEN, batch_first=True)
        self.attention = Gate(2 * _HIDDEN)

    def forward(self, x_BTD: Tensor) -> Tensor:
        before_BTD, _ = self.gru_forward(x_BTD)
        after_BTD, _ = self.gru_backward(x_BTD.flip(1))
        return self.attention(torch.cat([before_BTD, after_BTD.flip(1)], dim=-1))


class LrAsd(Model):
    """LR-ASD, 0.84 million weights."""

    kind = "lr_asd"
    title = "LR-ASD, a detector of active speakers"
    no_text = "it tells who speaks, not what; give it to --who_speaks"
    inputs = InputSpec(audio="fbank", audio_bins=NUM_CEPSTRA, clip_size=None)
    lip_encoder = None

    def __init__(self) -> None:
        super().__init__()
        self.visual, self.audio = VisualEncoder(), AudioEncoder()
        self.fusion, self.detector = Gate(2 * _WIDTH), Detector()
        self.head = nn.Linear(2 * _HIDDEN, 2)

    def to_config(self) -> dict[str, Any]:
        return {}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        return cls(**config)

    def forward(self, face_BTHW: Tensor, mfcc_BAF: Tensor) -> Tensor:
        """Return a score per frame, (B, T): above 0 the face speaks.

        Args:
            face_BTHW: uint8 crops of ``avspeech.roi.face_crops``, (B, T, 112, 112), all frames real.
            mfcc_BAF: cepstra of ``avspeech.features.mfcc.cepstra``, (B, 4 T, 13).

        Raises ValueError if the shapes do not fit.
        """
        return self.judge(self.see(face_BTHW), mfcc_BAF)

    def see(self, face_BTHW: Tensor) -> Tensor:
        """Return what is seen of faces, (B, T, 128): nearly all of the work, and the same for any sound."""
        if face_BTHW.shape[2:] != (FACE_SIZE, FACE_SIZE):
            raise ValueError(f"faces {tuple(face_BTHW.shape)} came, wanted (B, T, {FACE_SIZE}, {FACE_SIZE})")
        return self.visual((face_BTHW.float() / 255 - _MEAN) / _STD)

    def judge(self, seen_BTD: Tensor, mfcc_BAF: Tensor) -> Tensor:
        """Return the score per frame, (B, T), of what ``see`` gave."""
        if mfcc_BAF.shape[1:] != (4 * seen_BTD.shape[1], NUM_CEPSTRA):
            raise ValueError(
                f"cepstra {tuple(mfcc_BAF.shape)} came for faces of {seen_BTD.shape[1]} frames, wanted (B, 4 T, "
                f"{NUM_CEPSTRA}) of the same frames"
            )
        both_BTD = self.fusion(torch.cat([self.audio(mfcc_BAF), seen_BTD], dim=-1))
        return self.head(self.detector(both_BTD))[..., 1]
