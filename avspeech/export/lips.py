"""An encoder whose lip front end looks at every frame, so that no size in its graph depends on a mask.

The front end picks the real frames out of a batch, computes those and puts them back. In a graph that runs on other
batches this costs more operators than it saves; features of real frames are the same either way (``frontends.py``).
"""

import copy

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from avspeech.features.clip import normalize_clips
from avspeech.models.encoder import AVEncoder
from avspeech.models.frontends import VideoFrontend


class EveryFrame(nn.Module):
    """A lip front end that is called like ``VideoFrontend`` and computes every frame."""

    def __init__(self, frontend: VideoFrontend) -> None:
        super().__init__()
        self.frontend = frontend

    def forward(self, video_BTHW: Tensor, valid_BT: Tensor, wanted_BT: Tensor) -> Tensor:
        """Return lip features, (B, T, D), zero where a frame is not wanted; the clip is uint8."""
        config, frames = self.frontend.config, video_BTHW.shape[1]
        video_BTHW = normalize_clips(video_BTHW, valid_BT)
        if config.shrink > 1:
            video_BTHW = F.avg_pool2d(video_BTHW, config.shrink)
        reach = config.stem_frames // 2
        padded_BTHW = F.pad(video_BTHW, (0, 0, 0, 0, reach, reach))
        shifted = [padded_BTHW[:, first : first + frames] for first in range(config.stem_frames)]
        features_MD = self.frontend.embed_windows(torch.stack(shifted, dim=2).flatten(0, 1))
        return torch.where(wanted_BT[..., None], features_MD.unflatten(0, (-1, frames)), 0)


def with_every_frame(encoder: AVEncoder) -> AVEncoder:
    """Return an encoder of the same weights whose front end is ``EveryFrame``; the given one stays as it is."""
    twin = copy.copy(encoder)
    twin._modules = dict(encoder._modules)
    twin.video_frontend = EveryFrame(encoder.video_frontend)  # type: ignore[assignment]
    return twin
