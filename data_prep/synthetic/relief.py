"""Depth and surface normals of a head: the mesh for the face, an ellipsoid for the rest."""

import cv2
import numpy as np

from data_prep.synthetic.canvas import Canvas
from data_prep.synthetic.face_shape import FaceShape

HEAD = (8.1, 10.4, 8.6)
"""Half axes of the head's ellipsoid, cm: across, up, forwards."""
HEAD_Y, HEAD_Z = 0.6, -2.5
STEP = 4
"""The smooth mesh is sampled on every STEP-th pixel."""


def relief(shape: FaceShape, canvas: Canvas) -> tuple[np.ndarray, np.ndarray]:
    """Return unit normals, (H, W, 3), and depth towards the camera in cm, (H, W), both float32."""
    radius_x, radius_y, radius_z = HEAD[0] * shape.width, HEAD[1], HEAD[2]
    across, up = canvas.x_HW / radius_x, (canvas.y_HW - HEAD_Y) / radius_y
    forwards = np.sqrt(np.clip(1 - across**2 - up**2, 0.02, 1))
    normal_HWC = _unit(np.stack([across / radius_x, up / radius_y, forwards / radius_z], -1))
    depth_HW = HEAD_Z + radius_z * forwards

    coarse = np.concatenate([_vertex_normals(shape), shape.vertices[:, 2:]], axis=1)
    mesh_HWC, inside_HW = _rasterise(shape, coarse, canvas.x_W[::STEP], canvas.y_H[::STEP])
    inside_HW = cv2.erode(inside_HW, np.ones((3, 3)))
    share_HW = cv2.GaussianBlur(inside_HW, (0, 0), 1.2)
    mesh_HWC = cv2.GaussianBlur(mesh_HWC * inside_HW[..., None], (0, 0), 1.2) / (share_HW[..., None] + 1e-3)
    weight_HW = cv2.GaussianBlur(inside_HW, (0, 0), 2) * inside_HW
    size = (canvas.size, canvas.size)
    mesh_HWC, weight_HW = cv2.resize(mesh_HWC, size), cv2.resize(weight_HW, size)
    normal_HWC += weight_HW[..., None] * (mesh_HWC[..., :3] - normal_HWC)
    depth_HW += weight_HW * (mesh_HWC[..., 3] - depth_HW)
    return _unit(normal_HWC).astype(np.float32), depth_HW.astype(np.float32)


def _unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / (np.linalg.norm(vectors, axis=-1, keepdims=True) + 1e-6)


def _vertex_normals(shape: FaceShape) -> np.ndarray:
    a, b, c = (shape.vertices[shape.triangles[:, corner]] for corner in range(3))
    normals = np.zeros_like(shape.vertices)
    for corner in range(3):
        np.add.at(normals, shape.triangles[:, corner], np.cross(b - a, c - a))
    normals = _unit(normals)
    return normals * np.where(normals[:, 2:] < 0, -1, 1)  # all of the face looks at the camera


def _rasterise(shape: FaceShape, values: np.ndarray, x_W: np.ndarray, y_H: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Interpolate vertex values (468, F) over a grid; return (H, W, F) and the mask of the mesh."""
    image_HWC = np.zeros((len(y_H), len(x_W), values.shape[1]), np.float32)
    inside_HW = np.zeros(image_HWC.shape[:2], np.float32)
    for corners in shape.triangles:
        (ax, ay), (bx, by), (cx, cy) = shape.vertices[corners, :2]
        area = (bx - ax) * (cy - ay) - (cx - ax) * (by - ay)
        columns = np.flatnonzero((x_W >= min(ax, bx, cx)) & (x_W <= max(ax, bx, cx)))
        rows = np.flatnonzero((y_H >= min(ay, by, cy)) & (y_H <= max(ay, by, cy)))
        if abs(area) < 1e-6 or not len(columns) or not len(rows):
            continue
        x, y = x_W[None, columns], y_H[rows, None]
        weight_b = ((x - ax) * (cy - ay) - (cx - ax) * (y - ay)) / area
        weight_c = ((bx - ax) * (y - ay) - (x - ax) * (by - ay)) / area
        weights = np.stack([1 - weight_b - weight_c, weight_b, weight_c], -1)
        hit = (weights >= -1e-6).all(-1)
        row, column = rows[np.nonzero(hit)[0]], columns[np.nonzero(hit)[1]]
        image_HWC[row, column] = weights[hit] @ values[corners]
        inside_HW[row, column] = 1
    return image_HWC, inside_HW
