"""A speaker's face, painted once for animation: head textures, matte, depth, still background."""

from dataclasses import dataclass

import cv2
import numpy as np

from data_prep.synthetic.canonical_mesh import FACE_OVAL
from data_prep.synthetic.canvas import Canvas, ellipse, paint, smooth_closed
from data_prep.synthetic.face_paint import lamp, paint_eyes, paint_face
from data_prep.synthetic.face_shape import FaceShape, draw_shape
from data_prep.synthetic.look import Look, draw_look
from data_prep.synthetic.relief import HEAD, relief

SIZE = 224
"""Height and width of output frames."""
TEXTURE = 292
"""Height and width of the head texture; finer than the frame, because it is resampled twice."""
EYES_OPEN = (1.0, 0.45, 0.04)
"""Eye openings with a texture each, for blinks."""


@dataclass(frozen=True)
class Rig:
    """Static parts of every frame of a speaker."""

    shape: FaceShape
    look: Look
    px_per_cm: float
    """Scale of the texture."""
    x0: float
    """Texture column of x = 0 cm."""
    y0: float
    """Texture row of y = 0 cm."""
    heads: tuple[np.ndarray, ...]
    """(TEXTURE, TEXTURE, 4) uint8, RGB and opacity, for each of ``EYES_OPEN``."""
    depth_HW: np.ndarray
    """(TEXTURE, TEXTURE) float32, cm towards the camera."""
    behind_HWC: np.ndarray
    """(SIZE, SIZE, 3) uint8: background, hair behind the head, neck, clothes."""
    teeth: np.ndarray
    """RGB, lit."""
    tooth_width: float
    """Width of an incisor, cm."""


def build_rig(seed: int, sex: str) -> Rig:
    """Paint the face of a seed; ``sex`` is "male" or "female"."""
    rng = np.random.default_rng(seed)
    shape, look = draw_shape(rng), draw_look(rng, sex)
    px_per_cm = rng.uniform(8.2, 9.2) * TEXTURE / SIZE
    x0, y0 = TEXTURE / 2 + rng.uniform(-6, 6), TEXTURE / 2 + rng.uniform(-4, 4)
    canvas = Canvas(TEXTURE, px_per_cm, x0, y0)
    normal_HWC, depth_HW = relief(shape, canvas)
    bright_HW, shiny_HW = lamp(look, normal_HWC, canvas)
    face_HWC = paint_face(shape, look, canvas, normal_HWC, rng)
    cranium_HW = canvas.mask(ellipse(0, 2.6, HEAD[0] * shape.width, 7.6), 0.1)
    skull_HW = np.maximum(canvas.mask(smooth_closed(shape.vertices[list(FACE_OVAL)]), 0.1), cranium_HW)
    both = (canvas.mask(ellipse(side * 7.75 * shape.width, 0.5, 0.85, 1.9), 0.1) for side in (-1, 1))
    solid_HW = np.maximum(skull_HW, np.maximum(*both))
    ears_HW = solid_HW * (1 - skull_HW)
    hair_HW, hang_HW = _hair_masks(shape, look, canvas, skull_HW, ears_HW, rng)
    strands_HWC = _strands(look, canvas, bright_HW, shiny_HW, rng)
    opacity_HW = np.maximum(solid_HW, hair_HW)
    heads = []
    for opened in EYES_OPEN:
        head_HWC = paint_eyes(face_HWC, shape, look, canvas, float(bright_HW.mean()), opened)
        paint(head_HWC, look.skin * (0.78 * bright_HW)[..., None], ears_HW)
        paint(head_HWC, strands_HWC, hair_HW)
        heads.append(np.dstack([np.clip(head_HWC, 0, 255), 255 * opacity_HW]).astype(np.uint8))
    behind_HWC = _behind(shape, look, canvas, hang_HW, strands_HWC, rng)
    behind_HWC = cv2.resize(np.clip(behind_HWC, 0, 255).astype(np.uint8), (SIZE, SIZE), interpolation=cv2.INTER_AREA)
    teeth = (np.array((236, 228, 212)) * rng.uniform(0.85, 1.0) * (0.3 * look.ambient + 0.68)).astype(np.float32)
    return Rig(shape, look, px_per_cm, x0, y0, tuple(heads), depth_HW, behind_HWC, teeth, rng.uniform(0.7, 0.9))


def _hair_masks(
    shape: FaceShape, look: Look, canvas: Canvas, skull_HW: np.ndarray, ears_HW: np.ndarray, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Return opacities of hair that moves with the head, and of hair behind it."""
    nothing_HW = np.zeros_like(skull_HW)
    if look.style == "bald":
        return nothing_HW, nothing_HW
    x, y = canvas.x_HW, canvas.y_HW
    wide, high = (0.15, 0.3) if look.style == "buzz" else (rng.uniform(0.2, 0.7), rng.uniform(0.6, 1.7))
    radius = HEAD[0] * shape.width + wide
    outline_HW = canvas.mask(ellipse(0, 2.8, radius, 7.5 + high), 0.15)
    covers_ears = look.style in ("long", "bob")
    low_y = {"long": -11.0, "bob": -5.5}.get(look.style, 0.3)  # how far down the sides go
    slant = rng.choice((-1, 1)) * (0.16 if look.style in ("swept", "long", "bob") else 0.03)
    hairline_HW = look.hairline - 0.055 * x**2 * rng.uniform(0.3, 1.0) + slant * x + 0.12 * canvas.noise(rng, 0.7)
    front_HW = np.clip(0.5 + 1.1 * (y - hairline_HW), 0, 1)
    temples_HW = np.clip(1.2 * (np.abs(x) - 6.9 * shape.width + 0.1 * canvas.noise(rng, 0.6, tall=3)), 0, 1)
    above_HW = np.clip((y - low_y) / 0.8, 0, 1)
    hair_HW = np.maximum(front_HW, temples_HW * above_HW) * np.maximum(skull_HW, outline_HW)
    beyond_HW = outline_HW * (1 - skull_HW) * above_HW * (1 if covers_ears else 1 - ears_HW)
    hair_HW = np.maximum(hair_HW, beyond_HW) * (0.75 if look.style == "buzz" else 1.0)
    if not covers_ears:
        return hair_HW, nothing_HW
    half = np.array([(0.94 * radius, 5.5), (radius + 0.3, -1), (radius + 0.2, low_y + 1), (5, low_y)])
    curtain_HW = canvas.mask(smooth_closed(np.concatenate([half, half[::-1] * (-1, 1)])), 0.25)
    return np.maximum(hair_HW, curtain_HW * temples_HW), curtain_HW


def _strands(
    look: Look, canvas: Canvas, bright_HW: np.ndarray, shiny_HW: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    """Return lit hair everywhere, (H, W, 3): strands fan out downwards from the crown."""
    fan_HW = canvas.x_HW * (1 - 0.035 * (canvas.y_HW - 2)) + 0.25 * canvas.noise(rng, 2.0)
    waves_HW = 0.05 * np.sin(7 * fan_HW) + 0.05 * np.sin(17 * fan_HW + 2 * canvas.noise(rng, 3.0))
    strands_HW = 1 + waves_HW + 0.10 * canvas.noise(rng, 0.14, tall=12) + 0.06 * canvas.noise(rng, 1.5, tall=3)
    sheen_HW = (14 + 0.16 * float(look.hair.mean())) * shiny_HW * np.clip(strands_HW, 0, 2)
    return look.hair * (strands_HW * bright_HW)[..., None] + sheen_HW[..., None]


def _behind(
    shape: FaceShape, look: Look, canvas: Canvas, hang_HW: np.ndarray, strands_HWC: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    """Return the still picture behind the head, (H, W, 3)."""
    slope_x, slope_y = rng.uniform(-2.5, 2.5, 2)
    wall_HW = 10 * canvas.noise(rng, canvas.size / 3 / canvas.px_per_cm) + slope_x * canvas.x_HW + slope_y * canvas.y_HW
    picture_HWC = look.background + wall_HW[..., None]
    for _ in range(rng.integers(0, 4)):  # furniture
        left, top = rng.integers(0, canvas.size, 2)
        width, height = rng.integers(20, 110, 2)
        colour = look.background * rng.uniform(0.55, 1.3) + rng.uniform(-18, 18, 3)
        corner = (int(left + width), int(top + height))
        cv2.rectangle(picture_HWC, (int(left), int(top)), corner, colour.tolist(), -1)
    picture_HWC = cv2.GaussianBlur(picture_HWC, (0, 0), rng.uniform(2, 7))
    paint(picture_HWC, strands_HWC * 0.65, hang_HW)
    half_neck = np.array([(4.6 * shape.width, -5), (4.4 * shape.width, -10.5), (6, -13)])
    neck_HW = canvas.mask(np.concatenate([half_neck, half_neck[::-1] * (-1, 1)]), 0.1)
    sideways_HW = np.clip(0.75 - 0.1 * canvas.x_HW * -look.light[0], 0, 1)
    under_chin_HW = 0.6 + 0.25 * np.clip((-9.5 - canvas.y_HW) / 3, 0, 1)
    neck_light_HW = (look.ambient + (1 - look.ambient) * sideways_HW) * under_chin_HW
    paint(picture_HWC, look.skin * neck_light_HW[..., None], neck_HW)
    half_coat = np.array([(0, -13.5), (4.2, -11.2), (9, -12.6), (16, -15), (18, -30)])
    coat_HW = canvas.mask(np.concatenate([half_coat, half_coat[:0:-1] * (-1, 1)]), 0.1)
    cloth_HW = (1 + 0.04 * canvas.noise(rng, 0.3)) * (0.7 + 0.3 * sideways_HW)
    paint(picture_HWC, look.clothes * cloth_HW[..., None], coat_HW)
    return picture_HWC.astype(np.float32)
