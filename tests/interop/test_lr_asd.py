"""LR-ASD: parity with its reference, import by content, refusals, and what its scores depend on."""

import os
from pathlib import Path

import numpy as np
import pytest
import torch

from avspeech.features.mfcc import cepstra
from avspeech.interop.lr_asd import official_keys
from avspeech.interop.official_files import export_official, import_official, load_any
from avspeech.models.files import load_model, save_model
from avspeech.models.lr_asd import LrAsd
from tests.interop.official import randomize, refused, same_tensors

SHARED = Path(os.environ.get("AVSPEECH_SHARED", "none")) / "data" / "models" / "lr_asd"
needs_weights = pytest.mark.skipif(not SHARED.is_dir(), reason="AVSPEECH_SHARED names no folder with LR-ASD's weights")


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    with torch.no_grad():
        return randomize(LrAsd())


@pytest.fixture
def official(model, tmp_path):
    path = tmp_path / "finetuning.model"
    state = {theirs: model.state_dict()[ours].clone() for theirs, ours in official_keys().items()}
    torch.save(state | {"lossV.FC.weight": torch.randn(2, 128), "lossV.FC.bias": torch.randn(2)}, path)
    return path


def streams(num_frames, batch=1):
    generator = torch.Generator().manual_seed(num_frames)
    faces = torch.randint(0, 256, (batch, num_frames, 112, 112), generator=generator, dtype=torch.uint8)
    return faces, 10 * torch.randn(batch, 4 * num_frames, 13, generator=generator)


@needs_weights
@torch.inference_mode()
def test_scores_equal_the_reference():
    model = load_any(SHARED / "finetuning_TalkSet.model")
    with np.load(SHARED / "lr_asd_reference.npz") as reference:
        scores_T = model(torch.from_numpy(reference["faces"])[None], torch.from_numpy(reference["mfcc"])[None])[0]
        np.testing.assert_allclose(scores_T, reference["scores"], rtol=0, atol=1e-5)


def test_a_file_is_known_by_its_content_and_goes_both_ways(official, model, tmp_path):
    imported = load_any(official)
    same_tensors(imported, model)
    assert imported.source == {"model": "lr_asd"} and not imported.gives_text
    save_model(tmp_path / "ours.safetensors", imported)
    ours = load_model(tmp_path / "ours.safetensors")
    same_tensors(ours, model)
    export_official(ours, tmp_path / "back.model")
    same_tensors(torch.load(tmp_path / "back.model"), torch.load(official))


def test_broken_files_are_refused(official):
    state = torch.load(official)
    cases = {
        "missing: lossAV.FC.bias": {key: value for key, value in state.items() if key != "lossAV.FC.bias"},
        "unknown: more": state | {"more": torch.zeros(1)},
        r"model.fusion.bn.bias": state | {"model.fusion.bn.bias": torch.zeros(3)},
        "something else than tensors": state | {"lossAV.FC.bias": [0.0, 0.0]},
    }
    for said, content in cases.items():
        torch.save(content, official)
        assert said.removeprefix("model.") in refused(load_any, official)
    assert "no option" in refused(import_official, official, audio_heads=3)
    official.write_bytes(official.read_bytes()[:4000])
    assert "cut off" in refused(load_any, official)


@torch.inference_mode()
def test_a_batch_of_faces_scores_each_as_alone():
    torch.manual_seed(0)
    model = LrAsd().eval()
    faces, mfcc = streams(2, batch=2)
    together = model(faces, mfcc)
    assert together.shape == (2, 2)
    for one in (0, 1):
        torch.testing.assert_close(model(faces[one : one + 1], mfcc[one : one + 1])[0], together[one])
    assert not torch.equal(model(faces, mfcc.flip(0)), together)  # both streams count
    assert not torch.equal(model(faces.flip(0), mfcc), together)
    with pytest.raises(ValueError, match=r"cepstra \(2, 4, 13\)"):
        model(faces, mfcc[:, :4])


def test_cepstra_are_those_of_an_independent_formula():
    rng = np.random.default_rng(0)
    audio_S = 0.1 * rng.standard_normal(3 * 640)
    signal = np.append(audio_S[0], audio_S[1:] - 0.97 * audio_S[:-1]) * 32768
    edges = np.floor(513 * 700 * (10 ** (np.linspace(0, 2595 * np.log10(1 + 8000 / 700), 28) / 2595) - 1) / 16000)
    rows = []
    for start in range(0, 1520, 160):
        power = np.abs(np.fft.rfft(np.append(signal[start : start + 400], np.zeros(112)), 512)) ** 2 / 512
        bands = [
            sum(p * np.interp(k, [low, mid, high], [0, 1, 0]) for k, p in enumerate(power) if low <= k <= high)
            for low, mid, high in zip(edges, edges[1:], edges[2:], strict=False)
        ]
        angles = np.pi * np.outer(np.arange(13), np.arange(26) + 0.5) / 26
        row = np.sqrt(2 / 26) * (np.cos(angles) @ np.log(bands)) * (1 + 11 * np.sin(np.pi * np.arange(13) / 22))
        rows.append(np.append(np.log(power.sum()), row[1:]))
    made = cepstra(torch.from_numpy(audio_S), 3).numpy()
    assert made.shape == (12, 13) and made.dtype == np.float32
    np.testing.assert_allclose(made[: len(rows)], rows, rtol=1e-4, atol=1e-3)
    assert np.abs(cepstra(torch.zeros(700), 3).numpy()[:, 0] - np.log(np.finfo(float).eps)).max() < 1e-3
