"""Sound without a voice, and lips that cannot help, are left out, and the notes say so."""

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest

from avspeech.media.video import read_pictures
from avspeech.roi.faces import Face
from avspeech.roi.track import FrameStatus
from avspeech.timebase import SAMPLE_RATE
from avspeech.transcription import reading as module
from avspeech.transcription.reading import read_streams
from avspeech.transcription.speech_activity import speech_probability
from avspeech.transcription.trust import has_voice, is_clear
from avspeech.transcription.who_speaks import Offset
from tests.media.conftest import write
from tests.roi.test_speaking import face, syllables
from tests.transcription.test_speech_activity import voice
from tests.transcription.test_streams import CUTTING, NUM, clips, followed  # noqa: F401 - fixtures

LIPS = 20 + 8 * syllables(NUM, 4)
TIME_S = np.arange(NUM * 640) / SAMPLE_RATE
NOISE_S = np.random.default_rng(0).standard_normal(len(TIME_S))


def chords() -> np.ndarray:
    roots = np.repeat([220.0, 294.0, 247.0, 330.0, 262.0, 392.0], -(-len(TIME_S) // 6))[: len(TIME_S)]
    fade_S = np.exp(-4 * (TIME_S % 0.2))
    return fade_S * sum(np.sin(2 * np.pi * roots * step * TIME_S) for step in (1, 1.25, 1.5, 2, 3))


SOUNDS = {
    "hiss of -80 dBFS": 1e-4 * NOISE_S,
    "hum": 0.05 * sum(np.sin(2 * np.pi * 50 * k * TIME_S) / k for k in (1, 2, 3, 5)),
    "wind": 0.05 * np.convolve(NOISE_S, np.ones(200) / 15, "same") * (1.2 + np.sin(5 * TIME_S)),
    "music": 0.05 * chords(),
    "test tone": 0.2 * np.sin(2 * np.pi * 1000 * TIME_S),
    "silence off zero": np.full(len(TIME_S), 0.3),
    "digital silence": np.zeros(len(TIME_S)),
}


@pytest.fixture
def fits(monkeypatch):
    """Return a function that sets what the synchrony model says of every segment, in place of asking it."""

    def say(offset=Offset(0, 9.0), foreign=False):
        monkeypatch.setattr(module, "has_voice", lambda prob_T: (prob_T > 0.5).any())  # made voices are less sure
        monkeypatch.setattr(module, "watch", lambda faces, spans, *_: (offset, [s[1:] for s in spans] * foreign))

    return say


@pytest.mark.parametrize("name", SOUNDS)
def test_where_nobody_is_heard_and_lips_move_the_lips_are_read_alone(name, followed, clips):  # noqa: F811
    followed(face(LIPS), num_frames=NUM)
    streams = read_streams(clips / "voice.mp4", "audio+video", CUTTING, audio_S=SOUNDS[name].astype(np.float32))
    assert [(one.modality, one.note) for one in streams.to_decode("audio+video")] == [
        ("video", "nobody is heard: lips alone")
    ]
    assert streams.notes("audio+video") == ("Nobody is heard to speak: the lips alone were read.",)
    assert streams.notes("video") == () and [one.modality for one in streams.to_decode("video")] == ["video"]
    assert streams.to_decode("audio") == [] and streams.notes("audio") == ("Nobody is heard to speak.",)
    assert not streams.is_missing("audio"), "a sound without a voice is no missing sound"


def test_a_voice_is_a_voice_also_in_noise_and_a_short_one():
    own_S = voice(2)
    for audio_S in (own_S, 0.01 * own_S, own_S + 0.02 * np.resize(NOISE_S, len(own_S)), own_S[: SAMPLE_RATE // 2]):
        assert has_voice(speech_probability(audio_S.astype(np.float32)))
    blips_T = np.tile(np.array([0.9, 0.9, 0.9, 0.5], np.float32), 50)
    assert not has_voice(blips_T) and not has_voice(np.ones(3)) and has_voice(np.ones(4))


def test_still_lips_are_not_read_in_place_of_a_sound_that_may_be_a_voice(followed, clips, fits, monkeypatch):  # noqa: F811
    fits()
    blip_T = np.where(np.arange(NUM) % 5 == 0, 0.4, 0.0).astype(np.float32)
    monkeypatch.setattr(module, "speech_probability", lambda audio_S: blip_T)
    followed(face(np.full(NUM, 20.0)), num_frames=NUM)
    streams = read_streams(clips / "voice.mp4", "audio+video", CUTTING, audio_S=voice(NUM / 25))
    assert [one.modality for one in streams.to_decode("audio+video")] == ["audio+video"]


def test_a_clear_voice_has_quiet_pauses_and_one_in_noise_has_none():
    pauses_S = np.repeat(np.tile([1.0, 1.0, 1.0, 0.003], 5), 1600).astype(np.float32)
    own_S = voice(2, seed=1) * pauses_S[: 2 * SAMPLE_RATE]
    own_S = np.convolve(own_S, [1, -0.9], "same")  # hiss of the made voice is as loud as its quiet parts
    gated_S = np.where(pauses_S[: len(own_S)] > 0.5, own_S, own_S / 50).astype(np.float32)
    assert is_clear(gated_S)
    for level in (0.3, 0.03, 0.01):
        noisy_S = gated_S + level * gated_S.std() * np.resize(NOISE_S, len(gated_S)) * 3
        assert not is_clear(noisy_S.astype(np.float32)), level
    assert not is_clear(np.zeros(0, np.float32))


@pytest.mark.parametrize("clear", [True, False])
def test_lips_of_another_are_left_out_where_the_voice_is_clear(clear, followed, clips, fits, monkeypatch):  # noqa: F811
    fits(foreign=True)
    monkeypatch.setattr(module, "is_clear", lambda audio_S: clear)
    followed(face(LIPS), num_frames=NUM)
    streams = read_streams(clips / "voice.mp4", "audio+video", CUTTING, audio_S=voice(NUM / 25))
    ((modality, note),) = [(one.modality, one.note) for one in streams.to_decode("audio+video")]
    (said,) = streams.notes("audio+video")
    if clear:
        assert (modality, note) == ("audio", "the voice is of nobody in view: sound alone")
        assert said == "The voice seems to be of nobody in view: the sound alone was used."
    else:
        assert (modality, note) == ("audio+video", None)
        assert said.startswith("The voice seems to be of nobody in view, or in noise, in 1 of 1 segments (0.0 to")
    assert [one.modality for one in streams.to_decode("video")] == ["video"] and streams.notes("video") == ()


def test_a_sound_whose_lips_are_left_out_is_decoded_once_for_all_faces(followed, clips, fits):  # noqa: F811
    fits(Offset(5, 2.5))
    followed(face(LIPS), face(20 + 8 * syllables(NUM, 6)), num_frames=NUM)
    streams = read_streams(clips / "voice.mp4", "audio+video", CUTTING, "all", audio_S=voice(NUM / 25))
    assert [(one.modality, one.speaker) for one in streams.to_decode("audio+video")] == [("audio", None)]
    assert [one.speaker for one in streams.to_decode("video")] == ["speaker 1", "speaker 2"]


OFFSETS = {  # an offset, and whether lips so far from the sound are left out
    Offset(5, 2.5): True, Offset(-3, 9.0): True, Offset(2, 9.0): False, Offset(5, 1.0): False,
    Offset(5, 9.0, fit=-0.2): False,
}  # fmt: skip


@pytest.mark.parametrize(("offset", "left_out"), OFFSETS.items())
def test_lips_out_of_step_are_left_out_unless_they_are_near_or_unsure(offset, left_out, followed, clips, fits):  # noqa: F811
    fits(offset)
    followed(face(LIPS), num_frames=NUM)
    streams = read_streams(clips / "voice.mp4", "audio+video", CUTTING, audio_S=voice(NUM / 25))
    assert [one.modality for one in streams.to_decode("audio+video")] == ["audio" if left_out else "audio+video"]
    said = "Lips and sound are out of step: the sound alone was used." in streams.notes("audio+video")
    assert said == left_out


def steady(rate: int) -> list[int]:
    return list(range(2 * rate))


FEW = {
    "7.mp4": (steady(7), Fraction(1, 7), Fraction(7), "libx264"),
    "6.avi": (steady(6), Fraction(1, 6), Fraction(6), "mpeg4"),
    "5.mov": (steady(5), Fraction(1, 5), Fraction(5), "mpeg4"),
    "uneven.mkv": ([0, 3, 5, 12, 14, 21, 25, 31, 36, 49], Fraction(1, 25), Fraction(25), "libx264"),  # the header lies
    "12.5.webm": (steady(12), Fraction(2, 25), Fraction(25, 2), "libvpx"),
    "15.mkv": (steady(15), Fraction(1, 15), Fraction(15), "libx264"),
    "30.mp4": (steady(30), Fraction(1, 30), Fraction(30), "libx264"),
}


@pytest.mark.parametrize("name", FEW)
def test_lips_of_too_few_pictures_a_second_are_left_out(name, followed, clips, fits, tmp_path, monkeypatch):  # noqa: F811
    fits()
    ticks, base, rate, codec = FEW[name]
    write(tmp_path / name, [np.full((64, 64, 3), 3 * n, np.uint8) for n in range(len(ticks))], ticks, base, rate, codec)
    num_frames = sum(1 for _ in read_pictures(tmp_path / name))
    followed(face(20 + 8 * syllables(num_frames, 4)), num_frames=num_frames)
    found = module.follow_faces(None, None)

    def follow(pictures, *_, **__):
        return replace(found, shown_T2=np.array([picture.shown_s for picture in pictures]))

    monkeypatch.setattr(module, "follow_faces", follow)
    streams = read_streams(tmp_path / name, "audio+video", CUTTING, audio_S=voice(num_frames / 25))
    few = name in ("7.mp4", "6.avi", "5.mov", "uneven.mkv")
    assert [one.modality for one in streams.to_decode("audio+video")] == ["audio" if few else "audio+video"]
    notes = [note for note in streams.notes("audio+video") if "pictures a second" in note]
    assert bool(notes) == few
    if few:
        counted = round(25 * len(ticks) / num_frames)
        assert notes == [f"The picture has {counted} pictures a second, too few for lips: the sound alone was used."]
        alone = read_streams(tmp_path / name, "video", CUTTING)
        assert [one.modality for one in alone.to_decode("video")] == ["video"]
        assert alone.notes("video")[0].endswith("too few for lips: they were read all the same.")


def seen_in(*stretches: tuple[int, int]) -> Face:
    """Return a face that is known in these frames of ``NUM`` alone, from its first to its last."""
    first, end = stretches[0][0], stretches[-1][1]
    made = face(LIPS[first:end], first)
    made.status_T[:] = FrameStatus.MISSING
    for start, stop in stretches:
        made.status_T[start - first : stop - first] = FrameStatus.MEASURED
    return made


@pytest.mark.parametrize(
    ("known", "told"),
    [
        ([(0, 17)], "0.7 to 1.2 s"),
        ([(14, 30)], "0.0 to 0.6 s"),
        ([(0, 10), (22, 30)], "0.4 to 0.9 s"),
        ([(0, 3), (9, 12), (24, 30)], "0.1 to 1.0 s"),  # a short sight is no face
        ([(0, 12), (20, 30)], None),
        ([(0, 30)], None),
    ],
)
def test_where_the_face_is_away_from_lips_that_are_read_alone_is_told(known, told, followed, clips, fits):  # noqa: F811
    fits()
    followed(seen_in(*known), num_frames=NUM)
    want = [] if told is None else [f"No face is seen from {told}: nothing was read there."]
    for name, audio_S in (("mute.mp4", None), ("voice.mp4", SOUNDS["hum"].astype(np.float32))):
        streams = read_streams(clips / name, "audio+video", CUTTING, audio_S=audio_S)
        if name == "mute.mp4" or [one.modality for one in streams.to_decode("audio+video")] == ["video"]:
            assert [note for note in streams.notes("audio+video") if "is seen from" in note] == want
    beside = read_streams(clips / "voice.mp4", "audio+video", CUTTING, audio_S=voice(NUM / 25))
    assert not [note for note in beside.notes("audio+video") if "is seen from" in note], "the sound was read there"
