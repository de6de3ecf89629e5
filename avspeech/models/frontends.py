"""Lip front end: mouth crops -> features of the encoder's width at 25 Hz.

AV-HuBERT (arXiv:2201.02184, section 3 and appendix A): 3-D convolution, then a ResNet-18 with PReLU per frame.
Difference: padding and dropped clips are not computed and not in BatchNorm statistics. Real features are the same,
because the convolution sees zeros around a clip either way.
"""

from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from avspeech.features.clip import normalize_clips


@dataclass(frozen=True)
class VideoConfig:
    """Lip front end. Defaults are AV-HuBERT's; small ones train on a CPU."""

    input_size: int = 88
    """Side of the square crop in pixels."""
    shrink: int = 1
    """Average pooling of the pixels before the stem; 2: 88 -> 44."""
    stem_frames: int = 5
    """Frames of the first convolution's kernel; odd."""
    stem_kernel: int = 7
    """Side of the first convolution's kernel, in pixels; odd."""
    stem_width: int = 64
    """Channels after the stem."""
    widths: tuple[int, ...] = (64, 128, 256, 512)
    """Channels of each residual stage; stages after the first halve the map."""
    blocks: tuple[int, ...] = (2, 2, 2, 2)
    """Residual blocks in each stage."""
    activation: Literal["prelu", "relu"] = "prelu"
    """PReLU per channel as in AV-HuBERT; ReLU is faster on a CPU."""
    channels_last: bool = True
    """Channels-last feature maps: faster, differs from the official code by rounding (3e-6 of the largest)."""

    def __post_init__(self) -> None:
        if len(self.widths) != len(self.blocks) or not self.widths:
            raise ValueError(f"video.widths={self.widths} and video.blocks={self.blocks} must name the same stages")
        if self.stem_frames % 2 == 0 or self.stem_kernel % 2 == 0:
            raise ValueError(f"video.stem_frames={self.stem_frames}, video.stem_kernel={self.stem_kernel} must be odd")
        if self.input_size % self.shrink:
            raise ValueError(f"video.input_size={self.input_size} is not a multiple of video.shrink={self.shrink}")


def make_activation(kind: str, width: int) -> nn.Module:
    return nn.PReLU(width) if kind == "prelu" else nn.ReLU(inplace=True)


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions with a shortcut; activation after the first and after the sum."""

    def __init__(self, in_width: int, width: int, stride: int, activation: str) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_width, width, 3, stride, 1, bias=False)
        self.norm1 = nn.BatchNorm2d(width)
        self.act1 = make_activation(activation, width)
        self.conv2 = nn.Conv2d(width, width, 3, 1, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(width)
        self.act2 = make_activation(activation, width)
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or in_width != width:
            self.shortcut = nn.Sequential(nn.Conv2d(in_width, width, 1, stride, bias=False), nn.BatchNorm2d(width))

    def forward(self, x_MCHW: Tensor) -> Tensor:
        """Return (M, width, H / stride, W / stride)."""
        y_MCHW = self.norm2(self.conv2(self.act1(self.norm1(self.conv1(x_MCHW)))))
        return self.act2(y_MCHW + self.shortcut(x_MCHW))


class VideoFrontend(nn.Module):
    """Lip clip -> one vector of ``width`` per frame."""

    def __init__(self, config: VideoConfig, width: int) -> None:
        super().__init__()
        self.config = config
        kernel = (config.stem_frames, config.stem_kernel, config.stem_kernel)
        self.stem = nn.Conv3d(1, config.stem_width, kernel, bias=False)
        self.stem_norm = nn.BatchNorm2d(config.stem_width)
        self.stem_act = make_activation(config.activation, config.stem_width)
        stages, in_width = [], config.stem_width
        for number, (stage_width, blocks) in enumerate(zip(config.widths, config.blocks, strict=True)):
            for block in range(blocks):
                stages.append(ResidualBlock(in_width, stage_width, 2 if number and not block else 1, config.activation))
                in_width = stage_width
        self.trunk = nn.Sequential(*stages)
        self.project = nn.Linear(in_width, width)
        for module in self.modules():
            if isinstance(module, (nn.Conv2d, nn.Conv3d)):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, video_BTHW: Tensor, valid_BT: Tensor, wanted_BT: Tensor | None = None) -> Tensor:
        """Return lip features, (B, T, D), zero in unwanted frames. Raises ValueError for a wrong crop size.

        ``video_BTHW`` is uint8, or normalised float (0 = mean grey); invalid frames become mean grey. ``wanted_BT`` are
        the frames to compute; None: the real ones.
        """
        size = self.config.input_size
        if video_BTHW.shape[-2:] != (size, size):
            came = f"video is {tuple(video_BTHW.shape[-2:])} pixels, this model wants {size}x{size}"
            raise ValueError(f"{came}: make the sample for this model's inputs, or set encoder.video.input_size")
        if video_BTHW.is_floating_point():
            video_BTHW = torch.where(valid_BT[..., None, None], video_BTHW, 0)
        else:
            video_BTHW = normalize_clips(video_BTHW, valid_BT)
        video_BTHW = video_BTHW.to(self.project.weight.dtype)
        compute_BT = valid_BT if wanted_BT is None else wanted_BT
        shape = (*valid_BT.shape, self.project.out_features)
        x_MFHW = self._windows(video_BTHW, compute_BT)
        if len(x_MFHW) == 0:  # every parameter must stay in the graph, or DDP waits for its gradient
            return video_BTHW.new_zeros(shape) + 0 * sum(parameter.sum() for parameter in self.parameters())
        features_MD = self.embed_windows(x_MFHW)  # under autocast its dtype is not the weights'
        return features_MD.new_zeros(shape).masked_scatter(compute_BT[..., None], features_MD)

    def embed_windows(self, x_MFHW: Tensor) -> Tensor:
        """Return features of the middle frames, (M, D), from windows (M, stem_frames, H, W)."""
        # A one-channel 3-D convolution is a 2-D convolution whose channels are the neighbouring frames.
        x_MCHW = F.conv2d(x_MFHW, self.stem.weight[:, 0], stride=2, padding=self.config.stem_kernel // 2)
        x_MCHW = self.stem_act(self.stem_norm(x_MCHW))
        x_MCHW = self.trunk(F.max_pool2d(x_MCHW, 3, 2, 1))
        return self.project(x_MCHW.mean(dim=(2, 3)))

    def _windows(self, video_BTHW: Tensor, compute_BT: Tensor) -> Tensor:
        """Return each wanted frame's neighbours as channels, (M, stem_frames, H, W)."""
        if self.config.shrink > 1:
            video_BTHW = F.avg_pool2d(video_BTHW, self.config.shrink)
        reach = self.config.stem_frames // 2
        padded_BTHW = F.pad(video_BTHW, (0, 0, 0, 0, reach, reach))
        windows_MFHW = padded_BTHW.unfold(1, self.config.stem_frames, 1)[compute_BT].permute(0, 3, 1, 2)
        # Indexing keeps the frames outermost, which slows every layer down that follows on a CPU.
        layout = torch.channels_last if self.config.channels_last else torch.contiguous_format
        return windows_MFHW.contiguous(memory_format=layout)
