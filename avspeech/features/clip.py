"""Video input of the encoder: crop 96 to 88, normalise, zero the padding.

Training draws one crop offset per clip, evaluation takes the centre (AV-HuBERT, arXiv:2201.02184). Clips stay uint8
until the model normalises them on its device.
"""

import torch
from torch import Tensor

CLIP_SIZE = 88  # side of the encoder's crop of a 96x96 mouth crop, in pixels
MEAN, STD = 0.421, 0.165  # of grey mouth crops in [0, 1], as used by AV-HuBERT


def crop_clips(video_BTHW: Tensor, size: int = CLIP_SIZE, offsets_B2: Tensor | None = None) -> Tensor:
    """Return (B, T, size, size), cut at (top, left) of ``offsets_B2``; None: the centre, rounded down.

    Raises ValueError if a clip is smaller than ``size``, or a crop is partly outside the picture.
    """
    if video_BTHW.ndim != 4:
        raise ValueError(f"video of shape {tuple(video_BTHW.shape)} came, wanted (B, T, H, W); add the batch axis")
    height, width = video_BTHW.shape[2:]
    if size > min(height, width):
        raise ValueError(f"clips of {height}x{width} came, wanted at least {size}x{size}; see data_prep/extract_rois")
    if offsets_B2 is None:
        top, left = (height - size) // 2, (width - size) // 2
        return video_BTHW[:, :, top : top + size, left : left + size]
    offsets = offsets_B2.tolist()
    if any(not (0 <= top <= height - size and 0 <= left <= width - size) for top, left in offsets):
        raise ValueError(f"offsets {offsets} came, wanted (top, left) up to ({height - size}, {width - size})")
    places = zip(video_BTHW, offsets, strict=True)
    return torch.stack([clip[:, top : top + size, left : left + size] for clip, (top, left) in places])


def normalize_clips(video_BTHW: Tensor, valid_BT: Tensor | None = None) -> Tensor:
    """Return (x / 255 - mean) / std as float32, with padded frames set to 0 afterwards.

    Raises ValueError if the clips are not uint8, or ``valid_BT`` has another shape.
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
    # A padded 0 became -mean/std, which the 3-D stem would read as signal.
    return torch.where(valid_BT[:, :, None, None], normal_BTHW, 0)
