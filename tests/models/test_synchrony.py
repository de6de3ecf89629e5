"""Agreement of lips and sound: what it may depend on, and what the shipped weights find in made signals."""

import numpy as np
import pytest
import torch

from avspeech.models.files import load_model, save_model
from avspeech.models.synchrony import MAX_LAG, WEIGHTS, Synchrony, movement, odds, offset, sound_input
from tests.roi.test_speaking import syllables, voice

NUM = 75


@pytest.fixture(scope="module")
def shipped():
    return load_model(WEIGHTS)


@pytest.fixture(scope="module")
def drawn():
    torch.manual_seed(0)
    return Synchrony().eval()


def lips(seed, num_frames=NUM):
    """Return crops of a dark opening in a bright face, (1, T, 96, 96), and the opening, (1, T), of made syllables."""
    opening_T = 20 * syllables(num_frames, seed)
    rows = np.abs(np.arange(96) - 47.5)[None, :, None]
    columns = np.abs(np.arange(96) - 47.5)[None, None]
    inside_THW = (rows < opening_T[:, None, None] / 2) & (columns < 20)
    mouth_THW = np.where(inside_THW, 40, 150 + rows - columns / 2).astype(np.uint8)
    return torch.from_numpy(mouth_THW)[None], torch.from_numpy(opening_T.astype(np.float32))[None]


@torch.inference_mode()
def profile(model, seen, audio_S, num_frames=NUM):
    bands_AF, real_U = sound_input(audio_S, 0, num_frames)
    return model.compare(model.see(*seen), model.hear(bands_AF[None]), real_U)[0]


def later(audio_S, frames):
    return np.roll(np.pad(audio_S, 12 * 640), frames * 640)[12 * 640 : -12 * 640]


def test_the_shipped_file_is_small_and_says_where_it_comes_from(shipped):
    assert WEIGHTS.stat().st_size < 2_000_000
    assert shipped.about["recipe"].endswith("train.py") and shipped.about["trained_on"]
    assert not shipped.gives_text and 100_000 < sum(one.numel() for one in shipped.parameters()) < 500_000


def test_a_half_precision_file_gives_the_weights_back(drawn, tmp_path):
    save_model(tmp_path / "half.safetensors", Synchrony().half())
    again = load_model(tmp_path / "half.safetensors")
    assert {one.dtype for one in again.parameters()} == {torch.float32}


@torch.inference_mode()
def test_each_face_of_a_batch_is_seen_as_alone(drawn):
    (one, opens), (other, closes) = lips(1, 12), lips(2, 12)
    both = drawn.see(torch.cat([one, other]), torch.cat([opens, closes]))
    torch.testing.assert_close(both[:1], drawn.see(one, opens))
    torch.testing.assert_close(both[1:], drawn.see(other, closes))
    assert not torch.equal(drawn.see(one), drawn.see(one, opens))  # either counts, and either may be absent
    assert not torch.equal(drawn.see(None, opens), drawn.see(one, opens))
    with pytest.raises(ValueError, match="neither"):
        drawn.see(None)


def test_brightness_and_contrast_of_the_picture_do_not_count():
    grid_BTHW = torch.rand(2, 40, 12, 12, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(movement(grid_BTHW * 0.5 + 0.2), movement(grid_BTHW), rtol=1e-3, atol=1e-4)
    assert movement(grid_BTHW[:, :1].expand(-1, 40, -1, -1)).abs().max() < 1e-5  # a still picture does not move


@torch.inference_mode()
def test_loudness_does_not_count(drawn):
    audio_S = voice(syllables(20, 1))
    quiet, loud = (drawn.hear(sound_input(gain * audio_S, 0, 20)[0][None]) for gain in (0.25, 1.0))
    torch.testing.assert_close(quiet, loud, rtol=1e-3, atol=1e-3)


def test_sound_outside_the_file_is_marked_and_does_not_count(drawn):
    audio_S = voice(syllables(30, 1))
    bands_AF, real_U = sound_input(audio_S, 2, 10)
    assert bands_AF.shape == (4 * 34, 26) and real_U.tolist() == [False] * 10 + [True] * 24
    inner_AF, _ = sound_input(audio_S, 2, 10, margin=0)
    torch.testing.assert_close(bands_AF[49:-48], inner_AF[1:])  # the first follows on another sample
    generator = torch.Generator().manual_seed(0)
    seen, heard = torch.randn(1, 10, 64, generator=generator), torch.randn(1, 34, 64, generator=generator)
    scores_L = drawn.compare(seen, heard, real_U)
    torch.testing.assert_close(drawn.compare(seen, torch.where(real_U[:, None], heard, 1e6), real_U), scores_L)
    mean = (seen[0] * heard[0, 12:22]).sum(dim=1).mean()
    torch.testing.assert_close(scores_L[0, MAX_LAG], drawn.scale.exp() * 10 * mean + drawn.bias)


@pytest.mark.parametrize("frames", [-9, -4, 0, 3, 10])
def test_the_offset_moves_with_the_sound(shipped, frames):
    for seed in (1, 2):
        seen, audio_S = lips(seed), voice(20 * syllables(NUM, seed) / 20)
        found, lead = offset(profile(shipped, seen, later(audio_S, frames)))
        assert abs(found - frames) <= 1 and lead > 0


def test_own_sound_beats_anothers_and_still_lips(shipped):
    for seed in range(4):
        (mouth, opening), audio_S = lips(seed), voice(syllables(NUM, seed))
        own = odds(profile(shipped, (mouth, opening), audio_S))
        still = (mouth[:, :1].expand_as(mouth), opening[:, :1].expand_as(opening))
        assert own > odds(profile(shipped, lips(seed + 100), audio_S)) and own > odds(profile(shipped, still, audio_S))


def test_silence_and_still_lips_tell_no_offset(shipped):
    (mouth, opening), audio_S = lips(1), voice(syllables(NUM, 1))
    for seen, heard in (((mouth, opening), np.zeros_like(audio_S)), ((mouth[:, :1].expand_as(mouth), None), audio_S)):
        scores_L = profile(shipped, seen, heard)
        assert scores_L.isfinite().all() and offset(scores_L)[1] < 2
