"""The face that speaks is the one whose mouth goes with the sound."""

import os
from pathlib import Path

import cv2
import numpy as np
import pytest

from avspeech.media.audio import read_audio
from avspeech.media.video import read_frames, read_pictures, write_video
from avspeech.roi.faces import Face, FollowedFaces, follow_faces
from avspeech.roi.flow import NEEDED
from avspeech.roi.speaking import energy_envelope, movement, speaking_face, speaking_score
from avspeech.timebase import SAMPLES_PER_FRAME
from tests.roi.conftest import picture


def syllables(num_frames: int, seed: int) -> np.ndarray:
    """Return an opening between 0 and 1 that rises and falls about four times a second, unevenly."""
    noise_T = np.random.default_rng(seed).normal(size=num_frames + 8)
    smooth_T = np.convolve(noise_T, np.hanning(7), "valid")[:num_frames]
    return np.clip(0.5 + smooth_T / 4, 0, 1)


def voice(opening_T: np.ndarray, seed: int = 0) -> np.ndarray:
    loud_S = np.repeat(opening_T, SAMPLES_PER_FRAME)
    return (0.2 * loud_S * np.random.default_rng(seed).normal(size=len(loud_S))).astype(np.float32)


def face(openness_T: np.ndarray, first: int = 0) -> Face:
    made = Face(first, np.zeros((len(openness_T), len(NEEDED) + 2, 2), np.float32), np.zeros(len(openness_T), np.uint8))
    made.__dict__["openness_T"] = openness_T.astype(np.float32)  # what the cached property would keep
    return made


def test_the_envelope_is_at_25_hz_and_as_long_as_asked():
    energy_T = energy_envelope(np.full(10 * SAMPLES_PER_FRAME + 5, 0.25, np.float32), 12)
    np.testing.assert_allclose(energy_T, [0.5] * 10 + [energy_T[10], 0])
    assert 0 < energy_T[10] < 0.5
    assert energy_envelope(np.zeros(0, np.float32), 0).shape == (0,)


def test_a_mouths_own_sound_beats_anothers():
    right = 0
    for seed in range(40):
        own_T, other_T = syllables(60, seed), syllables(60, seed + 1000)
        energy_T = energy_envelope(voice(own_T, seed), 60)
        right += speaking_score(10 * own_T, energy_T) > speaking_score(10 * other_T, energy_T)
    assert right >= 39


@pytest.mark.parametrize("lag", [-2, -1, 0, 1, 2])
def test_sound_out_of_step_by_two_frames_still_fits(lag):
    own_T = syllables(80, 1)
    energy_T = energy_envelope(voice(own_T), 80)
    shifted = speaking_score(10 * own_T[5 + lag : 65 + lag], energy_T[5:65])
    assert shifted > 0.6
    assert shifted > 2 * speaking_score(10 * syllables(60, 77), energy_T[5:65])


def test_what_does_not_change_scores_nothing_and_nothing_is_nan():
    wave_T = syllables(50, 0)
    assert speaking_score(np.full(50, 7.0), wave_T) == 0 and speaking_score(wave_T, np.zeros(50)) == 0
    for length in range(6):
        assert np.isfinite(speaking_score(wave_T[:length], wave_T[:length]))
        assert np.isfinite(movement(wave_T[:length]))
    with pytest.raises(ValueError, match="50 and energy of 49"):
        speaking_score(wave_T, wave_T[1:])


def test_scatter_of_a_still_mouth_counts_little():
    own_T = syllables(60, 3)
    energy_T = energy_envelope(voice(own_T), 60)
    assert speaking_score(0.1 * own_T, energy_T) < 0.5 * speaking_score(10 * own_T, energy_T)


def test_the_speaking_face_changes_with_the_span_and_must_be_there():
    first_T, second_T = syllables(60, 1), syllables(60, 2)
    sound_S = np.concatenate([voice(first_T), voice(second_T, 1)])
    left, right = np.concatenate([first_T, syllables(60, 8)]), np.concatenate([syllables(60, 9), second_T])
    followed = FollowedFaces((face(10 * left), face(10 * right)), 120, 120)
    assert speaking_face(followed, sound_S, 0, 60) == 0 and speaking_face(followed, sound_S, 60, 120) == 1
    away = FollowedFaces((face(10 * left[:50]), face(10 * second_T, 60)), 120, 120)
    assert speaking_face(away, sound_S, 60, 120) == 1 and speaking_face(away, sound_S, 50, 60) is None
    assert speaking_face(FollowedFaces((), 120, 120), sound_S, 0, 60) is None
    assert speaking_face(followed, sound_S, 125, 120) is None  # sound that outlasts the picture
    brief = FollowedFaces((face(10 * first_T[:12]), face(5 * first_T + syllables(60, 9))), 60, 60)
    assert speaking_face(brief, sound_S, 0, 60) == 1  # the better match is there for a fifth of the time


def test_without_sound_the_mouth_that_moves_most_is_taken():
    followed = FollowedFaces((face(3 * syllables(60, 1)), face(9 * syllables(60, 2)), face(np.zeros(60))), 60, 60)
    assert speaking_face(followed, None, 0, 60) == 1
    assert speaking_face(FollowedFaces((face(np.ones(9)), face(np.ones(9))), 9, 9), None, 0, 9) == 0


def test_two_drawn_faces_in_one_picture(finder, tmp_path):
    openings = [syllables(50, seed) for seed in (4, 5)]
    frames = [picture(200, 400, (100, 100, 150, one), (300, 100, 150, two)) for one, two in zip(*openings)]  # noqa: B905
    write_video(tmp_path / "two.mp4", frames)
    followed = follow_faces(read_pictures(tmp_path / "two.mp4"), finder)
    assert len(followed.faces) == 2
    left, right = np.argsort([one.boxes_T4[:, 0].mean() for one in followed.faces])
    assert speaking_face(followed, voice(openings[0]), 0, 50) == left
    assert speaking_face(followed, voice(openings[1]), 0, 50) == right


@pytest.mark.slow
@pytest.mark.skipif("AVSPEECH_SHARED" not in os.environ, reason="AVSPEECH_SHARED names no folder with GRID clips")
def test_real_speakers_are_told_apart(finder, tmp_path):
    """One man says two sentences of one pattern at the same time: chance is a half."""
    videos = sorted((Path(os.environ["AVSPEECH_SHARED"]) / "data" / "grid_s1" / "video").glob("*.mp4"))[:160:16]
    right = 0
    for left, other in zip(videos[::2], videos[1::2], strict=True):
        pair = [np.hstack(frames) for frames in zip(read_frames(left), read_frames(other), strict=False)]
        write_video(tmp_path / "pair.mp4", [cv2.resize(frame, (720, 288)) for frame in pair])
        followed = follow_faces(read_pictures(tmp_path / "pair.mp4"), finder)
        for speaker, video in enumerate((left, other)):
            index = speaking_face(followed, read_audio(video), 0, followed.num_frames)
            right += (followed.faces[index].boxes_T4[:, [0, 2]].mean() > 360) == bool(speaker)
    assert right >= 8
