"""Samples under a condition: the noise is the same for every model, and at the level that the condition says."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from avspeech.data.dataset import AVDataset
from avspeech.data.manifest import ManifestError, Utterance, read_manifest
from avspeech.degrade.noise import rms
from avspeech.evaluation import loading
from avspeech.evaluation.conditions import Condition, EvaluationConfig, NoiseSpec
from avspeech.evaluation.loading import ConditionLoader, check_streams, make_sources
from avspeech.media.audio import read_audio
from avspeech.media.errors import MediaError

NOISY = Condition("audio", "babble", 0.0)


@pytest.fixture
def config(corpus) -> EvaluationConfig:
    return EvaluationConfig(
        noises={"babble": NoiseSpec("babble", corpus / "voices.jsonl", (3, 3)), "hiss": NoiseSpec("white")},
        snrs_db=(0.0, -5.0),
    )


@pytest.fixture
def loader(config) -> ConditionLoader:
    return ConditionLoader(make_sources(config), seed=1, clip_size=24)


@pytest.fixture
def clips(corpus) -> list[Utterance]:
    return read_manifest(corpus / "test.jsonl")


def test_clean_samples_are_those_of_the_dataset(loader, clips):
    dataset = AVDataset(clips, clip_size=24)
    for index, utterance in enumerate(clips):
        ours, theirs = loader.load(utterance, Condition("audio+video")), dataset[index]
        assert theirs is not None
        assert ours.num_frames == theirs.num_frames == utterance.num_frames
        torch.testing.assert_close(ours.video_THW, theirs.video_THW)
        torch.testing.assert_close(ours.audio_TF, theirs.audio_TF, atol=0.02, rtol=0)  # which rounds to int16


def test_a_condition_loads_the_streams_that_it_keeps(loader, clips):
    assert loader.load(clips[0], Condition("audio")).video_THW is None
    assert loader.load(replace(clips[0], audio=None), Condition("video")).audio_TF is None


def test_audio_alone_hears_what_audio_with_video_hears(loader, clips):
    both = replace(NOISY, modality="audio+video")
    torch.testing.assert_close(loader.load(clips[1], NOISY).audio_TF, loader.load(clips[1], both).audio_TF)


def test_noise_depends_on_seed_and_utterance_and_on_nothing_else(config, loader, clips):
    expected = loader.load(clips[2], NOISY).audio_TF
    afresh = ConditionLoader(make_sources(config), seed=1, clip_size=24)
    afresh.load(clips[0], NOISY)
    afresh.load(clips[2], replace(NOISY, snr_db=-5.0))
    torch.testing.assert_close(afresh.load(clips[2], NOISY).audio_TF, expected)
    others = [
        ConditionLoader(make_sources(config), seed=2).load(clips[2], NOISY),
        loader.load(replace(clips[2], id="another"), NOISY),
        loader.load(clips[2], replace(NOISY, snr_db=-5.0)),
        loader.load(clips[2], Condition("audio", "hiss", 0.0)),
        loader.load(clips[2], Condition("audio")),
    ]
    assert all(not torch.allclose(other.audio_TF, expected) for other in others)


@pytest.mark.parametrize(("noise", "snr_db"), [("babble", 0.0), ("babble", -5.0), ("hiss", 0.0)])
def test_noise_has_the_level_that_the_condition_says(loader, clips, noise, snr_db):
    clean_S = read_audio(clips[0].audio)
    mixed_S = loader._with_noise(clean_S, clips[0], Condition("audio", noise, snr_db))
    noise_S = mixed_S - clean_S  # these clips are quiet: nothing was scaled down
    assert 20 * np.log10(rms(clean_S) / rms(noise_S)) == pytest.approx(snr_db, abs=0.01)


def test_recordings_are_a_noise_too(corpus, clips):
    config = EvaluationConfig(noises={"room": NoiseSpec("file", corpus / "voices.jsonl")}, snrs_db=(0.0,))
    loader = ConditionLoader(make_sources(config))
    noisy = loader.load(clips[0], Condition("audio", "room", 0.0))
    assert not torch.allclose(noisy.audio_TF, loader.load(clips[0], Condition("audio")).audio_TF)


def test_a_noise_without_a_usable_manifest_names_its_key(tmp_path, corpus):
    def sources(**spec):
        return make_sources(EvaluationConfig(noises={"crowd": NoiseSpec("babble", **spec)}, snrs_db=(0.0,)))

    with pytest.raises(ValueError, match=r"noises\.crowd\.manifest is not set .* --noise_manifests '\{crowd: <man"):
        sources()
    with pytest.raises(ValueError, match=r"noises\.crowd\.manifest: .*absent\.jsonl: cannot be read"):
        sources(manifest=tmp_path / "absent.jsonl")
    with pytest.raises(ValueError, match=r"noises\.crowd\.num_voices=\[8, 8\] is not less than the 8 clips"):
        sources(manifest=corpus / "voices.jsonl", num_voices=(8, 8))


@pytest.mark.parametrize("cache_bytes", [0, 60_000, 1 << 20])
@pytest.mark.filterwarnings("error")
def test_the_cache_changes_nothing_but_the_number_of_decodings(config, clips, monkeypatch, cache_bytes):
    decoded = []
    monkeypatch.setattr(loading, "read_audio", lambda path: decoded.append(path) or read_audio(path))
    loader = ConditionLoader(make_sources(config), seed=1, clip_size=24, cache_bytes=cache_bytes)
    afresh = ConditionLoader(make_sources(config), seed=1, clip_size=24, cache_bytes=0)
    both = replace(NOISY, modality="audio+video")
    for condition in (Condition("audio+video"), both, NOISY):
        for utterance in clips:
            sample = loader.load(utterance, condition)
            times = len(decoded)
            expected = afresh.load(utterance, condition)
            del decoded[times:]
            torch.testing.assert_close(sample.audio_TF, expected.audio_TF, atol=0, rtol=0)
            if condition.keeps_video:
                assert torch.equal(sample.video_THW, expected.video_THW)
    assert len(decoded) == {0: 12, 60_000: 10, 1 << 20: 4}[cache_bytes]


def test_a_clip_smaller_than_the_crop_is_a_broken_file(config, clips):
    with pytest.raises(MediaError, match=r"mouth0\.mp4: is 32x32, wanted 88 pixels a side"):
        ConditionLoader({}).load(clips[0], Condition("video"))


def test_an_utterance_without_a_needed_stream_is_named(clips, config):
    manifest = Path("test.jsonl")
    check_streams(clips, config, manifest)
    with pytest.raises(ManifestError, match=r"utterance 'c1' has no 'mouth', which is needed; run data_prep"):
        check_streams([clips[0], replace(clips[1], mouth=None)], config, manifest)
    check_streams([replace(clips[1], mouth=None)], replace(config, modalities=("audio",)), manifest)
    with pytest.raises(ManifestError, match="utterance 'c1' has no 'audio'"):
        check_streams([replace(clips[1], audio=None)], config, manifest)
