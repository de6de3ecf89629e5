"""The grid and its YAML."""

from dataclasses import replace
from pathlib import Path

import pytest

from avspeech.decoding.config import DecodingConfig
from avspeech.evaluation.conditions import Condition
from avspeech.evaluation.config import MOVED, EvaluationConfig, Scoring, read_conditions
from avspeech.noise.spec import NoiseSpec
from tests.refusals import raises

CONFIGS = Path(__file__).parents[2] / "configs" / "evaluate"


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.yaml")), ids=lambda path: path.stem)
def test_every_shipped_grid_can_be_read(path):
    assert read_conditions(path).grid()


def test_noise_grid_is_the_one_of_the_demo():
    config = read_conditions(CONFIGS / "noise_grid.yaml")
    cells = {(one.modality, one.noise, one.snr_db) for one in config.grid()}
    noises = [("none", None), *(("babble", snr_db) for snr_db in (10.0, 5.0, 0.0, -5.0))]
    assert cells == {(modality, *noise) for modality in ("audio", "video", "audio+video") for noise in noises}
    assert len(config.grid()) == 15


def test_video_is_decoded_once():
    config = EvaluationConfig(noises={"babble": NoiseSpec("babble")}, snrs_db=(0.0, 5.0), include_clean=False)
    assert {one.decoded_as for one in config.grid() if one.modality == "video"} == {Condition("video")}
    assert all(one.decoded_as == one for one in config.grid() if one.modality != "video")


def test_values_of_the_yaml_arrive(tmp_path):
    text = """
    modalities: [audio]
    noises:
      crowd: {kind: babble, manifest: runs/voices.jsonl, num_voices: [2, 8]}
      hiss: {kind: white}
    snrs_db: [5, -2.5]
    include_clean: false
    seed: 3
    decoding: {method: ctc, temperatures: [0]}
    scoring: {normalization: none}
    """
    config = read_conditions(written(tmp_path, text))
    noises = {"crowd": NoiseSpec("babble", Path("runs/voices.jsonl"), (2, 8)), "hiss": NoiseSpec("white")}
    chosen = {"snrs_db": (5.0, -2.5), "include_clean": False, "seed": 3, "scoring": Scoring("none")}
    assert config == EvaluationConfig(("audio",), noises, decoding=DecodingConfig("ctc", temperatures=(0.0,)), **chosen)
    assert [one.label for one in config.grid()] == [
        "audio, crowd 5 dB", "audio, crowd -2.5 dB", "audio, hiss 5 dB", "audio, hiss -2.5 dB",
    ]  # fmt: skip


def test_other_videos_are_shown_with_audio_only():
    babble = {"babble": NoiseSpec("babble")}
    config = EvaluationConfig(noises=babble, snrs_db=(0.0,), video_streams=("own", "blank", "shuffled"))
    assert [one.label for one in config.grid()] == [
        "audio, clean", "audio, babble 0 dB", "video, clean", "video, babble 0 dB",
        "audio+video, clean", "audio+video, babble 0 dB",
        "audio+video, clean, blank video", "audio+video, babble 0 dB, blank video",
        "audio+video, clean, shuffled video", "audio+video, babble 0 dB, shuffled video",
    ]  # fmt: skip
    assert all(one.decoded_as == one for one in config.grid() if one.video_stream != "own")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("snrs: [0]", "there is no key 'snrs'"),
        ("modalities: [sound]", 'key "modalities": .*sound'),
        ("modalities: audio", 'key "modalities": .*tuple.*audio'),
        ("modalities: null", "modalities=None must be a list"),
        ("modalities: []", "modalities is empty"),
        ("modalities: [audio, audio]", "modalities=.* names nothing twice"),
        ("snrs_db: [loud]", 'key "snrs_db": .*float.*loud'),
        ("{noises: {w: {kind: white}}, snrs_db: [.nan]}", r"snrs_db\[0\]=nan must be a number"),
        ("{noises: {w: {kind: white}}, snrs_db: [1000]}", r"snrs_db\[0\]=1000.0 must be a number from -100 to 100"),
        ("snrs_db: [0]", r"noises=\[\] with snrs_db=\[0.0\]"),
        ("{noises: {babble: {kind: babble}}}", r"noises=\['babble'\] with snrs_db=\[\]"),
        ("{noises: {babble: {}}, snrs_db: [0]}", 'key "noises": .*required: kind'),
        ("{noises: {babble: {kind: babble, voices: 3}}, snrs_db: [0]}", "key \"noises\": .*'voices' is not accepted"),
        ("{noises: {b: {kind: babble, num_voices: [3, 2]}}, snrs_db: [0]}", r"num_voices=\[3, 2\] must be"),
        ("{noises: {b: {kind: babble, num_voices: x}}, snrs_db: [0]}", 'key "noises": .*num_voices.*x'),
        ("{noises: {w: {kind: white, manifest: a}}, snrs_db: [0]}", "manifest='a' has no use with kind=white"),
        ("{noises: {none: {kind: white}}, snrs_db: [0]}", "noises.none: a name has letters"),
        ("{noises: {clean: {kind: white}}, snrs_db: [0]}", "noises.clean: a name has letters"),
        ("{noises: {a/b: {kind: white}}, snrs_db: [0]}", "noises.a/b: a name has letters"),
        ("include_clean: false", "include_clean=false without noises"),
        ("include_clean: 1", 'key "include_clean": .*bool.*1'),
        ("seed: 1.5", 'key "seed": .*int.*1.5'),
        ("seed: -1", "seed=-1 must"),
        ("decoding: {method: viterbi}", 'key "decoding.method": .*ctc.*viterbi'),
        ("decoding: {beam_size: 0}", "beam_size=0 must be at least 1"),
        ("decoding: {ctc_weight: 1.5}", r"ctc_weight=1\.5 must be from 0"),
        ("decoding: {temperatures: []}", r"temperatures=\[\] must be one or more numbers of at least 0"),
        ("decoding: {beam: 4}", "there is no key 'decoding.beam'"),
        ("video_streams: null", "video_streams=None must be a list"),
        ("video_streams: [own, none]", "video_streams: .*none.*; or one of own, blank, shuffled"),
        ("video_streams: [blank]", r"video_streams=\['blank'\] lacks 'own'"),
        ("video_streams: [own, blur-9]", "video_streams: .*blur-9"),
        ("video_streams_at: [rain]", "video_streams_at: 'rain' must be one of clean"),
        ("rule: loud", "rule='loud' must be one of avspeech, avhubert, auto_avsr"),
        ("scoring: {metric: wer}", 'key "scoring.metric": .*bleu.*wer'),
        ("scoring: {normalization: shout}", "normalization='shout': "),
        ("method: ctc", "method is now decoding.method"),
        ("language: detected", "language is now decoding.detect_language"),
        ("metric: bleu", "metric is now scoring.metric"),
        ("- audio", r"\['audio'\] came, wanted keys with values"),
        ("a: [", "conditions.yaml: while parsing"),
        ("seed: 1\nrule: avhubert\nseed: 2", "line 1: seed stands twice; remove one"),
        ("snrs_db: [0]\nnoises:\n  w: {kind: white}\n  w: {kind: pink}", "line 3: w stands twice; remove one"),
    ],
)
def test_error_names_the_key_as_typed(tmp_path, text, message):
    with pytest.raises(ValueError, match=message) as caught:
        read_conditions(written(tmp_path, text))
    assert "conditions.yaml" in str(caught.value)
    assert "while parsing" in message or "\n" not in str(caught.value)


def test_a_missing_file_is_named_and_every_key_that_moved_names_where_to(tmp_path):
    raises(ValueError, r"absent\.yaml cannot be read: No such file", read_conditions, tmp_path / "absent.yaml")
    for key, place in MOVED.items():
        with pytest.raises(ValueError, match=f"conditions.yaml: {key} is now {place.split(',')[0]}"):
            read_conditions(written(tmp_path, f"{key}: 1"))


def test_noise_files_come_from_the_command_line_too(config):
    assert config.with_noise_files({"babble": Path("voices.jsonl")}).noises["babble"].manifest == Path("voices.jsonl")
    assert config.noises["babble"].manifest is None
    named, bable = config.with_noise_files, {"bable": Path("bable")}
    raises(ValueError, "noise_manifests names bable, but noises has babble", named, manifests=bable)
    raises(ValueError, "noise_paths names bable, but noises has babble", named, paths=bable)
    useless = r"noise_paths: noises\.babble\.path='n.wav' has no use with kind=babble"
    raises(ValueError, useless, named, paths={"babble": Path("n.wav")})


def test_noises_can_be_left_out(config):
    several = replace(config, noises={**config.noises, "hiss": NoiseSpec("white")})
    assert {one.noise for one in several.with_noise_files(only=["hiss"]).grid()} == {"none", "hiss"}
    clean = {f"{one}, clean" for one in several.modalities}
    assert {one.label for one in several.with_noise_files(only=[]).grid()} == clean
    placed = replace(several, video_streams=("own", "blank"), video_streams_at=("clean", "babble 0", "hiss -5"))
    assert placed.with_noise_files(only=["hiss"]).video_streams_at == ("clean", "hiss -5")
    assert placed.with_noise_files(only=[]).video_streams_at == ("clean",)
    raises(ValueError, "noises names rain, but noises has babble, hiss", several.with_noise_files, only=["rain"])


def test_a_room_without_noise_has_no_level(tmp_path):
    noises = "{room: {kind: reverb, impulse_responses: rooms}, w: {kind: white}}"
    text = f"{{modalities: [audio], noises: {noises}, snrs_db: [0, 5]}}"
    labels = [one.label for one in read_conditions(written(tmp_path, text)).grid()]
    assert labels == ["audio, clean", "audio, room", "audio, w 0 dB", "audio, w 5 dB"]
    assert [Condition("audio", *noise).is_clean for noise in (("none", None), ("room", None))] == [True, False]


def test_faults_of_the_picture_cross_with_noise():
    streams = ("own", "blur-3", "offset+80", "no_face", "wrong_speaker", "blank")
    config = EvaluationConfig(noises={"w": NoiseSpec("white")}, snrs_db=(0.0, 5.0), video_streams=streams)
    labels = {one.label for one in config.grid()}
    assert {one for one in labels if one.startswith("audio, ")} == {"audio, clean", "audio, w 0 dB", "audio, w 5 dB"}
    assert {one for one in labels if one.startswith("video, clean")} == {"video, clean", "video, clean, blur-3"}
    assert len([one for one in labels if one.startswith("audio+video")]) == 3 * len(streams)
    at_one = replace(config, video_streams_at=("w 0",))
    assert {one.label for one in at_one.grid() if one.video_stream != "own"} == {
        "video, w 0 dB, blur-3", "audio+video, w 0 dB, blur-3", "audio+video, w 0 dB, offset+80",
        "audio+video, w 0 dB, no_face", "audio+video, w 0 dB, wrong_speaker", "audio+video, w 0 dB, blank video",
    }  # fmt: skip


def test_what_cannot_differ_is_decoded_once():
    streams = ("own", "blur-3", "no_face")
    config = EvaluationConfig(noises={"w": NoiseSpec("white")}, snrs_db=(0.0, 5.0), video_streams=streams)
    decoded = {one.decoded_as for one in config.grid()}
    assert Condition("audio+video", "w", 5.0, "no_face").decoded_as == Condition("audio", "w", 5.0)
    assert Condition("video", "w", 5.0, "blur-3").decoded_as == Condition("video", video_stream="blur-3")
    assert len(config.grid()) == 3 + 2 * 3 + 3 * 3
    assert len(decoded) == 3 + 2 + 2 * 3


def test_clean_has_two_names():
    assert Condition("audio", "clean") == Condition("audio", "none") == Condition("audio")
    assert hash(Condition("audio", "clean")) == hash(Condition("audio"))


@pytest.mark.parametrize(
    ("place", "message"),
    [
        (("audio", "none", 5.0), "clean speech has no SNR"),
        (("video", "none", None, "blank"), "video stream 'blank' does not go with modality 'video'"),
        (("video", "none", None, "offset+80"), r"video stream 'offset\+80' does not go with modality 'video'"),
        (("audio", "none", None, "blur-3"), "video stream 'blur-3' does not go with modality 'audio'"),
        (("audio+video", "none", None, "black"), "black"),
    ],
)
def test_condition_without_meaning_is_refused(place, message):
    raises(ValueError, message, Condition, *place)


def written(folder: Path, text: str) -> Path:
    path = folder / "conditions.yaml"
    path.write_text(text)
    return path
