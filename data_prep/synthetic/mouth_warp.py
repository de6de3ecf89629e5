"""Move a painted mouth: one warp of the region between nose and chin, and the inside of the mouth.

Horizontally, pixels near the mouth scale with its width. Vertically, each column is piecewise linear between six
heights: nose, upper edge, seam (split when the mouth opens), lower edge, chin, bottom of the region. The gap shows
cavity, tongue, lower teeth (they move with the jaw) and upper teeth.
"""

from itertools import pairwise

import cv2
import numpy as np

from data_prep.synthetic.rig import TEXTURE, Rig

CAVITY = np.array((46, 16, 18), np.float32)
TONGUE = np.array((178, 86, 90), np.float32)


def _soft_step(value_cm: np.ndarray, px_per_cm: float) -> np.ndarray:
    return np.clip(value_cm * px_per_cm + 0.5, 0, 1)


class MouthWarp:
    """Draws one speaker's mouth; ``region`` is the part of the texture that it replaces."""

    def __init__(self, rig: Rig) -> None:
        self.rig, shape, lips = rig, rig.shape, rig.shape.lips
        k = self.k = rig.px_per_cm
        left, right = int(rig.x0 + k * (lips.centre_x - 6.6)), int(rig.x0 + k * (lips.centre_x + 6.6))
        top, bottom = int(rig.y0 - k * (shape.nose_y + 0.1)), int(rig.y0 - k * (shape.chin_y - 2.2))
        left, right, bottom = max(0, left), min(TEXTURE, right), min(TEXTURE, bottom)
        self.region = (slice(top, bottom), slice(left, right))
        self.x_W = ((np.arange(left, right) - rig.x0) / k - lips.centre_x).astype(np.float32)  # from the lips' middle
        self.y_H1 = (-(np.arange(top, bottom) - rig.y0) / k).astype(np.float32)[:, None]
        self.middle_y = float(lips.upper_U[48] + lips.lower_U[48]) / 2
        self.bottom_y = float(self.y_H1[-1, 0])
        reach_HW = np.exp(-((self.x_W / 2.9) ** 4) - ((self.y_H1 - self.middle_y) / 2.1) ** 2)
        below_nose_H1 = 1 / (1 + np.exp(-6 * (shape.nose_y - 0.15 - self.y_H1)))
        self.reach_HW = (reach_HW * below_nose_H1).astype(np.float32)  # where the mouth's width is felt
        # how far the jaw takes the skin
        self.jaw_W = np.cos(np.clip(self.x_W / 6.4, -1, 1) * np.pi / 2).clip(0, 1) ** 0.8

    def draw(self, head_HWC: np.ndarray, mouth_F: np.ndarray) -> tuple[np.ndarray, float]:
        """Return the moved region, (h, w, 4) uint8, and the gap's height in cm; ``mouth_F`` as in ``MOUTH``."""
        opened, width, thick, press, lift, _, _, _, jaw, tuck = (float(value) for value in mouth_F)
        lips, shape = self.rig.shape.lips, self.rig.shape
        half_width = lips.half_width * width
        u_W = np.clip(self.x_W / half_width, -1, 1)
        curves = (lips.upper_U, lips.seam_U, lips.lower_U)
        upper_W, seam_W, lower_W = (np.interp(u_W, lips.u_U, curve_U) for curve_U in curves)
        arch_W = np.sqrt(1 - u_W**2) * (1 - 0.25 * np.clip(width - 0.85, 0, 0.4) * (1 - np.abs(u_W)))
        top_W = seam_W + (opened * (0.30 + lift) + 0.28 * tuck) * arch_W  # edges of the gap
        low_W = np.minimum(seam_W - (opened * (0.70 - lift) - 0.10 * tuck) * arch_W, top_W)
        upper_to_W = np.minimum(top_W + (upper_W - seam_W) * thick * (1 - 0.55 * press), shape.nose_y - 0.15)
        chin_to_W = np.maximum(shape.chin_y - jaw * self.jaw_W, self.bottom_y + 0.3)
        pout = 1 - 0.35 * max(0.0, 1 - width)  # a round mouth whose lower lip kept its height looks like a tongue
        lower_to_W = low_W - (seam_W - lower_W) * thick * pout * (1 - 0.45 * press - 0.35 * tuck)
        lower_to_W = np.maximum(lower_to_W, chin_to_W + 0.5)
        source_y_HW = self._source_y(
            (np.full_like(top_W, shape.nose_y), upper_to_W, top_W, low_W, lower_to_W, chin_to_W),
            (shape.nose_y, upper_W, seam_W, seam_W, lower_W, shape.chin_y),
        )
        source_x_HW = self.x_W * (1 + (1 / width - 1) * self.reach_HW) + lips.centre_x
        column_HW = (source_x_HW * self.k + self.rig.x0).astype(np.float32)
        row_HW = (self.rig.y0 - source_y_HW * self.k).astype(np.float32)
        patch_HWC = cv2.remap(head_HWC, column_HW, row_HW, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        gap = float((top_W - low_W).max())
        if gap > 0.02:
            self._fill_gap(patch_HWC, top_W, low_W, half_width, mouth_F)
        return patch_HWC, gap

    def _source_y(self, to: tuple[np.ndarray, ...], of: tuple) -> np.ndarray:
        """Return the source height of each pixel in cm, piecewise linear in each column.

        ``to`` are the target heights from the nose down, ``of`` those in the texture. The function is its first line
        plus, at each knot, the change of slope times the distance beyond; two such functions meet in the gap.
        """
        knots = list(zip((*to, self.bottom_y), (*of, self.bottom_y), strict=True))
        slopes = [
            ((high_of - down_of) / np.maximum(high - down, 1e-3)).astype(np.float32)
            for place, ((high, high_of), (down, down_of)) in enumerate(pairwise(knots))
            if place != 2  # the gap
        ]
        (_, upper, top, low, lower, chin), (_, upper_of, top_of, low_of, lower_of, _) = to, of
        upper, low, lower, chin = (np.asarray(knot, np.float32) for knot in (upper, low, lower, chin))
        above_HW = upper_of.astype(np.float32) + slopes[0] * (self.y_H1 - upper)
        above_HW += (slopes[1] - slopes[0]) * np.minimum(self.y_H1 - upper, 0)
        np.maximum(above_HW, (top_of + 0.02).astype(np.float32), out=above_HW)  # in the gap: the lip's edge
        below_HW = lower_of.astype(np.float32) + slopes[2] * np.maximum(self.y_H1 - lower, 0)
        under_HW = np.minimum(self.y_H1 - lower, 0)
        below_HW += slopes[3] * under_HW + (slopes[4] - slopes[3]) * np.minimum(self.y_H1 - chin, 0)
        np.minimum(below_HW, (low_of - 0.02).astype(np.float32), out=below_HW)
        return np.where(self.y_H1 > ((top + low) / 2).astype(np.float32), above_HW, below_HW)

    def _fill_gap(
        self, patch_HWC: np.ndarray, top_W: np.ndarray, low_W: np.ndarray, half_width: float, mouth_F: np.ndarray
    ) -> None:
        """Composite the inside of the mouth over the gap, in place."""
        _, width, _, _, lift, upper_teeth, lower_teeth, tongue, jaw, _ = (float(value) for value in mouth_F)
        columns = np.flatnonzero(top_W > low_W)
        columns = slice(columns[0], columns[-1] + 1)
        rows = np.flatnonzero((self.y_H1[:, 0] < top_W.max() + 0.15) & (self.y_H1[:, 0] > low_W.min() - 0.15))
        rows = slice(rows[0], rows[-1] + 1)
        x_W, y_H1, top_W, low_W = self.x_W[columns], self.y_H1[rows], top_W[columns], low_W[columns]
        k, light, drop = self.k, self.rig.look.ambient + 0.5 * (1 - self.rig.look.ambient), 0.95 * jaw
        arch = self.rig.shape.lips.half_width / 2.46  # size of the dental arch
        colour_HWC = np.empty((len(y_H1), len(x_W), 3), np.float32)
        colour_HWC[:] = CAVITY * light

        def cover(colour: np.ndarray, opacity_HW: np.ndarray) -> None:
            np.add(colour_HWC, opacity_HW[..., None] * (colour - colour_HWC), out=colour_HWC)

        def teeth(edge_W: np.ndarray, half: float, downwards: int, shown: float, tooth: float, shade: float) -> None:
            inside_W = _soft_step(half - np.abs(x_W), k)
            gaps_W = np.where(np.abs(np.mod(x_W / tooth + 0.5, 1) - 0.5) < 0.045, 0.82, 1.0)
            body_HW = _soft_step(downwards * (edge_W - y_H1), k) * (inside_W * shown)
            cover(self.rig.teeth * (shade * gaps_W)[:, None], body_HW)

        tongue_y = self.middle_y - 1.30 - 0.85 * drop + tongue * (0.55 + 0.75 * drop)
        tongue_HW = 4 * (1 - (x_W / (1.5 * min(1, width + 0.1))) ** 2 - ((y_H1 - tongue_y) / 0.8) ** 2)
        cover(TONGUE * light * (0.62 + 0.35 * min(tongue, 1)), np.clip(tongue_HW, 0, 1))
        lower_edge_W = self.middle_y - 0.35 - 0.9 * drop + 0.12 * (1 - (x_W / 1.9) ** 2)
        if lower_teeth > 0:
            teeth(lower_edge_W, 1.75 * arch, 1, lower_teeth, 0.52, 0.82)
        upper_edge_W = self.middle_y - 0.02 - 0.16 * (x_W / 1.9) ** 2 + 0.05 * lift
        if upper_teeth > 0:
            teeth(upper_edge_W, 2.05 * arch, -1, upper_teeth, self.rig.tooth_width, 1.0)
        if tongue > 1.05:  # between the teeth
            tip_HW = 5 * (1 - (x_W / 1.25) ** 2 - ((y_H1 - upper_edge_W + 0.25) / 0.42) ** 2)
            cover(TONGUE * light, np.clip(tip_HW, 0, 1) * min(1.0, 3 * (tongue - 1.05)))
        shadow_HW = 0.35 + 0.65 * np.clip((top_W - y_H1) / 0.35, 0, 1)  # of the upper lip, and towards the corners
        colour_HWC *= (shadow_HW * (1 - 0.45 * (x_W / half_width) ** 2))[..., None]
        opacity_HW = _soft_step(np.minimum(top_W - y_H1, y_H1 - low_W), k)
        lips_HWC = patch_HWC[rows, columns, :3]
        blended_HWC = lips_HWC + opacity_HW[..., None] * (colour_HWC - lips_HWC)
        lips_HWC[:] = np.clip(blended_HWC, 0, 255)
