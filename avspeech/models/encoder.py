"""AV-HuBERT encoder: two streams at 25 Hz -> one memory.

AV-HuBERT (arXiv:2201.02184, section 3); all released models are pre-norm. Difference: padding and dropped streams skip
the lip front end (see frontends.py), unless ``official_padding``.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from avspeech.inputs import InputSpec
from avspeech.models.blocks import ConvPositions, EncoderBlock
from avspeech.models.frontends import VideoConfig, VideoFrontend
from avspeech.models.fusion import VIDEO, Fusion

ENCODERS: dict[str, type["BaseEncoderConfig"]] = {}  # by kind


class BaseEncoderConfig(ABC):
    """Sizes of an encoder; subclass it as ``class Mine(BaseEncoderConfig, kind="mine")``, a frozen dataclass."""

    kind: ClassVar[str]  # name in ``ENCODERS`` and in model files
    width: int
    """Channels of the memory."""

    def __init_subclass__(cls, kind: str) -> None:
        super().__init_subclass__()
        cls.kind = kind
        ENCODERS[kind] = cls

    @abstractmethod
    def build(self) -> "Encoder":
        """Return the encoder with new weights."""


class Encoder(nn.Module):
    """Audio and video streams at 25 Hz -> memory at 25 Hz."""

    inputs: InputSpec
    crop: str | None = None
    """How the mouths that it was trained on are cut, a name of ``avspeech.roi.mouth.CROPS``; None: not trained yet."""

    def forward(
        self,
        audio_BTF: Tensor | None,
        video_BTHW: Tensor | None,
        valid_BT: Tensor,
        keep_B2: Tensor | None = None,
        layer: int | None = None,
    ) -> Tensor:
        """Return the memory, (B, T, D), arbitrary in padded frames; ValueError if streams or layer do not fit.

        Args:
            audio_BTF: stacked filterbanks at 25 Hz, normalised per frame; None: no audio.
            video_BTHW: grey mouth crops, uint8, or normalised float; None: no video.
            valid_BT: bool, True for real frames.
            keep_B2: bool, columns AUDIO and VIDEO; False drops that stream of that utterance.
            layer: return the output of this block without the final norm, 0: fused input; None: the encoder's end.
        """
        raise NotImplementedError

    @property
    def stream_encoders(self) -> list[nn.Module]:
        """Modules that encode one stream each; see ``Model.stream_encoders``."""
        return []

    @property
    def size_line(self) -> str:
        """The sizes in a few words."""
        return type(self).__name__


@dataclass(frozen=True)
class EncoderConfig(BaseEncoderConfig, kind="avhubert"):
    """Size of the fused encoder. Defaults are AV-HuBERT Base."""

    width: int = 768
    """Channels of the residual stream."""
    depth: int = 12
    """Number of Transformer blocks."""
    num_heads: int = 12
    """Attention heads per block."""
    ffn_width: int = 3072
    """Inner channels of the feed-forward layers."""
    pre_norm: bool = True
    """Normalise before each sub-layer (all released models), or after."""
    audio_features: int = 104
    """Channels of the audio input at 25 Hz: 4 frames of 26 filterbanks."""
    video: VideoConfig = VideoConfig()
    """The lip front end."""
    fusion: Literal["concat", "add"] = "concat"
    """Fusion of the streams; released models concatenate."""
    position_kernel: int = 128
    """Width of the convolutional positions, in frames."""
    position_groups: int = 16
    """Groups of the convolutional positions."""
    dropout: float = 0.1
    """Dropout after each sub-layer and the positions."""
    attention_dropout: float = 0.1
    """Dropout of attention weights."""
    activation_dropout: float = 0.0
    """Dropout inside the feed-forward layers."""
    input_dropout: float = 0.1
    """Dropout of the fused stream."""
    layer_drop: float = 0.05
    """Chance that a block's output is left out in training."""
    frontend_grad_scale: float = 1.0
    """Gradient factor into the front ends; 0.1 in AV-HuBERT's pre-training."""
    official_padding: bool = False
    """Count padding and dropped clips in BatchNorm and feature penalty (official code); real features do not change."""

    def __post_init__(self) -> None:
        for name in ("num_heads", "position_groups"):
            if self.width % getattr(self, name):
                raise ValueError(
                    f"encoder.width={self.width} is not a multiple of encoder.{name}={getattr(self, name)}"
                )

    def build(self) -> "AVEncoder":
        return AVEncoder(self)


class AVEncoder(Encoder):
    """``forward`` runs ``join_streams``, ``fuse``, ``run_blocks``, ``finish``; pre-training masks between them."""

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        self.config = config
        self.audio_project = nn.Linear(config.audio_features, config.width)
        self.video_frontend = VideoFrontend(config.video, config.width)
        self.fusion = Fusion(config.width, config.fusion)
        self.input_dropout = nn.Dropout(config.input_dropout)
        self.positions = ConvPositions(config.width, config.position_kernel, config.position_groups)
        self.dropout = nn.Dropout(config.dropout)
        self.norm = nn.LayerNorm(config.width)
        sizes = (config.width, config.num_heads, config.ffn_width, config.pre_norm)
        dropouts = (config.dropout, config.attention_dropout, config.activation_dropout)
        self.blocks = nn.ModuleList(EncoderBlock(*sizes, *dropouts) for _ in range(config.depth))

    @property
    def size_line(self) -> str:
        return f"{block_sizes(self.config)}, {'pre' if self.config.pre_norm else 'post'}-norm"

    @property
    def inputs(self) -> InputSpec:
        return InputSpec("fbank", self.config.audio_features, self.config.video.input_size)

    def forward(
        self,
        audio_BTF: Tensor | None,
        video_BTHW: Tensor | None,
        valid_BT: Tensor,
        keep_B2: Tensor | None = None,
        layer: int | None = None,
    ) -> Tensor:
        if layer is not None and not 0 <= layer <= len(self.blocks):
            raise ValueError(f"layer={layer}: this encoder has layers 0 to {len(self.blocks)}")
        memory_BTD = fused_BTD = self.fuse(self.join_streams(audio_BTF, video_BTHW, valid_BT, keep_B2))
        if layer == 0:
            return fused_BTD
        for number, memory_BTD in self.run_blocks(fused_BTD, valid_BT):
            if number == layer:
                return memory_BTD
        return self.finish(memory_BTD)

    @property
    def stream_encoders(self) -> list[nn.Module]:
        return [self.video_frontend]

    def join_streams(
        self,
        audio_BTF: Tensor | None,
        video_BTHW: Tensor | None,
        valid_BT: Tensor,
        keep_B2: Tensor | None = None,
        unread_BT: Tensor | None = None,
    ) -> Tensor:
        """Return both embedded streams, (B, T, 2 D), before fusion; arguments as in ``forward``.

        ``unread_BT`` is bool: frames overwritten after fusion; they skip the ResNet and are zero.
        """
        if audio_BTF is None and video_BTHW is None:
            raise ValueError("audio and video are both None; an encoder needs at least one stream")
        audio_BTD = None if audio_BTF is None else self.audio_project(audio_BTF)
        video_BTD = None
        if video_BTHW is not None:
            if video_BTHW.shape[1] != valid_BT.shape[1]:
                shapes = f"video {tuple(video_BTHW.shape)} and valid {tuple(valid_BT.shape)}"
                raise ValueError(f"{shapes} differ in frames; avspeech.inputs.make_sample brings them to one length")
            video_BTD = self.video_frontend(video_BTHW, valid_BT, self._wanted_lips(valid_BT, keep_B2, unread_BT))
        given_BTD: Any = video_BTD if audio_BTD is None else audio_BTD
        audio_BTD, video_BTD = (
            torch.zeros_like(given_BTD) if x_BTD is None else scale_gradient(x_BTD, self.config.frontend_grad_scale)
            for x_BTD in (audio_BTD, video_BTD)
        )
        return self.fusion.join(audio_BTD, video_BTD, keep_B2)

    def _wanted_lips(self, valid_BT: Tensor, keep_B2: Tensor | None, unread_BT: Tensor | None) -> Tensor:
        if self.config.official_padding:
            return torch.ones_like(valid_BT)
        wanted_BT = valid_BT if keep_B2 is None else valid_BT & keep_B2[:, VIDEO, None]
        return wanted_BT if unread_BT is None else wanted_BT & ~unread_BT

    def fuse(self, streams_BTE: Tensor) -> Tensor:
        """Return the Transformer's input, (B, T, D), from the joined streams."""
        return self.input_dropout(self.fusion(streams_BTE))

    def finish(self, x_BTD: Tensor) -> Tensor:
        """Return the memory from the last block's output, normalised if pre-norm."""
        return self.norm(x_BTD) if self.config.pre_norm else x_BTD

    def run_blocks(self, x_BTD: Tensor, valid_BT: Tensor) -> Iterator[tuple[int, Tensor]]:
        """Yield (number, output) of each block from 1; stopping early saves later blocks."""
        x_BTD = torch.where(valid_BT[..., None], x_BTD, 0)
        x_BTD = x_BTD + self.positions(x_BTD)
        if not self.config.pre_norm:
            x_BTD = self.norm(x_BTD)
        x_BTD = self.dropout(x_BTD)
        allowed_B11T = valid_BT[:, None, None]
        p_skip = self.config.layer_drop if self.training else 0.0
        # Drawn on the device and computed all the same: one graph for every batch, and no wait for the draw.
        skips_N = torch.rand(len(self.blocks), device=x_BTD.device) < p_skip if p_skip > 0 else None
        for number, block in enumerate(self.blocks, start=1):
            y_BTD = block(x_BTD, allowed_B11T)
            x_BTD = y_BTD if skips_N is None else torch.where(skips_N[number - 1], x_BTD, y_BTD)
            yield number, x_BTD


def block_sizes(config: Any) -> str:
    """Return the sizes of an encoder or decoder in words."""
    return f"{config.depth} blocks, width {config.width}, {config.num_heads} heads, ffn {config.ffn_width}"


def scale_gradient(x: Tensor, scale: float) -> Tensor:
    """Return ``x``, its gradient multiplied by ``scale``."""
    if scale == 1.0 or not x.requires_grad:
        return x
    x = x.view_as(x)
    x.register_hook(lambda gradient: gradient * scale)
    return x
