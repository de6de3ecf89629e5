"""Paint a face at rest: skin, brows, beard and lips, then light, then open or blinking eyes."""

import numpy as np

from data_prep.synthetic.canonical_mesh import LEFT_BROW, LEFT_EYE, LOWER_OUTER, RIGHT_BROW, RIGHT_EYE, UPPER_OUTER
from data_prep.synthetic.canvas import Canvas, ellipse, paint, smooth_closed
from data_prep.synthetic.face_shape import FaceShape
from data_prep.synthetic.look import Look

SIDES = (-1, 1)


def _dot(vectors_HWC: np.ndarray, vector: np.ndarray) -> np.ndarray:
    return np.einsum("hwc,c->hw", vectors_HWC, vector)  # "@" would start BLAS threads, which spin for seconds


def lamp(look: Look, normal_HWC: np.ndarray, canvas: Canvas) -> tuple[np.ndarray, np.ndarray]:
    """Return brightness (1 is fully lit) and highlight, 0 to 1; both (H, W) float32."""
    diffuse_HW = np.clip(_dot(normal_HWC, look.light), 0, 1)
    bright_HW = look.ambient + (1.12 - look.ambient) * diffuse_HW
    bright_HW = bright_HW * (1 - 0.3 * np.exp(-(((canvas.y_HW + 9.9) / 1.1) ** 2)))  # under the chin
    halfway = look.light + np.array((0, 0, 1), np.float32)
    shiny_HW = np.clip(_dot(normal_HWC, halfway / np.linalg.norm(halfway)), 0, 1) ** 22
    return bright_HW, shiny_HW


def paint_face(
    shape: FaceShape, look: Look, canvas: Canvas, normal_HWC: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    """Return the lit face without eyes, (H, W, 3) float32."""
    face_HWC = _skin(shape, look, canvas, rng)
    lips_HW = _lips(face_HWC, shape, look, canvas, rng)
    bright_HW, shiny_HW = lamp(look, normal_HWC, canvas)
    lower = canvas.blob(0, 0.6 * shape.vertices[17, 1] + 0.4 * shape.vertices[14, 1], 1.1, 0.22) * lips_HW
    highlight_HW = shiny_HW * look.gloss + shiny_HW * lips_HW * 20 + lower * rng.uniform(8, 28)
    face_HWC = face_HWC * bright_HW[..., None] + highlight_HW[..., None]
    lips = shape.lips
    seam = np.stack([lips.centre_x + lips.half_width * lips.u_U, lips.seam_U], -1)
    paint(face_HWC, look.lips * 0.28, 0.75 * canvas.line(seam, 0.09, 0.06))
    return face_HWC


def _skin(shape: FaceShape, look: Look, canvas: Canvas, rng: np.random.Generator) -> np.ndarray:
    skin, width = look.skin, shape.width
    face_HWC = np.empty((canvas.size, canvas.size, 3), np.float32)
    face_HWC[:] = skin
    face_HWC *= (1 + 0.018 * canvas.noise(rng, 1.6) + 0.012 * canvas.noise(rng, 0.18))[..., None]
    flushed = skin * np.array((1.0, 0.8, 0.76), np.float32)
    paint(face_HWC, flushed, 0.25 * canvas.blob(0, -1.2, 1.6, 0.9))
    fold = np.linspace(0, 1, 12)
    for side in SIDES:
        paint(face_HWC, flushed, 0.3 * canvas.blob(side * 4.6 * width, -0.6, 2.2, 2.0))  # cheek
        paint(face_HWC, skin * 0.74, 0.4 * canvas.blob(side * 3.1 * width, 2.6, 2.4, 1.3))  # eye socket
        paint(face_HWC, skin * 0.25, 0.85 * canvas.blob(side * 0.95, -1.75, 0.42, 0.26))  # nostril
        paint(face_HWC, skin * 0.75, 0.45 * canvas.blob(side * 1.75, -1.2, 0.35, 0.8))  # side of the nose
        crease = np.stack([side * (2.0 + 1.3 * fold), -1.6 - 2.2 * fold], -1)  # nose to mouth
        paint(face_HWC, skin * 0.78, 0.35 * canvas.line(crease, 0.18, 0.22))
    paint(face_HWC, skin * 0.85, 0.5 * canvas.blob(0, -2.75, 0.28, 0.55))  # groove above the lip
    paint(face_HWC, skin * 0.8, 0.4 * canvas.blob(0, -6.05, 1.6, 0.35))  # shadow under the lip
    paint(face_HWC, skin * 0.66, 0.5 * canvas.blob(0, -2.25, 1.0, 0.22))  # and under the nose
    if look.beard:
        _beard(face_HWC, look, canvas, rng)
    for brow in (RIGHT_BROW, LEFT_BROW):
        cover_HW = canvas.mask(smooth_closed(shape.vertices[list(brow)]) - (0, 0.15), 0.13)
        hairs_HW = np.clip(0.85 + 0.2 * canvas.noise(rng, 0.12), 0, 1)
        paint(face_HWC, look.hair * 0.8, 0.78 * cover_HW * hairs_HW)
    return face_HWC


def _beard(face_HWC: np.ndarray, look: Look, canvas: Canvas, rng: np.random.Generator) -> None:
    across, y = np.abs(canvas.x_HW), canvas.y_HW
    chin_HW = np.clip((-y - 2.7) / 1.5, 0, 1)
    whiskers_HW = np.clip((across - 5.2) / 1.2, 0, 1) * np.clip((0.5 - y) / 2, 0, 1)
    stubble_HW = np.clip(0.7 + 0.3 * canvas.noise(rng, 0.1), 0, 1)
    paint(face_HWC, look.hair, look.beard * np.maximum(chin_HW, whiskers_HW) * stubble_HW)


def _lips(face_HWC: np.ndarray, shape: FaceShape, look: Look, canvas: Canvas, rng: np.random.Generator) -> np.ndarray:
    outline = np.concatenate([shape.vertices[list(UPPER_OUTER), :2], shape.vertices[list(LOWER_OUTER[::-1]), :2]])
    lips_HW = canvas.mask(outline, 0.07)
    lines_HW = 1 + 0.04 * np.sin(14 * canvas.x_HW + canvas.noise(rng, 1.0))
    upper_darker_HW = np.where(canvas.y_HW > shape.lips.seam_U.mean(), 0.88, 1.06)
    paint(face_HWC, look.lips * (lines_HW * upper_darker_HW)[..., None], 0.92 * lips_HW)
    return lips_HW


def paint_eyes(
    face_HWC: np.ndarray, shape: FaceShape, look: Look, canvas: Canvas, bright: float, opened: float
) -> np.ndarray:
    """Return a copy of the lit face with eyes; ``bright`` lights the whites, ``opened`` is 0 to 1."""
    face_HWC = face_HWC.copy()
    for eye in (RIGHT_EYE, LEFT_EYE):
        _eye(face_HWC, shape.vertices[list(eye), :2].copy(), look, canvas, bright, opened)
    if look.glasses:
        _glasses(face_HWC, shape, canvas)
    return face_HWC


def _eye(face_HWC: np.ndarray, lids: np.ndarray, look: Look, canvas: Canvas, bright: float, opened: float) -> None:
    x, y = lids.mean(0)
    radius = 0.22 * np.ptp(lids[:, 0])
    order = np.argsort(lids[:9, 0])
    lower_y = np.interp(lids[9:, 0], lids[:9, 0][order], lids[:9, 1][order])
    lids[9:, 1] = lower_y + (lids[9:, 1] - lower_y) * opened
    ball_HWC = np.empty_like(face_HWC)
    ball_HWC[:] = np.array((226, 220, 214)) * (0.78 + 0.22 * bright)
    distance_HW = np.hypot(canvas.x_HW - x, canvas.y_HW - y - 0.03)
    iris = look.iris * (0.7 + 0.6 * np.clip(distance_HW / radius, 0, 1))[..., None]
    for part_radius, colour, dx, dy in (
        (radius, iris, 0, 0.03),
        (0.45 * radius, np.float32(12), 0, 0.03),
        (0.13, np.float32(245), 0.18, 0.22),  # the lamp in the eye
    ):
        paint(ball_HWC, colour, canvas.mask(ellipse(x + dx, y + dy, part_radius, part_radius), 0.03))
    ball_HWC *= (1 - 0.35 * np.clip((canvas.y_HW - y) / 0.5, 0, 1))[..., None]  # shade of the upper lid
    paint(face_HWC, ball_HWC, canvas.mask(smooth_closed(lids), 0.04))
    upper = np.concatenate([lids[:1], lids[:8:-1], lids[8:9]])
    paint(face_HWC, np.array((30, 22, 20), np.float32), 0.85 * canvas.line(upper, 0.12, 0.05))
    paint(face_HWC, look.skin * 0.5, 0.4 * canvas.line(upper + np.array((0, 0.42)), 0.08, 0.08))


def _glasses(face_HWC: np.ndarray, shape: FaceShape, canvas: Canvas) -> None:
    frame = np.array((34, 30, 30), np.float32)
    inner = []
    for eye in (RIGHT_EYE, LEFT_EYE):
        x, y = shape.vertices[list(eye), :2].mean(0)
        rim = ellipse(x, y - 0.25, 2.35, 1.75)
        paint(face_HWC, frame, 0.85 * canvas.line(rim, 0.16, 0.04, closed=True))
        inner.append((x - np.sign(x) * 2.35, y))
        temple = np.array([(x + np.sign(x) * 2.35, y), (np.sign(x) * 7.9 * shape.width, y + 0.2)])
        paint(face_HWC, frame, 0.8 * canvas.line(temple, 0.14, 0.04))
    paint(face_HWC, frame, 0.85 * canvas.line(np.array(inner), 0.16, 0.04))
