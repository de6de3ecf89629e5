"""A k-means codebook: fit it to vectors, give every vector the number of its nearest centroid, keep it in a file.

Units are the targets of masked prediction in AV-HuBERT (Shi et al. 2022, arXiv:2201.02184): first clusters of MFCCs,
then of a trained encoder's layer. The settings are the official ones (mini-batch k-means of scikit-learn). A codebook
carries what its vectors were, down to the checksum of the model that made them: without that, nobody can assign units
to new clips.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor


@dataclass(frozen=True, eq=False)
class Codebook:
    """Centroids and what they are centroids of."""

    centroids_KF: Tensor
    """float32, one row per unit."""
    features: Mapping[str, Any]
    """What the vectors are, JSON-ready: ``kind``, ``rate`` in Hz and, of an encoder's features, ``layer``,
    ``model`` (file name) and ``model_sha256``."""

    def __post_init__(self) -> None:
        if self.centroids_KF.ndim != 2 or not self.centroids_KF.isfinite().all():
            raise ValueError(f"centroids of shape {tuple(self.centroids_KF.shape)} came, wanted (K, F), all finite")

    @property
    def num_units(self) -> int:
        """K, how many units there are."""
        return len(self.centroids_KF)

    def assign(self, vectors_TF: Tensor | np.ndarray, chunk: int = 16_384) -> Tensor:
        """Return ``units_T``, int64: for each vector the nearest centroid by Euclidean distance, the first of equals.

        Args:
            vectors_TF: any float dtype, on the centroids' device or a numpy array; T may be 0.
            chunk: vectors compared at once; memory is chunk x K x 4 bytes.

        Raises:
            ValueError: the vectors have another width than the centroids.
        """
        vectors_TF = torch.as_tensor(vectors_TF)
        num_features = self.centroids_KF.shape[1]
        if vectors_TF.ndim != 2 or vectors_TF.shape[1] != num_features:
            raise ValueError(
                f"vectors of shape {tuple(vectors_TF.shape)} came, wanted (T, {num_features}) as the codebook was "
                f"fitted to {dict(self.features)}; make them with data_prep/dump_features.py"
            )
        # |x - c|^2 = |x|^2 - 2 x c + |c|^2, and |x|^2 moves no minimum.
        squares_K = self.centroids_KF.square().sum(dim=1)
        parts = [
            torch.addmm(squares_K, part.to(self.centroids_KF), self.centroids_KF.T, alpha=-2).argmin(dim=1)
            for part in vectors_TF.split(chunk)
        ]
        return torch.cat(parts) if parts else torch.zeros(0, dtype=torch.int64)

    def save(self, path: str | Path) -> None:
        """Write a safetensors file with ``features`` in its header; it appears only when whole."""
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        unfinished = path.with_suffix(f".part{path.suffix}")
        header = {"avspeech": "codebook", "features": json.dumps(dict(self.features))}
        save_file({"centroids": self.centroids_KF.contiguous().cpu()}, unfinished, metadata=header)
        unfinished.rename(path)

    @classmethod
    def load(cls, path: str | Path) -> "Codebook":
        """Read what ``save`` wrote.

        Raises:
            ValueError: the file is missing or no codebook.
        """
        try:
            with safe_open(path, framework="pt") as file:
                header = file.metadata() or {}
                if header.get("avspeech") != "codebook":
                    raise ValueError("no codebook is marked in its header")
                return cls(file.get_tensor("centroids"), json.loads(header["features"]))
        except (OSError, SafetensorError, ValueError) as error:
            raise ValueError(f"{path} is no codebook ({error}); make one with data_prep/fit_units.py") from error


def fit_kmeans(
    vectors_MF: np.ndarray,
    num_units: int,
    features: Mapping[str, Any],
    seed: int = 0,
    batch_size: int = 10_000,
    max_iter: int = 100,
    num_starts: int = 20,
) -> Codebook:
    """Return the codebook of mini-batch k-means with AV-HuBERT's settings (tolerance 0, no reassignment).

    Args:
        vectors_MF: what is clustered, float; may be a memory map.
        num_units: K.
        features: what the vectors are; see ``Codebook``.
        seed: of the initial centroids and the order of the batches.
        batch_size: vectors per step.
        max_iter: most passes over the vectors.
        num_starts: k-means++ initialisations, the best of which is kept.

    Raises:
        ValueError: fewer vectors than units, or values that are not finite.
    """
    from sklearn.cluster import MiniBatchKMeans  # seconds to import, and only fitting needs it

    if vectors_MF.ndim != 2 or len(vectors_MF) < num_units or num_units < 1:
        raise ValueError(
            f"vectors of shape {vectors_MF.shape} came, wanted (M, F) with M at least num_units={num_units}; "
            "take more clips (--percent) or fewer units (--num_units)"
        )
    settings: dict[str, Any] = {
        "init": "k-means++",
        "max_iter": max_iter,
        "batch_size": batch_size,
        "tol": 0.0,
        "max_no_improvement": 100,
        "n_init": num_starts,
        "reassignment_ratio": 0.0,
        "compute_labels": False,
        "random_state": seed,
    }
    kmeans = MiniBatchKMeans(num_units, **settings)
    kmeans.fit(vectors_MF)  # refuses NaN and infinity with a clear ValueError
    centroids_KF = np.asarray(kmeans.cluster_centers_, dtype=np.float32)
    return Codebook(torch.from_numpy(centroids_KF), dict(features))
