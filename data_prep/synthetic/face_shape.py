"""The shape of a face: the canonical mesh, deformed as far as the landmarker tolerates, and its lip curves."""

from dataclasses import dataclass

import numpy as np

from data_prep.synthetic import canonical_mesh as mesh


@dataclass(frozen=True)
class Lips:
    """The closed mouth as curves over ``u_U``, from -1 (image left corner) to 1, in cm."""

    centre_x: float
    half_width: float
    u_U: np.ndarray
    upper_U: np.ndarray
    """Upper edge of the upper lip."""
    seam_U: np.ndarray
    """Line on which the lips meet."""
    lower_U: np.ndarray
    """Lower edge of the lower lip."""


@dataclass(frozen=True)
class FaceShape:
    """A face at rest, mouth closed."""

    vertices: np.ndarray
    """(468, 3) in cm, MediaPipe's order."""
    triangles: np.ndarray
    """(898, 3) indices."""
    width: float
    """Head width relative to the canonical mesh."""
    lips: Lips

    @property
    def chin_y(self) -> float:
        """Height of the chin's tip, cm."""
        return float(self.vertices[mesh.CHIN, 1])

    @property
    def nose_y(self) -> float:
        """Height of the skin just below the nose, where no mouth movement reaches, cm."""
        return float(self.vertices[mesh.NOSE_BASE, 1]) - 0.25


def draw_shape(rng: np.random.Generator) -> FaceShape:
    """Draw a face: width, jaw, lower face, lips and eyes vary by 5 to 50 %."""
    canonical, triangles = mesh.load_mesh()
    points = canonical.copy()
    width = rng.uniform(0.92, 1.09)
    points[:, 0] *= width
    lower = np.clip((-1 - points[:, 1]) / 8, 0, 1)  # 0 above the nose, 1 at the chin
    points[:, 0] *= 1 + (rng.uniform(0.88, 1.08) - 1) * lower
    points[:, 1] = np.where(points[:, 1] < -1, -1 + (points[:, 1] + 1) * rng.uniform(0.94, 1.06), points[:, 1])
    _shape_lips(points, rng)
    eye_size = rng.uniform(0.95, 1.18)
    for eye in (list(mesh.RIGHT_EYE), list(mesh.LEFT_EYE)):
        centre = points[eye, :2].mean(0)
        points[eye, :2] = centre + (points[eye, :2] - centre) * [eye_size, 1.1 * eye_size]
    return FaceShape(points, triangles, width, _lip_curves(points))


def _shape_lips(points: np.ndarray, rng: np.random.Generator) -> None:
    """Close the mouth, then change lip thickness and width."""
    upper, lower = list(mesh.UPPER_INNER), list(mesh.LOWER_INNER)
    seam = (points[upper, 1] + points[lower, 1]) / 2
    for inner, curve, thinnest in ((upper, mesh.UPPER_OUTER, 0.75), (lower, mesh.LOWER_OUTER, 0.8)):
        points[inner, 1] = seam
        outer, thickness = list(curve), rng.uniform(thinnest, 1.45)
        points[outer, 1] = seam + (points[outer, 1] - seam) * thickness
    lips = sorted({*mesh.UPPER_OUTER, *mesh.LOWER_OUTER, *mesh.UPPER_INNER, *mesh.LOWER_INNER})
    points[lips, 0] *= rng.uniform(0.9, 1.12)


def _lip_curves(points: np.ndarray) -> Lips:
    corners = points[[mesh.RIGHT_CORNER, mesh.LEFT_CORNER], :2]
    centre_x, half_width = corners[:, 0].mean(), np.ptp(corners[:, 0]) / 2
    u_U = np.linspace(-1, 1, 97)

    def curve(indices: tuple[int, ...]) -> np.ndarray:
        x, y = (points[list(indices), 0] - centre_x) / half_width, points[list(indices), 1]
        inside = np.abs(x) < 0.97
        x, y = np.r_[-1, x[inside], 1], np.r_[corners[0, 1], y[inside], corners[1, 1]]
        sharp_U = np.interp(u_U, x, y)
        kernel = np.exp(-(np.linspace(-2, 2, 13) ** 2))
        straight_U = np.linspace(sharp_U[0], sharp_U[-1], len(u_U))  # what is smoothed must end in zeros
        return straight_U + np.convolve(sharp_U - straight_U, kernel / kernel.sum(), mode="same")

    return Lips(centre_x, half_width, u_U, curve(mesh.UPPER_OUTER), curve(mesh.UPPER_INNER), curve(mesh.LOWER_OUTER))
