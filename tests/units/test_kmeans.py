"""A codebook finds separated clusters, assigns like the definition, and survives its file."""

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from avspeech.units.kmeans import Codebook, fit_kmeans

FEATURES = {"kind": "encoder", "rate": 25, "layer": 2, "model": "m.safetensors", "model_sha256": "ab" * 32}


def blobs(num_blobs: int = 4, each: int = 60, width: int = 3) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    centres = 10 * rng.standard_normal((num_blobs, width))
    label_M = np.repeat(np.arange(num_blobs), each)
    return (centres[label_M] + 0.1 * rng.standard_normal((len(label_M), width))).astype(np.float32), label_M


def test_separated_clusters_are_found():
    vectors_MF, label_M = blobs()
    unit_M = fit_kmeans(vectors_MF, 4, FEATURES).assign(vectors_MF).numpy()
    assert len(set(zip(unit_M.tolist(), label_M.tolist(), strict=True))) == 4


def test_the_same_seed_gives_the_same_codebook():
    vectors_MF, _ = blobs()
    first, again, other = (fit_kmeans(vectors_MF, 20, FEATURES, seed=seed).centroids_KF for seed in (0, 0, 1))
    assert torch.equal(first, again) and not torch.equal(first, other)


def test_each_vector_gets_its_nearest_centroid_in_chunks_of_any_size():
    generator = torch.Generator().manual_seed(0)
    centroids_KF, vectors_TF = torch.randn(7, 5, generator=generator), torch.randn(100, 5, generator=generator)
    book = Codebook(centroids_KF, FEATURES)
    nearest_T = torch.cdist(vectors_TF.double(), centroids_KF.double()).argmin(dim=1)
    for chunk in (1, 33, 1000):
        assert torch.equal(book.assign(vectors_TF, chunk), nearest_T)
    assert torch.equal(book.assign(vectors_TF.numpy().astype(np.float64)), nearest_T)
    assert torch.equal(book.assign(centroids_KF), torch.arange(7))
    assert (book.assign(torch.zeros(0, 5)).shape, book.assign(vectors_TF).dtype) == ((0,), torch.int64)


def test_the_file_holds_centroids_and_what_they_are_of(tmp_path):
    book = fit_kmeans(blobs()[0], 4, FEATURES)
    book.save(tmp_path / "deep" / "book.safetensors")
    copy = Codebook.load(tmp_path / "deep" / "book.safetensors")
    assert torch.equal(copy.centroids_KF, book.centroids_KF) and copy.centroids_KF.dtype == torch.float32
    copy.save(tmp_path / "copy.safetensors")
    assert (tmp_path / "copy.safetensors").read_bytes() == (tmp_path / "deep" / "book.safetensors").read_bytes()
    assert (copy.features, copy.fitting) == (FEATURES, book.fitting)
    assert (copy.fitting["num_vectors"], copy.fitting["random_state"]) == (240, 0)
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["book.safetensors"]


def test_files_that_are_no_codebook_are_named_in_the_error(tmp_path):
    (tmp_path / "text.safetensors").write_text("no tensors")
    save_file({"centroids": torch.zeros(2, 2)}, tmp_path / "other.safetensors")
    for name, reason in (("missing", ""), ("text", ""), ("other", "its header has no entry 'codebook'")):
        with pytest.raises(ValueError, match=rf"{name}.safetensors is no codebook \({reason}"):
            Codebook.load(tmp_path / f"{name}.safetensors")


def test_vectors_that_do_not_fit_are_named_in_the_error():
    vectors_MF, _ = blobs()
    with pytest.raises(ValueError, match=r"\(240, 3\) came, wanted \(M, F\) with M at least num_units=241"):
        fit_kmeans(vectors_MF, 241, FEATURES)
    with pytest.raises(ValueError, match="NaN"):
        fit_kmeans(np.full((10, 2), np.nan), 2, FEATURES)
    with pytest.raises(ValueError, match=r"\(5, 4\) came, wanted \(T, 3\).*'layer': 2"):
        fit_kmeans(vectors_MF, 4, FEATURES).assign(torch.zeros(5, 4))
