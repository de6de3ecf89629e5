"""Draw objects held before the mouth: a mug, a microphone, a telephone, a book."""

import cv2
import numpy as np

from avspeech.faults.sprites import Sheet, Sprite, draw_light, edge, lay_over, lit
from avspeech.noise.exact_noise import ExactDraws

_GLAZES = ((222, 216, 205), (46, 84, 134), (160, 46, 44), (58, 112, 84), (38, 38, 42), (204, 148, 52))
_CASES = ((30, 31, 36), (66, 70, 80), (196, 192, 188), (52, 66, 96), (120, 60, 66))
_COVERS = ((44, 62, 110), (128, 36, 40), (40, 88, 72), (190, 160, 110), (70, 60, 84), (214, 206, 190))


def draw_object(draws: ExactDraws) -> Sprite:
    """Return one of the objects, equally likely, with random colour and light."""
    return draws.pick((_mug, _microphone, _telephone, _book))(draws)


def _flat(sheet: Sheet, colour: tuple[float, ...]) -> np.ndarray:
    return np.broadcast_to(np.asarray(colour, np.float32), (*sheet.x_HW.shape, 3)).copy()


def _mug(draws: ExactDraws) -> Sprite:
    """Draw a mug, 8 cm wide, from slightly above; handle side and pattern are random."""
    sheet, light = Sheet(-8.5, -6.5, 8.5, 6.5), draw_light(draws)
    hand = draws.side()
    x_HW, y_HW = sheet.x_HW * hand, sheet.y_HW
    across_HW = np.clip(x_HW / 4, -1, 1)
    bulge_HW = np.sqrt(1 - across_HW**2)  # of the round rim and foot, seen from above
    height_HW = np.maximum(-y_HW - 4.7 - 0.65 * bulge_HW, y_HW - 4.1 - 0.65 * bulge_HW)
    body_HW = edge(np.maximum(np.abs(x_HW) - 4, height_HW))
    ring_HW = (np.hypot((x_HW - 3.9) / 2.5, y_HW / 2.9) - 1) * 2.5
    handle_HW = edge(np.abs(ring_HW) - 0.5) * (x_HW > 3.7)
    colour_HWC = _flat(sheet, draws.pick(_GLAZES))
    level_HW = y_HW - 0.65 * bulge_HW
    pattern, mark = draws.below(3), draws.pick(_GLAZES)
    if pattern == 0:
        lay_over(colour_HWC, mark, edge(0.5 * np.abs(np.mod(level_HW, 2.4) - 1.2) - 0.25) * (np.abs(level_HW) < 3))
    elif pattern == 1:
        lay_over(colour_HWC, mark, edge(np.hypot(4 * np.arcsin(across_HW), level_HW) - 2.2))
    colour_HWC *= (1 + 0.02 * sheet.mottle(draws, 0.3))[..., None]
    bright_HW = lit(across_HW, 0.1 * across_HW, light, 0.3)
    tube_HW = lit(np.clip(ring_HW / 0.5, -1, 1) * 0.8, 0 * ring_HW, light, 0.3)
    colour_HWC *= np.where(body_HW > 0.5, bright_HW, tube_HW)[..., None]
    shine = -0.5 if light[0] * hand < 0 else 0.5
    colour_HWC += (80 * np.exp(-(((across_HW - shine) / 0.1) ** 2)) * (body_HW > 0.5))[..., None]
    rim_HW = np.hypot(x_HW / 4, (y_HW + 4.7) / 0.65)
    lay_over(colour_HWC, np.clip(colour_HWC * 1.25 + 15, 0, 255), edge((rim_HW - 1) * 0.65))
    drink_HW = edge((np.hypot(x_HW / 3.65, (y_HW + 4.65) / 0.48) - 1) * 0.48)
    lay_over(colour_HWC, (58, 38, 28), drink_HW)
    return sheet.sprite(colour_HWC, np.maximum(body_HW, handle_HW))


def _microphone(draws: ExactDraws) -> Sprite:
    """Draw a microphone: a 6 cm head of wire mesh or coloured foam on a dark handle."""
    sheet, light = Sheet(-4.5, -4.5, 4.5, 24), draw_light(draws)
    x_HW, y_HW = sheet.x_HW, sheet.y_HW
    head_HW = edge((np.hypot(x_HW / 3.0, y_HW / 3.2) - 1) * 3.0)
    normal_x_HW, normal_y_HW = np.clip(x_HW / 3.0, -1, 1), np.clip(y_HW / 3.2, -1, 1)
    longer_HW = np.maximum(np.hypot(normal_x_HW, normal_y_HW), 1)
    ball_HW = lit(normal_x_HW / longer_HW, normal_y_HW / longer_HW, light, 0.2)
    if draws.below(2):
        round_x_HW, round_y_HW = np.arcsin(normal_x_HW), np.arcsin(normal_y_HW)  # the mesh follows the ball
        weave_HW = np.sin(24 * (round_x_HW + round_y_HW)) * np.sin(24 * (round_x_HW - round_y_HW))
        colour_HWC = np.repeat((105 + 75 * weave_HW)[..., None], 3, axis=2) * (1.25 * ball_HW)[..., None]
    else:
        foam = draws.pick(((34, 34, 38), (150, 34, 36), (36, 62, 130), (200, 150, 40)))
        colour_HWC = _flat(sheet, foam) * (ball_HW * (1 + 0.16 * sheet.mottle(draws, 0.14)))[..., None]
    half_width_HW = 1.95 - 0.035 * y_HW
    tube_HW = edge(np.maximum(np.abs(x_HW) - half_width_HW, 2.3 - y_HW))
    metal_HW = lit(np.clip(x_HW / half_width_HW, -1, 1), 0 * x_HW, light, 0.15)
    metal_HW = metal_HW + 0.5 * np.exp(-(((x_HW / half_width_HW + 0.4) / 0.12) ** 2))
    lay_over(colour_HWC, _flat(sheet, (62, 62, 66)) * metal_HW[..., None], tube_HW * (1 - head_HW))
    collar_HW = edge(sheet.box(0, 3.1, 2.2, 0.55, 0.2))
    lay_over(colour_HWC, _flat(sheet, (185, 185, 190)) * metal_HW[..., None], collar_HW)
    switch_HW = edge(sheet.box(0, 9.0, 0.4, 1.0, 0.2))
    lay_over(colour_HWC, (150, 150, 150), switch_HW)
    return sheet.sprite(colour_HWC, np.maximum(np.maximum(head_HW, tube_HW), collar_HW))


def _telephone(draws: ExactDraws) -> Sprite:
    """Draw the back of a telephone, 7.4 by 15 cm, with cameras and a reflection."""
    sheet = Sheet(-5.5, -6.5, 5.5, 12.0)
    slab_HW = sheet.box(0, 2.5, 3.7, 7.6, 0.9)
    base = np.asarray(draws.pick(_CASES), np.float32)
    slope_HW = (sheet.x_HW * draws.uniform(-1, 1) + sheet.y_HW * 0.5) / 8
    colour_HWC = base * (1 + 0.25 * slope_HW)[..., None]
    sheen_HW = np.exp(-(((sheet.x_HW * 0.8 + sheet.y_HW * 0.6 - draws.uniform(-3, 3)) / 1.3) ** 2))
    colour_HWC = colour_HWC + (46 * sheen_HW)[..., None]
    lay_over(colour_HWC, base * 0.45 + 110, edge(np.abs(slab_HW + 0.12) - 0.1))
    side = draws.side()
    bump_HW = sheet.box(side * 1.75, -3.1, 1.6, 1.6, 0.6)
    lay_over(colour_HWC, base * 0.8 + 12, edge(bump_HW))
    lay_over(colour_HWC, base * 0.4 + 90, edge(np.abs(bump_HW) - 0.06))
    for dx, dy in ((-0.7, -0.7), (-0.7, 0.75), (0.75, 0.0)):
        x, y = side * (1.75 + dx), -3.1 + dy
        lay_over(colour_HWC, (12, 12, 16), edge(sheet.disc(x, y, 0.58)))
        lay_over(colour_HWC, (52, 58, 84), edge(sheet.disc(x, y, 0.33)))
        lay_over(colour_HWC, (235, 235, 245), edge(sheet.disc(x - 0.15, y - 0.15, 0.1)))
    lay_over(colour_HWC, base * 0.5 + 80, 0.8 * edge(sheet.disc(0, 2.5, 0.85)))
    return sheet.sprite(colour_HWC, edge(slab_HW))


def _book(draws: ExactDraws) -> Sprite:
    """Draw a paperback, 13 by 20 cm."""
    sheet = Sheet(-8.0, -6.5, 8.0, 16.5)
    cover_HW = sheet.box(0, 5.0, 6.6, 10.2, 0.2)
    base = np.asarray(draws.pick(_COVERS), np.float32)
    ink = np.asarray((236, 226, 204) if base.mean() < 140 else (46, 40, 40), np.float32)
    mottle_HW = 1 + 0.025 * sheet.mottle(draws, 0.25) + 0.05 * sheet.mottle(draws, 3)
    colour_HWC = _flat(sheet, tuple(base)) * mottle_HW[..., None]
    y = -3.6
    for _ in range(draws.between(2, 3)):  # the title, in letters too small to read
        half_width = draws.uniform(2.6, 5.0)
        line_HW = edge(sheet.box(0, y, half_width, 0.48, 0.1))
        letters_HW = np.sin(sheet.x_HW * 9 + 2 * np.sin(sheet.x_HW * 2.3 + y)) > -0.55
        lay_over(colour_HWC, ink, line_HW * letters_HW)
        y += 1.7
    frame_HW = sheet.box(0, y + 4.2, 4.6, 3.8, 0.3)
    picture_HWC = _flat(sheet, draws.pick(_COVERS)) * (1 + 0.35 * sheet.mottle(draws, 1.1))[..., None]
    lay_over(colour_HWC, picture_HWC, edge(frame_HW))
    lay_over(colour_HWC, ink, edge(np.abs(frame_HW) - 0.1))
    colour_HWC *= (1 - 0.35 * np.exp(-(((sheet.x_HW + 5.7) / 0.3) ** 2)))[..., None]
    colour_HWC *= (0.92 + 0.16 * (sheet.x_HW + 6.6) / 13.2)[..., None]
    lay_over(colour_HWC, base * 0.5 + 110, 0.6 * edge(np.abs(cover_HW + 0.1) - 0.08))
    return sheet.sprite(cv2.GaussianBlur(colour_HWC, (0, 0), 0.7), edge(cover_HW))
