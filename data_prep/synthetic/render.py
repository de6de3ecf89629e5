"""Frames of a speaker: mouth warp, head pose, composite over the body, camera."""

from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np

from data_prep.synthetic.mouth_warp import MouthWarp
from data_prep.synthetic.rig import SIZE, TEXTURE, Rig

COARSE = 4
"""The pose is solved on every fourth pixel and interpolated."""
GRAIN_MARGIN = 64


@dataclass(frozen=True)
class Motion:
    """Motion of a speaker in a clip, per frame."""

    mouth_TF: np.ndarray
    """``visemes.MOUTH`` parameters."""
    turn_T3: np.ndarray
    """Yaw, pitch, roll in radians."""
    shift_T2: np.ndarray
    """Right and down, px."""
    scale: float
    """Size of the head relative to the rig."""
    eyes_T: np.ndarray
    """Index into ``rig.EYES_OPEN``."""
    light_T: np.ndarray
    """Brightness; 1 is the rig's."""


class Renderer:
    """Draws one speaker."""

    def __init__(self, rig: Rig) -> None:
        self.rig, self.warp = rig, MouthWarp(rig)
        rng = np.random.default_rng(int(rig.look.skin.sum() * 1e3))
        grain = rig.look.grain * rng.standard_normal((SIZE + GRAIN_MARGIN, SIZE + GRAIN_MARGIN, 3))
        self.grain = np.clip(grain + 128, 0, 255).astype(np.uint8)
        small = TEXTURE // COARSE
        depth_HW = cv2.GaussianBlur(rig.depth_HW, (0, 0), 3)
        self.depth_HW = cv2.resize(depth_HW, (small, small), interpolation=cv2.INTER_AREA)

    def frames(self, motion: Motion) -> Iterator[np.ndarray]:
        """Yield the frames of a clip, (SIZE, SIZE, 3) uint8 RGB."""
        for frame in range(len(motion.mouth_TF)):
            yield self.frame(motion, frame)

    def frame(self, motion: Motion, frame: int) -> np.ndarray:
        """Return one frame, (SIZE, SIZE, 3) uint8 RGB."""
        head_HWC = self.rig.heads[motion.eyes_T[frame]].copy()
        patch_HWC, _ = self.warp.draw(head_HWC, motion.mouth_TF[frame])
        head_HWC[self.warp.region] = patch_HWC
        map_x, map_y = self._pose(motion.turn_T3[frame], motion.shift_T2[frame], motion.scale)
        head_HWC = cv2.remap(head_HWC, map_x, map_y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT)
        opacity_HW = head_HWC[..., 3].astype(np.float32) / 255
        colour_HWC = np.ascontiguousarray(head_HWC[..., :3])
        picture_HWC = cv2.blendLinear(colour_HWC, self.rig.behind_HWC, opacity_HW, 1 - opacity_HW)
        if self.rig.look.blur > 0.35:
            picture_HWC = cv2.GaussianBlur(picture_HWC, (3, 3), self.rig.look.blur)
        across, down = (37 * frame) % GRAIN_MARGIN, (23 * frame) % GRAIN_MARGIN
        grain = self.grain[down : down + SIZE, across : across + SIZE]
        return cv2.addWeighted(picture_HWC, float(motion.light_T[frame]) * self.rig.look.exposure, grain, 1.0, -128.0)

    def _pose(self, turn: np.ndarray, shift: np.ndarray, scale: float) -> tuple[np.ndarray, np.ndarray]:
        """Return the maps for ``cv2.remap``, solved by iteration because depth shifts each texel."""
        yaw, pitch, roll = turn
        rig, k = self.rig, self.rig.px_per_cm
        grid = np.arange(SIZE // COARSE, dtype=np.float32) * COARSE + (COARSE - 1) / 2 - SIZE / 2
        right, down = np.meshgrid(grid - shift[0], grid - shift[1])
        cm = TEXTURE / SIZE / scale / k
        u = (right * np.cos(roll) + down * np.sin(roll)) * cm + (TEXTURE / 2 - rig.x0) / k
        v = (right * np.sin(roll) - down * np.cos(roll)) * cm - (TEXTURE / 2 - rig.y0) / k
        x, y = u, v
        texel = TEXTURE / len(self.depth_HW)
        for _ in range(3):
            column = ((x * k + rig.x0) / texel - 0.4).astype(np.float32)
            row = ((rig.y0 - y * k) / texel - 0.4).astype(np.float32)
            depth = cv2.remap(self.depth_HW, column, row, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
            x = (u - depth * np.sin(yaw)) / np.cos(yaw)
            y = (v - (depth - 2) * np.sin(pitch)) / np.cos(pitch)
        map_x, map_y = (x * k + rig.x0).astype(np.float32), (rig.y0 - y * k).astype(np.float32)
        return cv2.resize(map_x, (SIZE, SIZE)), cv2.resize(map_y, (SIZE, SIZE))  # bilinear
