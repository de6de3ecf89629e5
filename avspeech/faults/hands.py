"""Draw the back of a hand with shaded fingers, in several skin tones."""

import cv2
import numpy as np

from avspeech.faults.sprites import PIXELS_PER_CM, Sheet, Sprite, draw_light, edge, lay_over, lit
from avspeech.noise.exact_noise import ExactDraws

_SKINS = (
    (246, 218, 198), (238, 200, 172), (226, 184, 150), (206, 158, 124), (178, 130, 96), (148, 102, 74),
    (116, 78, 56), (86, 58, 44), (62, 42, 34),
)  # fmt: skip
_SLEEVES = ((40, 44, 60), (110, 112, 116), (196, 190, 180), (96, 40, 44), (52, 76, 62))
_KNUCKLES = ((-3.15, 0.5), (-1.1, 0.0), (0.95, 0.25), (2.85, 1.0))  # of the four fingers, in cm from the middle one's
_LENGTHS = (8.2, 9.1, 8.5, 6.7)
_RADII = (1.02, 1.06, 1.0, 0.88)
_JOINTS = (0.0, 0.47, 0.76, 1.0)  # of a finger, as shares of its length from the knuckle


class _Body:
    """Height map in cm over the sheet, made of rounded bones."""

    def __init__(self, sheet: Sheet) -> None:
        self.sheet = sheet
        self.height_HW = np.zeros_like(sheet.x_HW)
        self.distance_HW = np.full_like(sheet.x_HW, 99)
        self.tint_HW = np.ones_like(sheet.x_HW)
        self.nails: list[tuple[np.ndarray, np.ndarray, float]] = []

    def add(self, start: np.ndarray, end: np.ndarray, radii: tuple[float, float], lift: float = 0.0) -> None:
        """Add a tapered round bone, ``lift`` cm above the sheet."""
        bone = end - start
        near = self.sheet.part(np.minimum(start, end) - max(radii), np.maximum(start, end) + max(radii))
        x_HW, y_HW = self.sheet.x_HW[near] - np.float32(start[0]), self.sheet.y_HW[near] - np.float32(start[1])
        along_HW = np.clip((x_HW * np.float32(bone[0]) + y_HW * np.float32(bone[1])) / np.float32(bone @ bone), 0, 1)
        off_HW = np.hypot(x_HW - along_HW * np.float32(bone[0]), y_HW - along_HW * np.float32(bone[1]))
        radius_HW = np.float32(radii[0]) + along_HW * np.float32(radii[1] - radii[0])
        round_HW = np.sqrt(np.maximum(radius_HW**2 - off_HW**2, 0)) + np.float32(lift) * (off_HW < radius_HW)
        self.height_HW[near] = np.maximum(self.height_HW[near], round_HW)
        self.distance_HW[near] = np.minimum(self.distance_HW[near], off_HW - radius_HW)

    def crease(self, place: np.ndarray, along: np.ndarray, reach: float, depth: float) -> None:
        """Darken folds of skin across a finger at a joint."""
        near = self.sheet.part(place - 2.0, place + 2.0)
        x_HW, y_HW = self.sheet.x_HW[near] - np.float32(place[0]), self.sheet.y_HW[near] - np.float32(place[1])
        lengthwise_HW = x_HW * np.float32(along[0]) + y_HW * np.float32(along[1])
        crosswise_HW = y_HW * np.float32(along[0]) - x_HW * np.float32(along[1])
        near_HW = np.exp(-((crosswise_HW / reach) ** 2) - (lengthwise_HW / 0.45) ** 2)
        self.tint_HW[near] -= np.float32(depth) * near_HW * (0.5 + 0.5 * np.cos(lengthwise_HW * 17 - crosswise_HW**2))

    def painted(self, skin: np.ndarray, light: np.ndarray, wrist_y: float, draws: ExactDraws) -> np.ndarray:
        height_HW = cv2.GaussianBlur(self.height_HW, (0, 0), 0.12 * PIXELS_PER_CM)
        slope_y_HW, slope_x_HW = np.gradient(height_HW * np.float32(PIXELS_PER_CM))
        steep_HW = np.sqrt(1 + slope_x_HW**2 + slope_y_HW**2)
        bright_HW = lit(-slope_x_HW / steep_HW, -slope_y_HW / steep_HW, light)
        valley_HW = cv2.GaussianBlur(height_HW, (0, 0), 0.5 * PIXELS_PER_CM) - height_HW
        bright_HW *= 1 - 0.55 * np.clip(valley_HW, 0, 1)  # shadow between the fingers
        mottled_HW = 1 + 0.03 * self.sheet.mottle(draws, 0.9) + 0.015 * self.sheet.mottle(draws, 0.12)
        colour_HWC = skin * (bright_HW * self.tint_HW * mottled_HW)[..., None]
        for tip, along, size in self.nails:
            near = self.sheet.part(tip - 1.5, tip + 1.5)
            x_HW, y_HW = self.sheet.x_HW[near] - np.float32(tip[0]), self.sheet.y_HW[near] - np.float32(tip[1])
            lengthwise_HW = x_HW * along[0] + y_HW * along[1]
            crosswise_HW = y_HW * along[0] - x_HW * along[1]
            nail_HW = edge((np.hypot(crosswise_HW / size, lengthwise_HW / (1.25 * size)) - 1) * size)
            shine_HW = np.exp(-(((crosswise_HW + 0.2) / 0.15) ** 2))
            pink = 0.55 * skin + np.array((110, 86, 82), np.float32)
            lay_over(colour_HWC[near], pink * (0.86 * bright_HW[near] + 0.14 * shine_HW)[..., None], 0.8 * nail_HW)
        sleeve = np.asarray(draws.pick(_SLEEVES), np.float32)
        cuff_HW = edge(wrist_y + draws.uniform(2.0, 6.0) + 0.35 * np.cos(self.sheet.x_HW * 0.8) - self.sheet.y_HW)
        folds_HW = 1 + 0.12 * self.sheet.mottle(draws, 1.5) + 0.05 * self.sheet.mottle(draws, 0.15)
        lay_over(colour_HWC, sleeve * (bright_HW * folds_HW)[..., None], cuff_HW)
        return colour_HWC


def draw_hand(draws: ExactDraws) -> Sprite:
    """Return a hand with its forearm, fingers up; side, spread and skin tone are random."""
    sheet, light = Sheet(-8.0, -9.5, 8.0, 34.0), draw_light(draws)
    mirror = draws.side()
    spread = draws.uniform(0.0, 0.8)
    skin = np.asarray(draws.pick(_SKINS), np.float32)
    body = _Body(sheet)
    shift = np.array([0.0, 1.2])  # the lower half of the fingers covers the mouth
    wrist = np.array([0.0, 9.3]) + shift
    body.add(wrist, wrist + np.array([draws.uniform(-1, 1), 25]), (2.75, 3.9), -1.0)
    for number, (knuckle, length, radius) in enumerate(zip(_KNUCKLES, _LENGTHS, _RADII, strict=True)):
        start = (np.array(knuckle) + shift) * (mirror, 1)
        heel = wrist + np.array([mirror * (number - 1.5) * 1.05, -0.4])
        body.add(heel, start, (1.55, 1.25), -0.25)
        turn = mirror * ((number - 1.4) * 0.055 * (0.3 + spread) + draws.uniform(-0.02, 0.02))
        bend = draws.uniform(-0.02, 0.02)
        place = start
        for joint in range(3):
            along = np.array([np.sin(turn), -np.cos(turn)])
            end = place + along * length * (_JOINTS[joint + 1] - _JOINTS[joint])
            thick = (radius * (1.04 - 0.1 * joint), radius * (0.94 - 0.1 * joint))
            body.add(place, end, thick, 0.1)
            body.crease(end if joint < 2 else start, along, 0.8 * radius, 0.22 if joint < 2 else 0.1)
            place, turn = end, turn + bend
        body.nails.append((place, along, 0.62 * radius))
    thumb = [np.array(point) * (mirror, 1) + shift for point in ((-2.2, 7.4), (-4.6, 4.6), (-5.3, 1.9), (-5.0, -0.3))]
    for start, end, radii in zip(thumb, thumb[1:], ((1.7, 1.3), (1.25, 1.1), (1.12, 0.95)), strict=False):
        body.add(start, end, radii)
    direction = (thumb[-1] - thumb[-2]) / np.hypot(*(thumb[-1] - thumb[-2]))
    body.crease(thumb[-2], direction, 0.9, 0.2)
    body.nails.append((thumb[-1], direction, 0.66))
    return sheet.sprite(body.painted(skin, light, wrist[1], draws), edge(body.distance_HW))
