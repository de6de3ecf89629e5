"""One function feeds every model: what it makes of decoded streams, and that training and evaluation agree on it."""

import numpy as np
import pytest
import torch

from avspeech.features.logfbank import fbank_TF
from avspeech.features.logmel import logmel_AF
from avspeech.inputs import InputSpec, make_sample

FBANK, MELS = InputSpec(clip_size=8), InputSpec("logmel", 80, clip_size=None)


def streams(frames, samples, seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(size=samples).astype(np.float32) / 10, rng.integers(0, 256, (frames, 12, 12)).astype(np.uint8)


def test_the_crop_is_the_centre_and_the_audio_is_as_long_as_the_video():
    audio_S, mouth_THW = streams(6, 9 * 640)
    sample = make_sample(FBANK, "x", 99, audio_S, mouth_THW)
    assert sample.num_frames == len(sample.audio_TF) == len(sample.video_THW) == 6
    assert torch.equal(sample.video_THW, torch.from_numpy(mouth_THW[:, 2:10, 2:10].copy()))
    assert torch.equal(sample.audio_TF, fbank_TF(torch.from_numpy(audio_S), 6))
    sample.video_THW.zero_()
    assert mouth_THW.any(), "the caller's crop was changed"


@pytest.mark.parametrize(("num_frames", "length"), [(7, 7), (None, 9)])
def test_audio_alone_is_as_long_as_asked_or_as_it_is(num_frames, length):
    audio_S, _ = streams(1, 9 * 640 - 100)
    assert make_sample(FBANK, "x", num_frames, audio_S, None).num_frames == length


def test_a_model_without_video_gets_none_and_audio_of_its_length():
    audio_S, mouth_THW = streams(6, 9 * 640)
    sample = make_sample(MELS, "x", None, audio_S, mouth_THW)
    assert sample.video_THW is None and sample.audio_TF is None
    torch.testing.assert_close(sample.logmel_AF, logmel_AF(torch.from_numpy(audio_S[: 6 * 640])), rtol=0, atol=0)


def test_no_stream_at_all_is_an_error():
    with pytest.raises(ValueError, match="utterance 'x' has neither audio nor video"):
        make_sample(FBANK, "x", 3, None, None)
