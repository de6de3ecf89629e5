"""A file gives sound and lips in segments; a stream that is not asked for cannot be seen; what lacks is told."""

from contextlib import nullcontext
from dataclasses import replace
from itertools import pairwise

import av
import numpy as np
import pytest

from avspeech.media.audio import read_audio, write_wav
from avspeech.media.errors import MediaError
from avspeech.media.video import write_video
from avspeech.roi.faces import FollowedFaces
from avspeech.roi.lips import FaceSpan, crop_faces
from avspeech.timebase import SAMPLE_RATE
from avspeech.transcription import reading as module
from avspeech.transcription.cutting import CuttingConfig
from avspeech.transcription.face_choice import check_face, choose_faces
from avspeech.transcription.reading import read_streams
from avspeech.transcription.result import Segment
from avspeech.transcription.streams import Streams
from tests.roi.conftest import picture
from tests.roi.test_speaking import face, syllables
from tests.roi.test_speaking import voice as sound_of
from tests.transcription.test_speech_activity import voice

CUTTING, NUM = CuttingConfig(), 30  # frames of the drawn clips


@pytest.fixture
def faces(finder, monkeypatch):
    monkeypatch.setattr(module, "FaceFinder", lambda: nullcontext(finder))


@pytest.fixture(autouse=True)
def made_voices(monkeypatch):
    """A made voice of a second counts as one: it is less sure than a real one."""
    monkeypatch.setattr(module, "has_voice", lambda prob_T: (prob_T > 0.5).any())


@pytest.fixture
def followed(monkeypatch):
    """Return a function that sets what ``read_streams`` sees in place of looking."""

    def see(*seen, num_frames):
        found = FollowedFaces(seen, num_frames, num_frames)
        monkeypatch.setattr(module, "FaceFinder", lambda: nullcontext(None))
        monkeypatch.setattr(module, "follow_faces", lambda pictures, finder, **_: found)
        monkeypatch.setattr(module, "crop_faces", lambda path, found, clips, **options: marked(found, clips))

    return see


def marked(found, clips):  # every pixel is 1 of the first face, 2 of the second, and 0 where nobody is wanted
    mouths = [np.zeros((found.num_frames, 96, 96), np.uint8) for _ in clips]
    for mouth_THW, clip in zip(mouths, clips, strict=True):
        for span in clip:
            mouth_THW[span.first : span.end] = span.face + 1
    return mouths


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    """Return a folder with clips of one talking face: with a voice, with hiss, and with no sound track."""
    folder = tmp_path_factory.mktemp("clips")
    frames = [picture(160, 160, (80, 80, 120, opening)) for opening in syllables(NUM, 4)]
    hiss_S = (0.05 * np.random.default_rng(0).standard_normal(3 * SAMPLE_RATE)).astype(np.float32)
    for name, audio_S in (("voice", voice(NUM / 25)), ("hiss", hiss_S), ("mute", None)):
        write_video(folder / f"{name}.mp4", frames, audio_S)
    return folder


def damaged(path, to, kind, which=slice(None)):
    """Copy a file with the packets of one kind of stream overwritten."""
    data = bytearray(path.read_bytes())
    with av.open(str(path)) as container:
        packets = [packet for packet in container.demux() if packet.stream.type == kind and packet.size]
    for packet in packets[which]:
        data[packet.pos + 8 : packet.pos + packet.size] = b"\xa5" * (packet.size - 8)
    to.write_bytes(data)
    return to


def whole(streams: Streams) -> list[tuple]:
    return [(*one.frames, one.face, one.face_share, one.speaker) for one in streams.segments]


def test_a_talking_face_gives_one_segment_with_sound_and_lips(faces, clips):
    done = []
    streams = read_streams(clips / "voice.mp4", "audio+video", CUTTING, progress=done.append)
    (segment,) = streams.segments
    assert streams.has_speech and segment.face == 0 and segment.speaker is None
    assert segment.face_share > 0.9 and streams.face_share == pytest.approx(segment.face_share)
    assert segment.mouth_THW.shape == (segment.num_frames, 96, 96)
    assert segment.mouth_THW.std(axis=0).max() > 5  # lips that move
    assert segment.frames[1] == streams.num_frames >= NUM == streams.followed.num_frames
    assert streams.duration_s == pytest.approx(NUM / 25, abs=0.07)  # AAC comes in blocks of 64 ms
    np.testing.assert_array_equal(streams.audio_S, read_audio(clips / "voice.mp4"))
    assert len(streams.speech_T) == streams.num_frames and streams.notes("audio+video") == ()
    assert done == sorted(done) and done[-1] == 1 and all(0 <= share <= 1 for share in done)


@pytest.mark.parametrize(("rate", "read"), [(5, False), (7, False), (8, True), (15, True)])
def test_lips_of_too_few_pictures_a_second_are_not_read_and_it_is_said(followed, clips, rate, read, monkeypatch):
    seen = face(syllables(NUM, 4))
    followed(seen, num_frames=NUM)
    from_T = np.floor(np.arange(NUM) / 25 * rate + 1e-9) / rate
    slow = replace(module.follow_faces(None, None), shown_T2=np.stack([from_T, from_T + 1 / rate], axis=1))
    monkeypatch.setattr(module, "follow_faces", lambda pictures, finder, **_: slow)
    streams = read_streams(clips / "voice.mp4", "audio+video", CUTTING)
    (segment,) = streams.to_decode("audio+video")
    told = [note for note in streams.notes("audio+video") if "pictures a second" in note]
    assert segment.modality == ("audio+video" if read else "audio") and len(told) == (not read)
    assert read or (told[0].startswith("The picture has ") and "the sound alone was used" in told[0])
    assert segment.note == (None if read else "too few pictures: sound alone")


@pytest.mark.parametrize("crop", ["causal", "former"])
def test_mouths_are_cut_as_the_model_wants(faces, clips, crop):
    streams = read_streams(clips / "mute.mp4", "video", CUTTING, crop=crop)
    (segment,) = streams.segments
    (mouth_THW,) = crop_faces(clips / "mute.mp4", streams.followed, [[FaceSpan(0, 0, NUM)]], alignment=crop)
    np.testing.assert_array_equal(segment.mouth_THW, mouth_THW[slice(*segment.frames)])


def test_sound_cannot_be_seen_where_only_the_picture_is_asked_for(faces, clips, tmp_path, monkeypatch):
    torn = damaged(clips / "voice.mp4", tmp_path / "torn.mp4", "audio")
    with pytest.raises(MediaError):
        read_audio(torn)
    monkeypatch.setattr(module, "read_sounds", lambda *_: pytest.fail("the sound was read"))
    mute = read_streams(clips / "mute.mp4", "video", CUTTING)
    assert mute.has_speech and mute.segments[0].mouth_THW is not None
    for path, audio_S in ((clips / "hiss.mp4", None), (torn, None), (clips / "mute.mp4", voice(1))):
        other = read_streams(path, "video", CUTTING, audio_S=audio_S)
        assert other.audio_S is None and other.speech_T is None
        assert (whole(other), other.num_frames, other.duration_s) == (whole(mute), mute.num_frames, mute.duration_s)
        for one, another in zip(other.segments, mute.segments, strict=True):
            np.testing.assert_array_equal(one.mouth_THW, another.mouth_THW)


def test_a_picture_cannot_be_seen_where_only_the_sound_is_asked_for(clips, tmp_path, monkeypatch):
    for name in ("FaceFinder", "read_pictures", "follow_faces", "crop_faces"):
        monkeypatch.setattr(module, name, lambda *_, **__: pytest.fail("the picture was read"))
    torn = damaged(clips / "voice.mp4", tmp_path / "torn.mp4", "video")
    write_wav(tmp_path / "alone.wav", read_audio(clips / "voice.mp4"))
    ways = [read_streams(path, "audio", CUTTING, face=2) for path in (clips / "voice.mp4", torn)]
    ways.append(read_streams(tmp_path / "alone.wav", "audio", CUTTING, face="all"))
    for streams in ways:
        assert whole(streams) == whole(ways[0])
        assert streams.faces == () and not streams.has_video and streams.face_share is None
        assert streams.followed.num_frames == 0 and streams.notes("audio") == ()
        np.testing.assert_allclose(streams.audio_S, ways[0].audio_S, atol=2**-15)
    ((start, end, index, share, speaker),) = whole(ways[0])
    assert ways[0].has_speech and end > start and (index, share, speaker) == (None, None, None)


@pytest.mark.parametrize(
    ("name", "share", "what"), [("alone.wav", None, "There is no picture"), ("wall.mp4", 0, "No face was found")]
)
def test_without_a_picture_or_a_face_the_sound_is_left_and_said(name, share, what, tmp_path, monkeypatch, request):
    if share is None:
        monkeypatch.setattr(module, "FaceFinder", lambda: pytest.fail("there is no picture"))
    else:
        request.getfixturevalue("faces")
    write_wav(tmp_path / "alone.wav", voice(NUM / 25))
    write_video(tmp_path / "wall.mp4", [picture(160, 160)] * NUM, voice(NUM / 25))
    streams = read_streams(tmp_path / name, "audio+video", CUTTING)
    (segment,) = streams.segments
    assert streams.has_speech and segment.mouth_THW is None and segment.face is None
    assert segment.face_share == streams.face_share == share
    assert streams.notes("audio+video") == (f"{what}: the sound alone was used.",) and streams.notes("audio") == ()


def test_without_a_sound_track_the_lips_are_left_and_said(faces, clips):
    streams = read_streams(clips / "mute.mp4", "audio+video", CUTTING)
    (segment,) = streams.segments
    assert streams.audio_S is None and streams.sound(segment) is None
    assert streams.has_speech and len(segment.mouth_THW) == NUM
    assert streams.notes("audio+video") == ("There is no sound: the lips alone were read.",)
    assert "no sound" in streams.why_nothing("audio")
    empty = read_streams(clips / "mute.mp4", "audio+video", CUTTING, audio_S=np.zeros(0, np.float32))
    assert empty.audio_S is None and whole(empty) == whole(streams)


def test_what_holds_neither_gives_one_line(faces, tmp_path):  # bad files of other kinds: ``write_bad_files``
    write_video(tmp_path / "file.mp4", [picture(160, 160)] * 30)
    with pytest.raises(MediaError, match="shows no face in 30 frames, and there is no sound") as caught:
        read_streams(tmp_path / "file.mp4", "audio+video", CUTTING)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("name", "modality"), [("mute.mp4", "audio"), ("alone.wav", "video")])
def test_a_stream_that_alone_is_asked_for_and_is_not_there_is_an_error(name, modality, clips, tmp_path):
    write_wav(tmp_path / "alone.wav", voice(1))
    with pytest.raises(MediaError, match=f"modality {modality}"):
        read_streams((clips if "mute" in name else tmp_path) / name, modality, CUTTING)


def test_speech_after_the_pictures_end_is_left_to_the_sound(followed, clips):
    audio_S = np.concatenate([voice(NUM / 25), np.zeros(SAMPLE_RATE * 2, np.float32), voice(2, seed=1)])
    followed(face(20 + 5 * syllables(NUM, 4)), num_frames=NUM)
    for choice in ("speaking", "largest", "all", 1):
        streams = read_streams(clips / "voice.mp4", "audio+video", CUTTING, choice, audio_S=audio_S)
        first, second = streams.segments
        assert second.frames[0] > NUM and second.mouth_THW is None and second.face is None and second.face_share == 0
        assert len(first.mouth_THW) == first.num_frames
        assert streams.num_frames == len(audio_S) / 640 and streams.duration_s == len(audio_S) / SAMPLE_RATE
        assert streams.face_share == pytest.approx(NUM / streams.num_frames)
        when = f"{second.start_s:.1f} to {second.end_s:.1f} s"
        assert streams.notes("audio+video") == (f"No face in 1 of 2 segments ({when}): the sound alone was used.",)


def test_lips_stand_still_where_the_sound_outlasts_the_picture_by_little(followed, clips):
    followed(face(20 + 5 * syllables(NUM, 4)), num_frames=NUM)
    (segment,) = read_streams(clips / "voice.mp4", "audio+video", CUTTING, audio_S=voice((NUM + 10) / 25)).segments
    assert segment.frames[1] == NUM + 10 == len(segment.mouth_THW)
    assert (segment.mouth_THW[NUM:] == segment.mouth_THW[NUM - 1]).all() and segment.mouth_THW[-1].any()
    assert segment.face_share == pytest.approx(NUM / (NUM + 10))


def test_lips_speak_on_where_the_picture_outlasts_the_sound(followed, clips):
    followed(face(20 + 5 * syllables(150, 4)), num_frames=150)
    streams = read_streams(clips / "voice.mp4", "audio+video", CUTTING, audio_S=voice(1))
    assert streams.num_frames == 150 and streams.duration_s == 6 and len(streams.speech_T) == 150
    assert streams.segments[-1].frames[1] > 120
    for segment in streams.segments:
        assert len(segment.mouth_THW) == segment.num_frames
        assert 0 < len(streams.sound(segment)) <= 640 * segment.num_frames
    np.testing.assert_array_equal(streams.sound(Segment(4, 4.8)), np.zeros(640))


@pytest.mark.parametrize(("known", "reads"), [(0.4, False), (0.6, True)])
@pytest.mark.parametrize("choice", ["speaking", "largest", 1])
def test_lips_are_read_where_a_face_is_known_for_half_of_the_segment(known, reads, choice):
    found = FollowedFaces((face(20 + 5 * syllables(int(50 * known), 4)),), 50, 50)
    ((index, share),) = choose_faces(found, (0, 50), voice(2), choice)
    assert (index is not None) == reads and share == pytest.approx(known)


def test_tracks_of_different_length_are_told(followed, clips):
    followed(face(20 + 5 * syllables(NUM, 4)), num_frames=NUM)
    (remark,) = read_streams(clips / "hiss.mp4", "audio+video", CUTTING).remarks
    assert remark.startswith("The picture lasts 1.2 s, the sound 3.")
    assert read_streams(clips / "voice.mp4", "audio+video", CUTTING).remarks == ()


def test_a_face_that_is_there_for_half_of_the_file_is_read_there(followed, clips):
    audio_S = np.concatenate([voice(2), np.zeros(SAMPLE_RATE, np.float32), voice(2, seed=1)])
    followed(face(20 + 5 * syllables(60, 4), first=65), num_frames=125)
    streams = read_streams(clips / "voice.mp4", "audio+video", CUTTING, audio_S=audio_S)
    assert all(before.end_s <= after.start_s for before, after in pairwise(streams.segments))
    for segment in streams.segments:
        assert (segment.mouth_THW is not None) == (segment.face_share >= 0.5) == (segment.frames[1] > 70)
    assert streams.face_share == pytest.approx(60 / 125)
    assert any(note.startswith("No face in 1 of 2 segments (0.0 to ") for note in streams.notes("audio+video"))
    assert streams.notes("video")[0].endswith("left out.")


def test_silence_and_still_lips_are_no_speech_and_are_said(followed, clips):
    said = {"video": "No lips move.", "audio": "Nobody is heard to speak."}
    for modality, note in (said | {"audio+video": "Nobody is heard to speak and no lips move."}).items():
        followed(face(np.full(NUM, 20.0)), num_frames=NUM)
        streams = read_streams(clips / "voice.mp4", modality, CUTTING, audio_S=np.zeros(NUM * 640, np.float32))
        (segment,) = streams.segments
        assert not streams.has_speech and segment.frames == (0, NUM)
        assert streams.notes(modality) == (note,)


def test_of_two_drawn_faces_the_one_that_is_asked_for_is_read(faces, finder, tmp_path, monkeypatch):
    path, opening_T = tmp_path / "pair.mp4", syllables(NUM, 5)  # of the smaller face; the larger keeps its mouth shut
    write_video(path, [picture(160, 300, (85, 80, 140, 0.1), (230, 80, 100, one)) for one in opening_T])
    audio_S = sound_of(opening_T)
    found = module.follow_faces(module.read_pictures(path), finder)  # once for all choices
    monkeypatch.setattr(module, "follow_faces", lambda pictures, finder, **_: found)
    for choice, wanted in {"speaking": 1, "largest": 0, 2: 1}.items():
        streams = read_streams(path, "audio+video", CUTTING, choice, audio_S=audio_S)
        widths = [float(np.diff(one.boxes_T4[0, ::2])[0]) for one in streams.faces]
        (segment,) = streams.segments
        assert len(widths) == 2 and widths[0] > widths[1] and segment.speaker is None and segment.face == wanted
    with pytest.raises(MediaError, match="shows 2 faces, face 3 was asked for"):
        read_streams(path, "audio+video", CUTTING, 3, audio_S=audio_S)


def test_all_faces_that_speak_have_a_segment_and_a_label(followed, clips):
    still_T, talking_T, other_T = np.full(NUM, 20.0), 20 + 8 * syllables(NUM, 4), 20 + 8 * syllables(NUM, 6)
    followed(face(still_T), face(talking_T), face(other_T), num_frames=NUM)
    streams = read_streams(clips / "voice.mp4", "audio+video", CUTTING, "all", audio_S=sound_of(syllables(NUM, 4)))
    assert [(one.face, one.speaker) for one in streams.segments] == [(1, "speaker 2"), (2, "speaker 3")]
    assert all((one.mouth_THW == one.face + 1).all() and one.frames == (0, NUM) for one in streams.segments)


def test_a_chosen_faces_own_lips_tell_when_it_speaks(followed, clips):
    silent, talking = face(np.full(100, 20.0)), face(np.r_[np.full(50, 20.0), 20 + 8 * syllables(50, 4)])
    followed(silent, talking, num_frames=100)
    for choice, speaks in ((1, False), ("largest", False), (2, True), ("speaking", True), ("all", True)):
        streams = read_streams(clips / "mute.mp4", "video", CUTTING, choice)
        assert streams.has_speech == speaks, choice
        if speaks:
            assert {one.face for one in streams.segments} == {1}
            assert min(one.start_s for one in streams.segments) > 1.2


def test_the_face_may_change_from_segment_to_segment():
    left_T, right_T = syllables(50, 1), syllables(50, 2)
    found = FollowedFaces((face(10 * np.r_[left_T, syllables(50, 8)]), face(10 * right_T, 50)), 100, 100)
    audio_S = np.concatenate([sound_of(left_T), sound_of(right_T, 1)])

    def chosen(choice):
        return [[index for index, _ in choose_faces(found, part, audio_S, choice)] for part in ((0, 50), (50, 100))]

    assert chosen("speaking") == [[0], [1]] and chosen("largest") == [[0], [0]]
    assert chosen(2) == [[None], [1]] and chosen("all") == [[0], [0, 1]]


@pytest.mark.parametrize("choice", ["loudest", 0, -1, True, 1.0, None, ""])
def test_a_choice_of_face_that_is_none_is_refused_before_the_file_is_opened(choice, tmp_path):
    with pytest.raises(ValueError, match=r"face=.* came; wanted 'speaking'"):
        read_streams(tmp_path / "missing.mp4", "audio+video", CUTTING, choice)
    check_face(7)


def test_damage_that_was_worked_around_is_told_once_and_not_logged(faces, clips, tmp_path, caplog):
    torn = damaged(clips / "voice.mp4", tmp_path / "torn.mp4", "video", slice(20, 22))
    streams = read_streams(torn, "audio+video", CUTTING)
    (remark,) = streams.remarks  # the file is read twice
    assert "video packets do not decode" in remark and str(torn) not in remark
    assert streams.notes("audio+video")[0] == remark
    assert read_streams(torn, "audio", CUTTING).remarks == () and not caplog.records
    list(module.read_pictures(torn))
    assert remark in caplog.text, "without a list for notes it is logged"
