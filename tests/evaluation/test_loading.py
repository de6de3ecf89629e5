"""Samples under a condition: the noise is the same for every model, and at the level that the condition says."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from avspeech.data.dataset import AVDataset
from avspeech.evaluation import loading
from avspeech.evaluation.conditions import Condition
from avspeech.evaluation.config import EvaluationConfig
from avspeech.evaluation.loading import ConditionLoader, other_speakers, shuffle_clips, videos_of
from avspeech.features.clip import MEAN
from avspeech.features.logmel import logmel_AF
from avspeech.inputs import InputSpec
from avspeech.manifest import ManifestError, Utterance
from avspeech.media.audio import read_audio, write_wav
from avspeech.media.errors import MediaError
from avspeech.noise.making import make_plan
from avspeech.noise.plan import PlanError, PlanMixer
from avspeech.noise.pools import roots_of
from avspeech.noise.spec import NoiseSpec
from tests.refusals import raises

SMALL, MELS = InputSpec(clip_size=24), InputSpec("logmel", 80)
NOISY = Condition("audio", "babble", 0.0)
SHUFFLED = [Condition("audio+video", video_stream=stream) for stream in ("own", "shuffled", "wrong_speaker")]


@pytest.fixture
def config(corpus) -> EvaluationConfig:
    noises = {"babble": NoiseSpec("babble", corpus / "voices.jsonl", (3, 3)), "hiss": NoiseSpec("white")}
    return EvaluationConfig(noises=noises, snrs_db=(0.0, -5.0))


def mixer_of(clips, config, seed=1) -> PlanMixer:
    return PlanMixer(make_plan(clips, config.noises, config.snrs_db, seed), roots_of(config.noises))


@pytest.fixture
def mixer(config, clips) -> PlanMixer:
    return mixer_of(clips, config)


@pytest.fixture
def loader(mixer) -> ConditionLoader:
    return ConditionLoader(mixer, seed=1, inputs=SMALL)


def test_clean_samples_are_those_of_the_dataset(loader, clips):
    dataset = AVDataset(clips, inputs=SMALL)
    for index, utterance in enumerate(clips):
        ours, theirs = loader.load(utterance, Condition("audio+video")), dataset[index]
        assert theirs is not None
        assert ours.num_frames == theirs.num_frames == utterance.num_frames
        torch.testing.assert_close(ours.video_THW, theirs.video_THW)
        torch.testing.assert_close(ours.audio_TF, theirs.audio_TF, atol=0.02, rtol=0)  # which rounds to int16


def test_a_condition_loads_the_streams_that_it_keeps_and_hears_the_same_with_and_without_video(loader, clips):
    assert loader.load(clips[0], Condition("audio")).video_THW is None
    assert loader.load(replace(clips[0], audio=None), Condition("video")).audio_TF is None
    both = replace(NOISY, modality="audio+video")
    torch.testing.assert_close(loader.load(clips[1], NOISY).audio_TF, loader.load(clips[1], both).audio_TF)


def test_noise_depends_on_seed_and_utterance_and_on_nothing_else(config, mixer, loader, clips):
    expected = loader.load(clips[2], NOISY).audio_TF
    afresh = ConditionLoader(mixer, seed=5, inputs=SMALL)
    afresh.load(clips[0], NOISY)
    afresh.load(clips[2], replace(NOISY, snr_db=-5.0))
    torch.testing.assert_close(afresh.load(clips[2], NOISY).audio_TF, expected)
    another = replace(clips[2], id="another")
    others = [
        ConditionLoader(mixer_of(clips, config, seed=2)).load(clips[2], NOISY),
        ConditionLoader(mixer_of([another], config)).load(another, NOISY),
    ]
    quieter = (replace(NOISY, snr_db=-5.0), Condition("audio", "hiss", 0.0), Condition("audio"))
    others += [loader.load(clips[2], one) for one in quieter]
    assert all(not torch.allclose(other.audio_TF, expected) for other in others)


def test_speech_that_is_not_the_plans_is_no_broken_file(loader, clips, tmp_path):
    write_wav(tmp_path / "other.wav", read_audio(clips[0].audio)[::-1].copy())
    raises(PlanError, "speech of 'c0'", loader.load, replace(clips[0], audio=tmp_path / "other.wav"), NOISY)


@pytest.mark.parametrize("cache_bytes", [0, 60_000, 1 << 20])
@pytest.mark.filterwarnings("error")
def test_the_cache_changes_nothing_but_the_number_of_decodings(mixer, clips, monkeypatch, cache_bytes):
    decoded = []
    monkeypatch.setattr(loading, "read_audio", lambda path, **part: decoded.append(path) or read_audio(path, **part))
    loader = ConditionLoader(mixer, seed=1, cache_bytes=cache_bytes, inputs=SMALL)
    afresh = ConditionLoader(mixer, seed=1, cache_bytes=0, inputs=SMALL)
    for condition in (Condition("audio+video"), replace(NOISY, modality="audio+video"), NOISY):
        for utterance in clips:
            sample = loader.load(utterance, condition)
            times = len(decoded)
            expected = afresh.load(utterance, condition)
            del decoded[times:]
            torch.testing.assert_close(sample.audio_TF, expected.audio_TF, atol=0, rtol=0)
            if condition.keeps_video:
                assert torch.equal(sample.video_THW, expected.video_THW)
    assert len(decoded) == {0: 12, 60_000: 10, 1 << 20: 4}[cache_bytes]


def test_a_blank_video_has_no_information_and_the_own_length(loader, clips):
    own, blank = (loader.load(clips[2], Condition("audio+video", "babble", 0.0, stream)) for stream in ("own", "blank"))
    assert blank.video_THW.shape == own.video_THW.shape
    assert blank.video_THW.unique().tolist() == [107]
    assert torch.equal(blank.audio_TF, own.audio_TF)
    assert loader.load(clips[2], Condition("audio+video")).video_THW.unique().numel() > 1, "the kept clip was changed"


def test_a_shuffled_video_is_anothers_at_the_own_length(clips):
    loader = ConditionLoader(None, seed=1, others=videos_of(clips, SHUFFLED, 1), inputs=SMALL)
    others = shuffle_clips(clips, seed=1)
    for clip in clips:
        sample = loader.load(clip, Condition("audio+video", video_stream="shuffled"))
        own, other = (loader.load(one, Condition("audio+video")) for one in (clip, others[clip.id]))
        shared = min(own.num_frames, other.num_frames)
        assert sample.num_frames == len(sample.video_THW) == own.num_frames
        assert torch.equal(sample.video_THW[:shared], other.video_THW[:shared])
        assert torch.equal(sample.audio_TF, own.audio_TF)
        assert sample.text == clip.text


def test_a_wrong_speaker_is_another_speaker_where_there_is_one(clips):
    cast = [replace(one, speaker="xy"[number // 2]) for number, one in enumerate(clips)]
    others = videos_of(cast, SHUFFLED, 1)["wrong_speaker"]
    loader = ConditionLoader(None, seed=1, others={"wrong_speaker": others}, inputs=SMALL)
    for clip in cast:
        assert others[clip.id].speaker != clip.speaker
        shown = loader.shown(clip, Condition("audio+video", video_stream="wrong_speaker"))
        assert len(shown) == clip.num_frames
        assert not np.array_equal(shown, loader.shown(clip, Condition("audio+video")))


def test_a_fault_of_the_picture_is_the_same_in_every_noise_and_leaves_the_sound(loader, clips):
    own = loader.load(clips[1], Condition("audio+video", "babble", 0.0))
    places = [
        (modality, *noise) for modality in ("video", "audio+video") for noise in (("none", None), ("babble", 0.0))
    ]
    seen = [loader.load(clips[1], Condition(*place, "drop-50")) for place in places]
    assert all(torch.equal(one.video_THW, seen[0].video_THW) for one in seen)
    assert not torch.equal(seen[0].video_THW, own.video_THW)
    assert torch.equal(seen[3].audio_TF, own.audio_TF)
    again = ConditionLoader(loader.mixer, seed=1, cache_bytes=0, inputs=SMALL)
    other_seed = ConditionLoader(loader.mixer, seed=2, inputs=SMALL)
    drop = Condition("video", video_stream="drop-50")
    assert np.array_equal(again.shown(clips[1], drop), loader.shown(clips[1], drop))
    assert not np.array_equal(other_seed.shown(clips[1], drop), loader.shown(clips[1], drop))


def test_utterances_of_one_clip_have_faults_of_their_own(clips):
    one, other = clips[3], replace(clips[3], id="other")
    drop = Condition("video", video_stream="drop-50")
    loader, afresh = (ConditionLoader(None, seed=1, cache_bytes=size, inputs=SMALL) for size in (1 << 20, 0))
    assert not np.array_equal(afresh.shown(one, drop), afresh.shown(other, drop))
    for clip in (one, other, one):
        assert np.array_equal(loader.shown(clip, drop), afresh.shown(clip, drop))


def test_a_clip_that_is_too_small_or_broken_spoils_its_utterance_and_the_one_it_stands_in_for(clips, tmp_path):
    with pytest.raises(MediaError, match=r"mouth0\.mp4: is 32x32, wanted 88 pixels a side"):
        ConditionLoader(None).load(clips[0], Condition("video"))
    others = shuffle_clips(clips, seed=1)
    gone = [replace(one, mouth=tmp_path / "gone.mp4") if one.id == others["c0"].id else one for one in clips]
    loader = ConditionLoader(None, seed=1, others=videos_of(gone, SHUFFLED, 1), inputs=SMALL)
    raises(MediaError, r"gone\.mp4", loader.load, gone[0], Condition("audio+video", video_stream="shuffled"))


def test_log_mel_is_of_the_noisy_audio(mixer, clips):
    loader = ConditionLoader(mixer, seed=1, inputs=MELS)
    sample = loader.load(clips[1], NOISY)
    assert torch.equal(sample.logmel_AF, logmel_AF(torch.from_numpy(loader.heard(clips[1], NOISY))))
    assert sample.logmel_AF.shape == (4 * sample.num_frames, 80)
    assert sample.audio_TF is None
    assert sample.language == "en"
    padded = ConditionLoader(mixer, seed=1, inputs=InputSpec("logmel", 128, pads_to_30s=True)).load(clips[1], NOISY)
    assert padded.logmel_AF.shape == (3000, 128)
    assert padded.num_frames == sample.num_frames


@pytest.mark.parametrize("samples", [4000, 12 * 640 - 1, 12 * 640, 20_000])
def test_log_mel_is_as_long_as_the_video_and_without_one_as_the_audio(clips, tmp_path, samples):
    write_wav(tmp_path / "a.wav", 0.1 * np.random.default_rng(0).standard_normal(samples, dtype=np.float32))
    clip = replace(clips[0], audio=tmp_path / "a.wav")  # of 12 frames
    loader = ConditionLoader(None, inputs=replace(MELS, clip_size=24))
    both = loader.load(clip, Condition("audio+video"))
    assert both.logmel_AF.shape == (48, 80)
    heard_S = torch.from_numpy(read_audio(clip.audio))[: 12 * 640]
    heard_S = torch.cat([heard_S, torch.zeros(12 * 640 - len(heard_S))])
    torch.testing.assert_close(both.logmel_AF, logmel_AF(heard_S), atol=0, rtol=0)
    assert loader.load(clip, Condition("audio")).logmel_AF.shape == (samples // 160, 80)
    assert loader.load(clip, Condition("video")).logmel_AF is None


def test_what_is_longer_than_the_model_hears_is_a_fault_of_the_clip(clips):
    length = len(ConditionLoader(None, inputs=MELS).load(clips[0], Condition("audio")).logmel_AF)
    fits = replace(MELS, longest_s=length / 100)
    assert ConditionLoader(None, inputs=fits).load(clips[0], Condition("audio")).num_frames
    loader = ConditionLoader(None, inputs=replace(MELS, longest_s=0.2))
    with pytest.raises(MediaError, match=rf"lasts {length / 100:g} s, the model takes at most 0\.2 s; cut the clip"):
        loader.load(clips[0], Condition("audio"))


def test_an_utterance_without_a_needed_stream_is_named(clips, config):
    manifest = Path("test.jsonl")
    loading.check_streams(clips, config.grid(), manifest)
    with pytest.raises(ManifestError, match=r"utterance 'c1' has no 'mouth', which is needed; run data_prep"):
        loading.check_streams([clips[0], replace(clips[1], mouth=None)], config.grid(), manifest)
    loading.check_streams([replace(clips[1], mouth=None)], [Condition("audio")], manifest)
    with pytest.raises(ManifestError, match="utterance 'c1' has no 'audio'"):
        loading.check_streams([replace(clips[1], audio=None)], config.grid(), manifest)
    for stream in ("shuffled", "wrong_speaker"):
        with pytest.raises(ManifestError, match=r"test\.jsonl has one utterance, and video_streams names one that"):
            loading.check_streams(clips[:1], [Condition("audio+video", video_stream=stream)], manifest)


@pytest.mark.parametrize("size", [2, 3, 10, 60])
def test_every_clip_stands_in_once_and_never_for_itself(size):
    utterances = [Utterance(f"u{number}") for number in range(size)]
    for seed in range(30):
        others = shuffle_clips(utterances, seed)
        assert all(other.id != name for name, other in others.items())
        assert set(others) == {other.id for other in others.values()} == {one.id for one in utterances}


def test_seed_and_ids_decide_the_order_of_the_manifest_does_not():
    utterances = [Utterance(f"u{number}") for number in range(20)]
    assert shuffle_clips(utterances, 1) == shuffle_clips(utterances[::-1], 1)
    assert shuffle_clips(utterances, 1) != shuffle_clips(utterances, 2)
    assert {shuffle_clips(utterances, seed)["u0"].id for seed in range(300)} == {one.id for one in utterances[1:]}


def cast_of(size, speakers=5, seed=0):
    lengths = np.random.default_rng(seed).integers(40, 120, size).tolist()
    return [Utterance(f"u{i}", speaker=f"s{i % speakers}", num_frames=length) for i, length in enumerate(lengths)]


@pytest.mark.parametrize("size", [6, 20, 200])
def test_a_wrong_speaker_is_another_one_of_nearly_the_same_length(size):
    utterances = cast_of(size)
    for seed in range(5):
        others = other_speakers(utterances, seed)
        assert set(others) == {one.id for one in utterances}
        for one in utterances:
            other = others[one.id]
            assert other.speaker != one.speaker
            foreign = [abs(u.num_frames - one.num_frames) for u in utterances if u.speaker != one.speaker]
            assert abs(other.num_frames - one.num_frames) <= max(min(foreign), loading.SIMILAR_LENGTH * one.num_frames)


def test_wrong_speakers_depend_on_seed_and_ids_alone_and_are_spread():
    utterances = cast_of(200)
    others = other_speakers(utterances, 1)
    assert others == other_speakers(utterances[::-1], 1)
    assert sum(others[name].id != other.id for name, other in other_speakers(utterances, 2).items()) > 150
    assert len({other.id for other in others.values()}) > 80


def test_an_added_utterance_changes_only_the_choices_that_fall_on_it():
    utterances = cast_of(201)
    before, after = other_speakers(utterances[:-1], 0), other_speakers(utterances, 0)
    changed = [name for name in before if after[name] != before[name]]
    assert all(after[name] == utterances[-1] for name in changed)
    assert len(changed) < 20


def test_one_speaker_gets_another_utterance_and_unknown_lengths_and_speakers_do():
    alone = [Utterance(f"u{number}", speaker="s1", num_frames=75) for number in range(10)]
    assert all(other.id != name and other.speaker == "s1" for name, other in other_speakers(alone, 0).items())
    unknown = [Utterance(f"u{number}") for number in range(10)]
    assert all(other.id != name for name, other in other_speakers(unknown, 0).items())
    for alone_in, stream in ((other_speakers, "wrong_speaker"), (shuffle_clips, "shuffled")):
        raises(ValueError, rf"1 utterances came for '{stream}' videos, .*leave '{stream}' out", alone_in, alone[:1], 0)


@pytest.mark.parametrize(
    ("frames", "length", "wanted"),
    [(4, 3, "012"), (4, 4, "0123"), (4, 12, "012321012321"), (1, 3, "000"), (2, 5, "01010")],
)
def test_a_clip_is_cut_or_played_to_and_fro(frames, length, wanted):
    clip_THW = np.arange(frames, dtype=np.uint8)[:, None, None]
    assert loading.fit_length(clip_THW, length).ravel().tolist() == [int(one) for one in wanted]


def test_a_blank_clip_is_grey_and_as_large():
    clip_THW = np.zeros((5, 4, 3), dtype=np.uint8)
    blank_THW = loading.blank_clip(clip_THW)
    assert (blank_THW.shape, blank_THW.dtype) == (clip_THW.shape, np.uint8)
    assert abs(blank_THW.mean() / 255 - MEAN) < 1 / 255
    assert not clip_THW.any()
