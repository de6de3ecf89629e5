"""Which model tells who speaks, what it is given, and what becomes of an offset."""

import numpy as np
import pytest
import torch

import avspeech.transcription.reading as module
from avspeech.media.video import write_video
from avspeech.models.files import ModelFileError, save_model
from avspeech.models.lr_asd import LrAsd
from avspeech.models.synchrony import Synchrony
from avspeech.roi.faces import FollowedFaces
from avspeech.roi.lips import FaceSpan
from avspeech.transcription import who_speaks
from avspeech.transcription.cutting import CuttingConfig
from avspeech.transcription.face_choice import choose_faces
from avspeech.transcription.reading import read_streams
from avspeech.transcription.result import Transcript
from avspeech.transcription.who_speaks import Offset, load_watcher, score_faces, shift_sound
from tests.interop.official import SMALL
from tests.roi.test_face_crops import boxed
from tests.roi.test_speaking import face, syllables, voice
from tests.transcription.test_streams import clips, followed, marked  # noqa: F401 - fixtures

CUTTING, NUM = CuttingConfig(), 75


def test_models_are_known_by_name_and_by_content(tmp_path):
    from avspeech.models.cluster_predictor import ClusterPredictor

    assert load_watcher("correlation") is None and isinstance(load_watcher("synchrony"), Synchrony)
    for name, model in (("a", LrAsd()), ("b", Synchrony())):
        save_model(tmp_path / f"{name}.safetensors", model)
        assert type(load_watcher(str(tmp_path / f"{name}.safetensors"))) is type(model)
    save_model(tmp_path / "c.safetensors", ClusterPredictor(SMALL, 5))
    with pytest.raises(ModelFileError, match=r"a cluster_predictor; wanted synchrony, correlation"):
        load_watcher(str(tmp_path / "c.safetensors"))
    with pytest.raises(ModelFileError, match="does not exist"):
        load_watcher(str(tmp_path / "none.safetensors"))


def test_scores_of_a_model_choose_the_face_and_absence_lowers_them():
    found = FollowedFaces((face(syllables(50, 1)), face(syllables(50, 2)), face(syllables(30, 3))), 50, 50)
    for scores, wanted in (({0: -3.0, 1: 2.0}, 1), ({0: -3.0, 1: -4.0}, 0), ({0: 1.0, 2: 1.5}, 0), ({0: -1, 2: -1}, 0)):
        ((index, _),) = choose_faces(found, (0, 50), voice(syllables(50, 1)), "speaking", scores)
        assert index == wanted


def test_lr_asd_judges_long_spans_in_pieces_of_whole_faces(tmp_path, monkeypatch):
    monkeypatch.setattr(who_speaks, "PIECE", 6)
    torch.manual_seed(0)
    model, num_frames = LrAsd().eval(), 11
    frames = [np.full((48, 48, 3), 100 + 5 * (index % 9), np.uint8) for index in range(num_frames)]
    write_video(tmp_path / "grey.mp4", frames)
    boxes_T4 = np.tile([8.0, 8, 30, 30], (num_frames, 1))
    found = FollowedFaces((boxed(boxes_T4), boxed(boxes_T4 + 10)), num_frames, num_frames)
    spans = [FaceSpan(0, 0, num_frames), FaceSpan(1, 4, 8)]
    audio_S = voice(syllables(num_frames - 3, 1))  # shorter than the picture
    scores = score_faces(model, tmp_path / "grey.mp4", found, spans, {}, audio_S)
    assert set(scores) == set(spans) and all(np.isfinite(one) for one in scores.values())
    again = score_faces(model, tmp_path / "grey.mp4", found, spans[1:], {}, audio_S)
    assert again[spans[1]] == pytest.approx(scores[spans[1]], abs=1e-5)


def test_sound_is_shifted_by_whole_frames():
    audio_S = np.arange(1, 5 * 640 + 1, dtype=np.float32)
    early, late = shift_sound(audio_S, 2), shift_sound(audio_S, -2)
    assert len(early) == len(late) == len(audio_S)
    assert early[0] == 2 * 640 + 1 and not early[-2 * 640 :].any() and early[-2 * 640 - 1] == audio_S[-1]
    assert not late[: 2 * 640].any() and late[2 * 640] == 1
    assert not shift_sound(audio_S, 9).any() and not shift_sound(audio_S, -9).any()
    np.testing.assert_array_equal(shift_sound(audio_S, 0), audio_S)


def test_an_offset_is_told_where_it_is_sure_and_no_frame():
    assert Offset(6, 20.0).sentence == "The sound is 6 frames (240 ms) late (lead 20.0): not repaired."
    assert Offset(-3, 2.5).sentence.endswith("3 frames (120 ms) early (lead 2.5): too unsure to repair.")
    assert Offset(-3, 20.0, repaired=True).sentence.endswith("early (lead 20.0): repaired.")
    assert Offset(-3, 20.0).told and not Offset(1, 20.0).told and not Offset(9, 0.5).told
    assert not Offset(6, 20.0, fit=-0.2).told, "another's voice, which happens to fit there least badly"


def test_a_long_voice_far_from_every_face_is_foreign_unless_it_is_only_late():
    low_L, fits_L = torch.full((25,), -20.0), torch.full((25,), -20.0)
    fits_L[12 + 5] = 4
    late = Offset(5, 24.0)

    def foreign(faces, found, *spans):
        return who_speaks.is_foreign(spans, dict.fromkeys(spans, faces), found)

    assert foreign([low_L, low_L], Offset(0, 0.0), (0, 75)) and not foreign([low_L], Offset(0, 0.0), (0, 300))
    assert foreign([fits_L], Offset(0, 0.0), (0, 75)) and not foreign([low_L, fits_L], late, (0, 75))
    assert not foreign([low_L], Offset(0, 0.0), (0, 40)), "too short to tell"
    assert foreign([low_L], Offset(0, 0.0), (0, 40), (60, 100)), "many short ones together are not"


@pytest.mark.parametrize("late", [0, 6])
def test_an_offset_is_found_told_and_repaired_on_request(late, followed, clips, monkeypatch):  # noqa: F811
    monkeypatch.setattr(who_speaks, "SURE_TO_REPAIR", who_speaks.SURE)  # made voices are less sure than real ones
    monkeypatch.setattr(module, "has_voice", lambda prob_T: True)  # nor does the detector know them
    opening_T, audio_S = 20 * syllables(NUM, 3), voice(syllables(NUM, 3))
    followed(face(opening_T), num_frames=NUM)
    moved_S = shift_sound(audio_S, -late)
    streams = read_streams(clips / "voice.mp4", "audio+video", CUTTING, audio_S=moved_S)
    left_out = [segment.modality for segment in streams.to_decode("audio+video")] == ["audio"]
    assert left_out == (late != 0), "lips so far from the sound are read only where it is repaired"
    assert streams.offset is not None and abs(streams.offset.frames - late) <= 1 and not streams.offset.repaired
    said = [note for note in streams.notes("audio+video") if "The sound is" in note]
    assert bool(said) == (late != 0)
    mended = read_streams(clips / "voice.mp4", "audio+video", CUTTING, audio_S=moved_S, repair_sync=True)
    assert mended.offset is not None and mended.audio_S is not None
    assert [segment.modality for segment in mended.to_decode("audio+video")] == ["audio+video"]
    if late:
        np.testing.assert_array_equal(mended.audio_S, shift_sound(moved_S, streams.offset.frames))
    assert mended.offset.repaired == (late != 0)
    json = Transcript("a", 1.0, "m", "audio", offset=mended.offset.to_json()).to_json()
    assert Transcript.from_json(json).offset == mended.offset.to_json()


@pytest.mark.parametrize("how", ["synchrony", "correlation"])
def test_either_way_finds_whose_opening_the_sound_has(how, followed, clips):  # noqa: F811
    openings = [20 * syllables(NUM, seed) for seed in (3, 4)]
    followed(*(face(one) for one in openings), num_frames=NUM)
    for index, one in enumerate(openings[: 1 + (how == "synchrony")]):
        streams = read_streams(clips / "voice.mp4", "audio+video", CUTTING, audio_S=voice(one / 20), who_speaks=how)
        assert {segment.face for segment in streams.segments} == {index}
    with pytest.raises(ModelFileError):
        read_streams(clips / "voice.mp4", "audio+video", CUTTING, who_speaks="none.safetensors")
