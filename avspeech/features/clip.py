"""Lip clips for the encoder: crop 96 to 88, flip, normalise, zero the padding; a batch at a time, on its device.

Clips stay uint8 until they are here. What changes from clip to clip (where to crop, whether to flip) is an argument:
training draws it with ``draw_offsets`` and ``draw_flips``, evaluation passes None, and both run the same lines.
A clip has ONE offset and one flip for all of its frames, so that lips do not jump (AV-HuBERT, arXiv:2201.02184).
"""

import torch
from torch import Generator, Tensor

CLIP_SIZE = 88
"""Pixels on a side that the encoder sees of a 96x96 mouth clip."""
MEAN, STD = 0.421, 0.165
"""Of grey mouth crops in [0, 1], as AV-HuBERT and its forerunners measured them."""


def prepare_clips(
    video_BTHW: Tensor,
    valid_BT: Tensor | None = None,
    offsets_B2: Tensor | None = None,
    flip_B: Tensor | None = None,
    size: int = CLIP_SIZE,
) -> Tensor:
    """Return clips as the encoder wants them: (B, T, size, size) float32, padded frames exactly 0.

    Args:
        video_BTHW: uint8 grey clips, any device.
        valid_BT: True for real frames; None takes all of them as real.
        offsets_B2: integer (top, left) of each clip's crop, best on the CPU; None crops the centre.
        flip_B: True mirrors that clip left to right; None mirrors none.
        size: pixels on a side of the crop.
    """
    cropped_BTHW = crop_clips(video_BTHW, size, offsets_B2)
    if flip_B is not None:
        cropped_BTHW = torch.where(
            flip_B.to(video_BTHW.device)[:, None, None, None], cropped_BTHW.flip(3), cropped_BTHW
        )
    return normalize_clips(cropped_BTHW, valid_BT)


def crop_clips(video_BTHW: Tensor, size: int = CLIP_SIZE, offsets_B2: Tensor | None = None) -> Tensor:
    """Return (B, T, size, size) cut at (top, left) of ``offsets_B2``, or around the centre; an odd rest floors.

    Raises:
        ValueError: a clip is smaller than ``size``, or a crop would leave the picture.
    """
    if video_BTHW.ndim != 4:
        raise ValueError(f"video of shape {tuple(video_BTHW.shape)} came, wanted (B, T, H, W); add the batch axis")
    height, width = video_BTHW.shape[2:]
    if size > height or size > width:
        raise ValueError(
            f"clips of {height}x{width} came, wanted at least {size}x{size}; see data_prep/extract_rois.py"
        )
    if offsets_B2 is None:
        top, left = (height - size) // 2, (width - size) // 2
        return video_BTHW[:, :, top : top + size, left : left + size]
    offsets = offsets_B2.tolist()
    if any(not (0 <= top <= height - size and 0 <= left <= width - size) for top, left in offsets):
        raise ValueError(
            f"offsets {offsets} came, wanted (top, left) up to ({height - size}, {width - size}); use draw_offsets"
        )
    rows = [
        clip[:, top : top + size, left : left + size] for clip, (top, left) in zip(video_BTHW, offsets, strict=True)
    ]
    return torch.stack(rows)


def normalize_clips(video_BTHW: Tensor, valid_BT: Tensor | None = None) -> Tensor:
    """Return (x / 255 - mean) / std as float32; frames that are not valid become 0 after that.

    Raises:
        ValueError: the clips are not uint8 (they were normalised already?) or ``valid_BT`` has another shape.
    """
    if video_BTHW.dtype != torch.uint8:
        raise ValueError(f"video of type {video_BTHW.dtype} came, wanted uint8; normalise clips once, in the model")
    normal_BTHW = (video_BTHW.float() / 255 - MEAN) / STD
    if valid_BT is None:
        return normal_BTHW
    if valid_BT.shape != video_BTHW.shape[:2]:
        raise ValueError(
            f"valid_BT {tuple(valid_BT.shape)} and video {tuple(video_BTHW.shape)} must agree in (B, T); "
            "make both in the same collate"
        )
    # A padded 0 would be -mean/std by now, and the 3-D stem would read that as signal.
    return torch.where(valid_BT[:, :, None, None], normal_BTHW, 0)


def draw_offsets(
    num_clips: int, height: int, width: int, size: int = CLIP_SIZE, generator: Generator | None = None
) -> Tensor:
    """Draw ``offsets_B2``: one (top, left) per clip, every place where the crop fits equally likely."""
    top_B = torch.randint(height - size + 1, (num_clips,), generator=generator)
    left_B = torch.randint(width - size + 1, (num_clips,), generator=generator)
    return torch.stack([top_B, left_B], dim=1)


def draw_flips(num_clips: int, generator: Generator | None = None, probability: float = 0.5) -> Tensor:
    """Draw ``flip_B``: whether each clip is mirrored."""
    return torch.rand(num_clips, generator=generator) < probability
