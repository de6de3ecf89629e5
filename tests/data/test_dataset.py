"""Samples: both streams of one length, augmentation repeatable, broken clips named and passed over."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
import torch

from avspeech.data.augment import AugmentConfig, change_contrast, shifted, stored_at_other_rate
from avspeech.data.dataset import AVDataset, SampleKey, SpanConfig, UnitSet
from avspeech.features.logfbank import fbank_TF
from avspeech.inputs import NothingReadable
from avspeech.manifest import ManifestError, read_manifest
from avspeech.media.audio import read_audio, write_wav
from avspeech.media.video import read_grey_clip
from avspeech.noise.drawn import DrawnNoise
from avspeech.noise.spec import NoiseConfig, NoiseSpec
from avspeech.text.tokenizer import Tokenizer

SPANS = SpanConfig(start=1.0, end=1.0, max_words=2, margin=1)


@pytest.fixture
def utterances(corpus):
    return read_manifest(corpus / "train.jsonl")


def test_evaluation_loads_the_centre_and_the_whole_clip(corpus, utterances):
    sample = AVDataset(utterances, units=[UnitSet.read(corpus / "train.km")])[1]
    mouth_THW = read_grey_clip(utterances[1].mouth)
    audio_S = torch.from_numpy(read_audio(utterances[1].audio))
    assert torch.equal(sample.video_THW, torch.from_numpy(mouth_THW[:, 4:92, 4:92].copy()))
    torch.testing.assert_close(sample.audio_TF, fbank_TF(audio_S, len(mouth_THW)), rtol=1e-3, atol=1e-3)
    assert len(sample.audio_TF) == len(sample.video_THW) == len(sample.units_TJ) == sample.num_frames


def test_augmentation_depends_on_seed_epoch_and_index_alone(utterances):
    def load(key, seed=0):
        noise = DrawnNoise(NoiseConfig(probability=1.0), utterances)
        return AVDataset(utterances, augment=AugmentConfig(time_masks=1), noise=noise, spans=SPANS, seed=seed)[key]

    one, again = load(SampleKey(3, 1)), load(SampleKey(3, 1))
    assert torch.equal(one.video_THW, again.video_THW) and torch.equal(one.audio_TF, again.audio_TF)
    for other in (load(SampleKey(3, 2)), load(SampleKey(3, 1), seed=1)):
        assert other.video_THW.shape != one.video_THW.shape or not torch.equal(other.video_THW, one.video_THW)


def test_crop_and_flip_hold_for_the_whole_clip(utterances):
    mouth_THW = torch.from_numpy(read_grey_clip(utterances[0].mouth))
    places = list(itertools.product(range(9), range(9)))
    cuts = {place: mouth_THW[:, place[0] : place[0] + 88, place[1] : place[1] + 88] for place in places}
    dataset, mirrored, seen = AVDataset(utterances, augment=AugmentConfig()), 0, set()
    for epoch in range(60):
        shown_THW = dataset[SampleKey(0, epoch)].video_THW
        direct, flipped = ([at for at in places if torch.equal(cuts[at], x)] for x in (shown_THW, shown_THW.flip(2)))
        assert len(direct + flipped) == 1
        mirrored += len(flipped)
        seen |= {*direct, *flipped}
    assert 15 < mirrored < 45 and len(seen) > 30


def test_contrast_changes_every_frame_alike():
    clip_THW = torch.tensor([[[100, 150]], [[125, 125]]], dtype=torch.uint8)
    assert change_contrast(clip_THW, 2.0, 10.0).tolist() == [[[85, 185]], [[135, 135]]]
    assert change_contrast(clip_THW, 10.0, 0.0).tolist() == [[[0, 255]], [[125, 125]]]


def test_a_word_span_carries_the_words_that_it_shows(utterances, tokenizer_file):
    tokenizer = Tokenizer.load(tokenizer_file)
    augment, spans = AugmentConfig(random_crop=False, flip=0.0), replace(SPANS, margin=0)
    units = [[int(unit) for word in u.text.split() for unit in [tokenizer.encode(word)[0]] * 6] for u in utterances]
    dataset = AVDataset(utterances, tokenizer=tokenizer, units=[UnitSet(units)], augment=augment, spans=spans)
    samples = [dataset[SampleKey(index)] for index in range(len(utterances))]
    assert {len(sample.text.split()) for sample in samples} == {1, 2}
    for sample, utterance in zip(samples, utterances, strict=True):
        words = sample.text.split()
        assert sample.num_frames == 6 * len(words)
        assert sample.units_TJ[:, 0].tolist() == [unit for word in words for unit in tokenizer.encode(word) * 6]
        assert sample.tokens_L.tolist() == tokenizer.encode(sample.text)
        assert f" {sample.text} " in f" {utterance.text} "


def test_the_chance_of_a_span_falls():
    spans = SpanConfig(start=1.0, end=0.25, steps=100)
    assert [spans.chance(step) for step in (0, 50, 100, 900)] == [1.0, 0.625, 0.25, 0.25]


def test_the_videos_length_wins(utterances, tmp_path):
    write_wav(tmp_path / "short.wav", np.full(3000, 0.1, dtype=np.float32))
    sample = AVDataset([replace(utterances[0], audio=tmp_path / "short.wav")])[0]
    assert len(sample.audio_TF) == len(sample.video_THW)
    assert sample.audio_TF[0].any() and not sample.audio_TF[-1].any()


def test_units_at_100_hz_are_thinned_and_missing_ones_are_not_scored(utterances):
    units = [list(range(20))] * len(utterances)
    sample = AVDataset(utterances, units=[UnitSet(units, 100), UnitSet(units)])[0]
    assert sample.units_TJ[:5].tolist() == [[0, 0], [4, 1], [8, 2], [12, 3], [16, 4]]
    assert set(sample.units_TJ[5:, 0].tolist()) == {-100}


@pytest.mark.parametrize("stored", [25, 100])
def test_a_unit_file_is_read_at_the_rate_that_its_facts_name(stored, tmp_path):
    path, other = tmp_path / "train.km", 125 - stored
    path.write_text("0 1 2 3 4 5 6 7\n")
    assert UnitSet.read(path).rate == 25
    path.with_name("train.km.json").write_text(f'{{"rate": {stored}, "num_units": 8}}')
    for unit_set in (UnitSet.read(path), UnitSet.read(path, stored)):
        assert unit_set.rate == stored and unit_set.rows[0].tolist() == list(range(8))
    with pytest.raises(ManifestError, match=rf"has {stored} units per second, as train\.km\.json .*units_rate={other}"):
        UnitSet.read(path, other)


def test_audio_only_never_opens_the_video(utterances, tmp_path):
    blind = [replace(u, mouth=tmp_path / "none.mp4") for u in utterances]
    sample = AVDataset(blind, modality="audio")[0]
    assert sample.video_THW is None and len(sample.audio_TF) == utterances[0].num_frames


def test_a_broken_clip_is_named_and_training_goes_on(utterances, tmp_path, caplog):
    (tmp_path / "broken.mp4").write_text("no video")
    broken = [replace(utterances[0], mouth=tmp_path / "broken.mp4"), *utterances[1:3]]
    assert AVDataset(broken, augment=AugmentConfig())[SampleKey(0)].id == utterances[1].id
    assert utterances[0].id in caplog.text and "broken.mp4" in caplog.text and AVDataset(broken)[0] is None
    with pytest.raises(NothingReadable):
        AVDataset(broken[:1], augment=AugmentConfig())[SampleKey(0)]


@pytest.mark.parametrize("augment", [None, AugmentConfig()])
def test_a_dataset_has_an_end(utterances, augment):
    dataset = AVDataset(utterances[:2], augment=augment)
    assert [sample.id for sample in dataset] == [utterance.id for utterance in utterances[:2]]
    with pytest.raises(IndexError):
        dataset[2]


def test_the_cache_changes_nothing_and_keeps_its_limit(utterances):
    plain = AVDataset(utterances, augment=AugmentConfig(), seed=4)
    cached = AVDataset(utterances, augment=AugmentConfig(), seed=4, cache_bytes=400_000)
    for _ in range(2):
        for index in range(len(utterances)):
            one, other = plain[SampleKey(index, 1)], cached[SampleKey(index, 1)]
            assert torch.equal(one.video_THW, other.video_THW) and torch.equal(one.audio_TF, other.audio_TF)
    assert 0 < cached._cached_bytes <= 400_000


def test_what_the_manifest_lacks_is_named(utterances, tokenizer_file):
    needs = {"tokenizer": Tokenizer.load(tokenizer_file), "augment": AugmentConfig(), "spans": SPANS}
    for name in ("mouth", "audio", "text", "words"):
        with pytest.raises(ManifestError, match=f"(train0|data.spans).*'{name}'"):
            AVDataset([replace(utterances[0], **{name: None})], **needs)
    with pytest.raises(ManifestError, match="2 unit sequences for 12"):
        AVDataset(utterances, units=[UnitSet([[1], [2]])])


def test_validation_noise_is_heard_and_is_the_same_every_time(utterances):
    noise = DrawnNoise(NoiseConfig(probability=1.0, noises={"white": NoiseSpec("white")}))
    clean, noisy = AVDataset(utterances)[0], AVDataset(utterances, noise=noise)
    assert not torch.allclose(noisy[0].audio_TF, clean.audio_TF)
    assert torch.equal(noisy[0].audio_TF, noisy[0].audio_TF)
    assert torch.equal(noisy[0].video_THW, clean.video_THW)


def test_another_rate_shows_pictures_of_the_clip_in_order_and_at_most_their_own_length_off():
    clip_THW = np.broadcast_to(np.arange(100, dtype=np.uint8)[:, None, None], (100, 96, 96))
    shown = [stored_at_other_rate(clip_THW, np.random.default_rng(seed))[:, 0, 0] for seed in range(20)]
    assert all(len(shown_T) == 100 and (np.diff(shown_T) >= 0).all() for shown_T in shown)
    assert all(np.abs(shown_T - np.arange(100)).max() <= 4 for shown_T in shown)  # at 8 a second each lasts 125 ms
    assert sum((shown_T != np.arange(100)).any() for shown_T in shown) >= 5
    changes = [np.abs(np.diff(shown_T[10:-10])).max() for shown_T in shown]
    assert max(changes) <= 4 and min(changes) >= 1 and len(set(changes)) > 1


@pytest.mark.parametrize("seed", range(20))
def test_shifted_sound_is_the_same_sound_elsewhere_and_stays_as_long(seed):
    audio_S = np.arange(1, 1001, dtype=np.float32)
    moved_S = shifted(audio_S, 20, np.random.default_rng(seed))
    assert len(moved_S) == len(audio_S) and moved_S.dtype == np.float32
    kept_S = moved_S[moved_S > 0]
    assert len(kept_S) >= 1000 - 320 and (np.diff(kept_S) == 1).all()
    assert len(shifted(np.ones(5, np.float32), 20, np.random.default_rng(seed))) == 5
