"""Segments become text at their times, whatever stands beside them in a batch; what cannot be is said in one line."""

from dataclasses import replace
from functools import cache
from itertools import pairwise

import numpy as np
import pytest
import torch

from avspeech.decoding.config import DecodingConfig
from avspeech.evaluation.conditions import MODALITIES, Condition
from avspeech.evaluation.loading import ConditionLoader
from avspeech.evaluation.systems import batch_decoder, transcribe_all
from avspeech.manifest import Utterance
from avspeech.media.audio import read_audio, write_wav
from avspeech.media.errors import MediaError
from avspeech.media.video import read_grey_clip, write_video
from avspeech.models.files import save_model
from avspeech.transcription import segment_decoding, speech_model
from avspeech.transcription.cutting import CuttingConfig
from avspeech.transcription.segment_decoding import SegmentDecoder
from avspeech.transcription.speech_model import SpeechModel, load_model
from tests.hub.small_models import KINDS as SMALL_KINDS
from tests.hub.small_models import recognizer
from tests.models.tiny_whisper import make_whisper
from tests.refusals import raises
from tests.transcription.hand_made import KINDS, LIPS_THW, NUM, SOUND, SPANS, WHISPER, hand_made, make

pytest.importorskip("whisper", reason="openai-whisper is not installed")
GREEDY = DecodingConfig(temperatures=(0.0,))
USES = [("whisper", "audio"), *((kind, one) for kind in KINDS if kind != "whisper" for one in MODALITIES)]
"""Kinds of models, and the streams that each takes."""
made = cache(make)


def model(kind: str, decoding: DecodingConfig = GREEDY) -> SpeechModel:
    return SpeechModel(made(kind), f"tiny {kind}", decoding=decoding)


def streams_for(kind: str, **how):
    return hand_made(modality="audio", mouth_THW=None, **how) if kind == "whisper" else hand_made(**how)


def same(one, other) -> bool:  # but for rounding
    def parts(segment):
        numbers = [value for word in segment.words for value in (word.start_s, word.end_s, word.probability)]
        rest = (replace(segment, words=(), score=0.0), [word.text for word in segment.words])
        return rest, [segment.score, *numbers]

    (rest, numbers), (other_rest, other_numbers) = parts(one), parts(other)
    return rest == other_rest and np.allclose(numbers, other_numbers, atol=5e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_segments_are_in_the_order_of_time_on_the_files_clock(kind):
    speaker = model(kind)  # decodes the longest first; the third and the fourth segment hold what the first two do
    sound_S, lips_THW = np.tile(SOUND[: 45 * 640], 2), np.tile(LIPS_THW[:45], (2, 1, 1))
    streams = streams_for(kind, spans=((0, 15), (15, 45), (45, 60), (60, 90)), audio_S=sound_S)
    if kind != "whisper":
        segments = (replace(one, mouth_THW=lips_THW[slice(*one.frames)]) for one in streams.segments)
        streams = replace(streams, segments=tuple(segments))
    transcript = speaker.transcribe_streams(streams, language="en")
    assert [(one.start_s, one.end_s) for one in transcript.segments] == [(0, 0.6), (0.6, 1.8), (1.8, 2.4), (2.4, 3.6)]
    assert transcript.text == " ".join(one.text for one in transcript.segments)
    for early, late in zip(transcript.segments[:2], transcript.segments[2:], strict=True):
        words = tuple(replace(one, start_s=one.start_s + 1.8, end_s=one.end_s + 1.8) for one in early.words)
        assert same(replace(early, start_s=late.start_s, end_s=late.end_s, words=words), late)
    for one in transcript.segments:
        assert one.words and one.score < 0
        assert all(one.start_s <= word.start_s <= word.end_s <= one.end_s for word in one.words)
        assert all(before.start_s <= after.start_s for before, after in pairwise(one.words))
    assert transcript.duration_s == 3.6 and transcript.source == "clip.mp4" and transcript.model == f"tiny {kind}"


@pytest.mark.parametrize(("kind", "modality"), USES)
def test_batching_changes_nothing(kind, modality, monkeypatch):
    streams = streams_for(kind, blind=(1,) if modality == "audio+video" else ())
    together = model(kind).transcribe_streams(streams, modality=modality, language="en")
    assert len(together.segments) == len(SPANS)
    for max_clips in (1, 2):
        monkeypatch.setattr(speech_model, "MAX_CLIPS", max_clips)
        apart = model(kind).transcribe_streams(streams, modality=modality, language="en")
        assert all(map(same, apart.segments, together.segments))
    for given, one in zip(streams.segments, together.segments, strict=True):
        alone = replace(streams, segments=(given,))
        (segment,) = model(kind).transcribe_streams(alone, modality=modality, language="en").segments
        assert same(segment, one)
    scores = [one.score for one in together.segments]
    assert min(abs(a - b) for a, b in pairwise(sorted(scores))) > 1e-3  # a mix-up would show


def test_batching_changes_nothing_where_texts_are_drawn(monkeypatch):
    drawing = DecodingConfig(temperatures=(0.0, 0.8))  # every text of a random Whisper is improbable: all are drawn
    streams = hand_made(spans=SPANS[:3])
    together = model("flamingo", drawing).transcribe_streams(streams, language="en").segments
    monkeypatch.setattr(speech_model, "MAX_CLIPS", 1)
    assert all(map(same, together, model("flamingo", drawing).transcribe_streams(streams, language="en").segments))
    greedy = model("flamingo").transcribe_streams(streams, language="en").segments
    assert [one.text for one in together] != [one.text for one in greedy]


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    folder = tmp_path_factory.mktemp("clip")
    write_video(folder / "lips.mp4", LIPS_THW[:40])
    write_wav(folder / "sound.wav", SOUND[: 40 * 640 - 1600])  # ends 0.1 s before the lips do
    return Utterance(id="one", audio=folder / "sound.wav", mouth=folder / "lips.mp4", text="pa", language="en")


@pytest.mark.parametrize(("kind", "modality"), USES)
def test_a_file_that_is_one_segment_is_decoded_as_in_evaluation(kind, modality, clip):
    speaker = model(kind)
    loader, condition = ConditionLoader(inputs=speaker.network.inputs), Condition(modality)
    wanted = transcribe_all(batch_decoder(speaker.network, GREEDY), "cpu", [clip], condition, loader)
    audio_S = read_audio(clip.audio) if "audio" in modality else None
    mouth_THW = read_grey_clip(clip.mouth) if "video" in modality else None
    num_frames = 40 if mouth_THW is not None else -(-len(audio_S) // 640)
    streams = hand_made(((0, num_frames),), modality, audio_S, mouth_THW)
    (segment,) = speaker.transcribe_streams(streams, language="en").segments
    assert segment.text and [segment.text] == wanted
    own = speaker.decoder.sample("one", num_frames, audio_S, mouth_THW)
    theirs = loader.load(clip, condition)
    assert own.num_frames == theirs.num_frames
    for name in ("audio_TF", "video_THW", "logmel_AF"):
        values = [getattr(sample, name) for sample in (own, theirs)]
        assert (values[0] is None) == (values[1] is None), name
        assert values[0] is None or torch.equal(*values), name


def test_each_segment_says_which_streams_it_had():
    transcript = model("ctc").transcribe_streams(hand_made(blind=(0, 3)))
    unseen, seen = ("audio", "no face: sound alone", 0.0), ("audio+video", None, 0.9)
    assert [(one.modality, one.note, one.face_share) for one in transcript.segments] == [unseen, seen, seen, unseen]
    assert transcript.notes == ("No face in 2 of 4 segments (0.0 to 0.8 s, 2.5 to 3.6 s): the sound alone was used.",)
    assert transcript.modality == "audio+video"
    lips = model("ctc").transcribe_streams(hand_made(blind=(0,)), modality="video")
    assert [(one.start_s, one.modality) for one in lips.segments] == [(0.8, "video"), (2.0, "video"), (2.48, "video")]
    assert lips.notes == ("No face in 1 of 4 segments (0.0 to 0.8 s): left out.",)
    mute = model("ctc").transcribe_streams(hand_made(audio_S=None))
    assert {one.modality for one in mute.segments} == {"video"}
    assert mute.notes == ("There is no sound: the lips alone were read.",)
    deaf = model("ctc").transcribe_streams(hand_made(mouth_THW=None))
    assert {(one.modality, one.note) for one in deaf.segments} == {("audio", None)}
    assert deaf.notes == ("There is no picture: the sound alone was used.",) and deaf.face_share is None
    heard = model("ctc").transcribe_streams(hand_made(blind=(0,)), modality="audio")
    assert heard.notes == () and heard.face_share is None
    assert {(one.modality, one.note, one.face_share) for one in heard.segments} == {("audio", None, None)}


@pytest.mark.parametrize("kind", ["ctc", "flamingo"])
@pytest.mark.parametrize("dropped", ["audio", "video"])
def test_a_stream_that_is_not_used_cannot_be_seen(kind, dropped):
    used = "video" if dropped == "audio" else "audio"
    noise = {"audio_S": SOUND[::-1].copy()} if dropped == "audio" else {"mouth_THW": 255 - LIPS_THW}
    wanted = model(kind).transcribe_streams(hand_made(), modality=used, language="en")
    assert wanted == model(kind).transcribe_streams(hand_made(**noise), modality=used, language="en")
    assert wanted.segments != model(kind).transcribe_streams(hand_made(), language="en").segments


def test_several_speakers_are_one_text_where_only_the_sound_is_used():
    labels = ["speaker 1", "speaker 2", "speaker 2"]
    streams = hand_made(((0, 30), (0, 30), (30, 60)), speakers=labels)
    both = model("ctc").transcribe_streams(streams)
    assert [(one.start_s, one.speaker) for one in both.segments] == list(zip((0, 0, 1.2), labels, strict=True))
    sound = model("ctc").transcribe_streams(streams, modality="audio")
    assert [(one.start_s, one.speaker) for one in sound.segments] == [(0, None), (1.2, None)]


@pytest.mark.parametrize("kind", ["ctc", "flamingo"])
def test_finished_segments_are_not_decoded_again_and_each_is_told_once(kind, monkeypatch):
    speaker, streams = model(kind), hand_made(blind=(1,))
    told, shares = [], []
    whole = speaker.transcribe_streams(streams, on_segment=told.append, progress=shares.append)
    assert sorted(told, key=lambda one: one.start_s) == list(whole.segments) and len(told) == len(SPANS)
    assert shares == sorted(shares) and shares[-1] == 1
    decoder, decoded, decode = speaker.decoder, [], speaker.decoder.decode
    monkeypatch.setattr(decoder, "decode", lambda samples, *more: decoded.extend(samples) or decode(samples, *more))
    monkeypatch.setattr(decoder, "detect", lambda samples: pytest.fail("the language is known"))
    later = []
    resumed = speaker.transcribe_streams(streams, finished=told[:2], on_segment=later.append)
    assert len(decoded) == len(later) == 2
    assert not {one.start_s for one in later} & {one.start_s for one in told[:2]}
    assert all(map(same, resumed.segments, whole.segments))
    assert replace(resumed, segments=()) == replace(whole, segments=())
    decoded.clear()
    assert speaker.transcribe_streams(streams, finished=told, on_segment=pytest.fail) == whole and not decoded
    stranger = replace(told[0], end_s=told[0].end_s + 1)
    anew = speaker.transcribe_streams(streams, language="en", finished=[stranger])
    assert len(decoded) == len(anew.segments) == len(SPANS) and stranger not in anew.segments


def test_a_language_is_given_detected_or_refused(monkeypatch):
    speaker, asked = model("flamingo"), []
    detect = speaker.decoder.detect
    monkeypatch.setattr(speaker.decoder, "detect", lambda samples: asked.append(samples) or detect(samples))
    given = speaker.transcribe_streams(hand_made(), language="es")
    assert given.language == "es" and {one.language for one in given.segments} == {"es"} and not asked
    found = speaker.transcribe_streams(hand_made(blind=(2,)))
    (samples,) = asked  # once for the whole file, from the longest segments that have the same streams
    assert [sample.num_frames for sample in samples] == [28, 25, 20]
    assert {one.language for one in found.segments} == {found.language} and found.language in speaker.languages
    with pytest.raises(ValueError, match="language='xx' came for tiny flamingo; it knows"):
        speaker.transcribe_streams(hand_made(), language="xx")
    with pytest.raises(ValueError, match="language='english'"):
        speaker.transcribe("missing.mp4", language="english")  # before the file is opened
    told = model("ctc").transcribe_streams(hand_made(), language="gd")  # it writes what it was trained on
    assert told.language == "gd" and {one.language for one in told.segments} == {"gd"}
    assert model("ctc").transcribe_streams(hand_made()).language is None


def test_a_language_is_detected_from_one_batch_of_segments(monkeypatch):
    speaker, asked = model("whisper"), []  # once all at once, each padded to 30 s
    monkeypatch.setattr(speech_model, "MAX_CLIPS", 2)
    monkeypatch.setattr(speaker.decoder, "detect", lambda samples: asked.append(samples) or "en")
    assert len(SPANS) > 2 and speaker.transcribe_streams(streams_for("whisper")).language == "en"
    assert [len(samples) for samples in asked] == [2]


def test_the_language_of_most_speech_wins(monkeypatch):
    decoder = model("flamingo").decoder
    codes = decoder.languages[:2]
    rows = [{code: float(code == codes[0]) for code in decoder.languages}] * 2
    rows.append({code: 1.5 * (code == codes[1]) for code in decoder.languages})
    monkeypatch.setattr(segment_decoding, "detect_languages", lambda *_: ([], rows))
    for frames, wanted in ((10, 10, 60), codes[1]), ((30, 30, 20), codes[0]):
        assert decoder.detect([decoder.sample(str(n), n, SOUND[: n * 640], LIPS_THW[:n]) for n in frames]) == wanted


def test_english_only_models_are_never_asked():
    english = SpeechModel(make_whisper(replace(WHISPER, vocab_size=51_864)), "tiny.en", decoding=GREEDY)
    streams = streams_for("whisper", spans=SPANS[:1])
    assert english.languages == ("en",) and english.transcribe_streams(streams).language == "en"
    raises(ValueError, "language='es'", english.transcribe_streams, streams, language="es")


def test_streams_that_a_model_or_a_file_lacks_are_refused():
    assert model("whisper").modality() == "audio" and model("flamingo").modality() == "audio+video"
    for kind, options, reason in (
        ("whisper", {"modality": "video"}, "modality='video' came for tiny whisper"),
        ("whisper", {"modality": "audio+video"}, r"modality='audio\+video' came for tiny whisper"),
        ("ctc", {"modality": "lips"}, "modality='lips' came; wanted"),
        ("ctc", {"face": "both"}, "face='both'"),
    ):
        raises(ValueError, reason, model(kind).transcribe, "missing.mp4", **options)
    transcribe = model("ctc").transcribe_streams
    raises(ValueError, "prepared as 'audio'", transcribe, hand_made(modality="audio", mouth_THW=None), modality="video")
    silence = r"clip\.mp4: has no sound, and modality audio needs it"
    raises(MediaError, silence, transcribe, hand_made(audio_S=None), modality="audio")
    raises(MediaError, "no face that could be read", transcribe, hand_made(blind=range(4)), modality="video")
    silent = model("ctc").transcribe_streams(hand_made(silent=True))
    assert silent.segments == () and silent.text == "" and "Nobody is heard" in silent.notes[0]


def test_official_models_and_those_trained_on_sound_alone_say_which_streams_they_take():
    for wanted in MODALITIES:
        network = recognizer()
        network.source = {"model": "avhubert", "training": {"task": {"modalities": wanted.split("+")}}}
        official = SpeechModel(network, "official")
        assert official.modality() == wanted and official.modality("audio+video") == "audio+video"
    network = recognizer()
    network.about["modality"] = "audio"
    trained = SpeechModel(network, "trained")
    assert trained.modality() == "audio" and trained.modality("audio+video") == "audio+video"
    transcript = trained.transcribe_streams(hand_made(), modality=trained.modality())
    assert {one.modality for one in transcript.segments} == {"audio"}


def test_a_model_without_text_says_so_and_so_does_one_without_a_tokenizer():
    pretrained = SpeechModel(SMALL_KINDS["cluster_predictor"](), "pre.safetensors")
    for use in (pretrained.transcribe, pretrained.prepare):
        raises(ValueError, r"pre\.safetensors: this ClusterPredictor gives no text", use, "missing.mp4")
    with pytest.raises(ValueError, match="came without the dictionary"):
        SpeechModel(recognizer(tokenizer=False), "old").transcribe("missing.mp4")


def test_options_that_do_not_fit_are_refused():
    raises(ValueError, "batch_frames=0", SpeechModel, model("ctc").network, "r", batch_frames=0)
    raises(ValueError, "without text decoder", SegmentDecoder, model("ctc").network, DecodingConfig("attention"), "ctc")
    raises(ValueError, "without CTC head", SegmentDecoder, model("attention").network, DecodingConfig("joint"), "a")
    raises(ValueError, "without CTC head", SegmentDecoder, model("whisper").network, DecodingConfig("ctc"), "whisper")
    padded = DecodingConfig(pad_to_30s=True)
    raises(ValueError, "takes at most 5 s", SegmentDecoder, model("whisper").network, padded, "whisper")
    network = model("whisper").network
    assert SpeechModel(network, "w").cutting == CuttingConfig(longest_s=4)
    with pytest.raises(ValueError, match=r"longest_s=20.0 .--longest. is above the 4 s that w takes"):
        assert SpeechModel(network, "w", cutting=CuttingConfig()).cutting


OPENAI = {"model": "whisper", "name": "base"}


@pytest.mark.parametrize("source", [None, OPENAI, OPENAI | {"fine_tuned": True}, {"model": "whisper_flamingo"}])
def test_only_openais_own_weights_are_given_30_s(source):
    network, pads = make_whisper(replace(WHISPER, audio_positions=1500, audio_depth=1)), source == OPENAI
    network.source = source
    decoder = SegmentDecoder(network, GREEDY, "w")
    assert len(decoder.sample("", 10, SOUND[:6400], None).logmel_AF) == (3000 if pads else 40)
    assert decoder.longest_s == 29
    assert SegmentDecoder(network, replace(GREEDY, pad_to_30s=not pads), "w").inputs.pads_to_30s == (not pads)


def test_words_are_timed_without_changing_the_number_of_threads():
    threads = torch.get_num_threads()
    torch.set_num_threads(3)  # it once became the number of cores, which made tiny steps 25 times slower
    try:
        model("whisper").transcribe_streams(streams_for("whisper", spans=SPANS[:1]), language="en")
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(threads)


def test_a_file_goes_all_the_way_and_a_loaded_model_does_the_same(tmp_path):
    save_model(tmp_path / "model.safetensors", model("ctc").network)
    write_wav(tmp_path / "clip.wav", SOUND)
    loaded, shares = load_model(tmp_path / "model.safetensors"), []
    transcript = loaded.transcribe(tmp_path / "clip.wav", modality="audio", progress=shares.append)
    assert transcript.source == str(tmp_path / "clip.wav") and transcript.duration_s == NUM / 25
    assert transcript.segments and {one.modality for one in transcript.segments} == {"audio"}
    assert shares == sorted(shares) and shares[0] >= 0 and shares[-1] == pytest.approx(1)
    streams = model("ctc").prepare(tmp_path / "clip.wav", modality="audio")
    assert model("ctc").transcribe_streams(streams).segments == transcript.segments
    again = load_model(loaded.save_pretrained(tmp_path / "shared"))
    assert again.transcribe(tmp_path / "clip.wav", modality="audio").segments == transcript.segments
    assert loaded.sha256 == load_model(str(tmp_path / "model.safetensors")).sha256
    raises(ValueError, "no model", load_model, tmp_path / "clip.wav")
    raises(MediaError, "No such file", loaded.transcribe, tmp_path / "missing.mp4")
