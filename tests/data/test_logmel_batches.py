"""Log-mel in samples and batches: lengths, padding, languages, SpecAugment, and that the video's length wins."""

import numpy as np
import pytest
import torch

from avspeech.data.augment import AugmentConfig
from avspeech.data.dataset import AVDataset, SampleKey
from avspeech.features.logmel import logmel_AF
from avspeech.inputs import InputSpec, collate, fit_samples
from avspeech.manifest import read_manifest
from avspeech.media.audio import read_audio

pytest.importorskip("whisper", reason="openai-whisper is not installed")


@pytest.fixture
def clips(corpus):
    return read_manifest(corpus / "train.jsonl")


def dataset(clips, modality="audio+video", pads_to_30s=False, **settings):
    return AVDataset(clips, modality, InputSpec("logmel", 80, 24, pads_to_30s=pads_to_30s), **settings)


def test_a_batch_has_the_features_of_every_clip_and_zeros_behind(clips):
    samples = [dataset(clips)[i] for i in range(3)]
    batch = collate(samples)
    assert batch.audio_BTF is None and batch.languages == ("en",) * 3
    lengths = batch.valid_BA.sum(dim=1).tolist()
    assert lengths == [4 * sample.num_frames for sample in samples] and len(set(lengths)) > 1
    for row, valid, sample in zip(batch.logmel_BAF, batch.valid_BA, samples, strict=True):
        assert torch.equal(row[valid], sample.logmel_AF) and not row[~valid].any()
    again = batch.to("cpu")
    assert again.logmel_BAF is not None and again.valid_BA is not None


def test_the_features_are_those_of_the_sound(clips):
    sample = dataset(clips, "audio")[0]
    sound_S = np.clip(np.rint(read_audio(clips[0].audio) * 32768), -32768, 32767).astype(np.float32) / 32768
    torch.testing.assert_close(sample.logmel_AF, logmel_AF(torch.from_numpy(sound_S)))
    assert dataset(clips, "audio", pads_to_30s=True)[0].logmel_AF.shape == (3000, 80)


def test_the_length_of_the_video_wins_and_cutting_frames_cuts_the_features_with_them(clips):
    assert fit_samples(np.ones(5), 3).tolist() == [1, 1, 1] and fit_samples(np.ones(2), 4).tolist() == [1, 1, 0, 0]
    whole = dataset(clips)[0]
    part = whole.cut(2, 5)
    assert part.num_frames == 3 and torch.equal(part.logmel_AF, whole.logmel_AF[8:20])


def test_spec_augment_blanks_a_band_and_a_stretch_and_draws_by_epoch(clips):
    augment = AugmentConfig(mel_masks=1, mel_mask_bins=27, mel_mask_frames=20, flip=0)
    plain = dataset(clips, "audio")[0].logmel_AF
    masked, widths = dataset(clips, "audio", augment=augment), set()
    for epoch in range(20):
        mel_AF = masked[SampleKey(0, epoch)].logmel_AF
        assert torch.equal(mel_AF, masked[SampleKey(0, epoch)].logmel_AF)
        blank_AF = mel_AF == 0
        bins, frames = blank_AF.all(dim=0).sum().item(), blank_AF.all(dim=1).sum().item()
        assert bins < 27 and frames < 20
        assert torch.equal(mel_AF[~blank_AF], plain[~blank_AF])
        widths.add((bins, frames))
    assert len(widths) > 10
    none = dataset(clips, "audio", augment=AugmentConfig(mel_masks=1, mel_mask_bins=0, mel_mask_frames=1, flip=0))
    assert torch.equal(none[SampleKey(0, 0)].logmel_AF, plain)
