"""Features are what the encoder itself gives for each piece of a file, at the right times."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from avspeech.features.clip import crop_clips
from avspeech.features.logfbank import fbank_TF
from avspeech.features.logmel import logmel_AF
from avspeech.inputs import MODALITIES
from avspeech.media.audio import write_wav
from avspeech.media.errors import MediaError
from avspeech.transcription.cutting import CuttingConfig
from avspeech.transcription.layers import encoder_part, layer_features
from avspeech.transcription.reading import read_streams
from avspeech.transcription.speech_model import SpeechModel
from tests.hub.small_models import KINDS as SMALL_KINDS
from tests.refusals import raises
from tests.transcription.hand_made import LIPS_THW, NUM, SOUND, hand_made, make
from tests.transcription.test_speech_activity import voice

pytest.importorskip("whisper", reason="openai-whisper is not installed")
WHOLE = ((0, NUM),)
VALID = torch.ones(1, NUM, dtype=torch.bool)
FUSED = {"ctc": lambda: make("ctc"), "cluster_predictor": SMALL_KINDS["cluster_predictor"]}


def fused_inputs():
    return fbank_TF(torch.from_numpy(SOUND), NUM)[None], crop_clips(torch.from_numpy(LIPS_THW)[None], 24)


@torch.no_grad()
@pytest.mark.parametrize("kind", FUSED)
@pytest.mark.parametrize("layer", [0, 1, 2, None])
def test_the_fused_encoder_gives_its_own_layers(kind, layer):
    network, (audio_BTF, video_BTHW) = FUSED[kind](), fused_inputs()
    for modality in MODALITIES:
        hears, sees = "audio" in modality, "video" in modality
        streams = hand_made(WHOLE, modality, SOUND if hears else None, LIPS_THW if sees else None)
        features = layer_features(network, streams, layer, "fused")
        inputs = (audio_BTF if hears else None, video_BTHW if sees else None, VALID)
        wanted_TD = network.encoder(*inputs, layer=layer)[0].numpy()
        np.testing.assert_allclose(features.values_TD, wanted_TD, rtol=1e-5, atol=1e-5)
        np.testing.assert_allclose(features.times_T, np.arange(NUM) / 25)
        assert (features.rate, features.layer, features.part) == (25, layer, "fused")
        assert features.values_TD.dtype == np.float32


@torch.no_grad()
@pytest.mark.parametrize("kind", ["whisper", "flamingo"])
def test_whispers_encoder_gives_the_layers_that_it_itself_does_not_return(kind):
    network = make(kind)
    streams = hand_made(WHOLE)
    logmel_BAF = logmel_AF(torch.from_numpy(SOUND), 80)[None]
    layers = {layer: layer_features(network, streams, layer, "audio") for layer in (0, 1, 2, None)}
    encoder = network.encoder
    x_BPD = layers[0].values_TD[None]
    for layer in (1, 2):
        x_BPD = encoder.blocks[layer - 1](torch.from_numpy(np.asarray(x_BPD)), None).numpy()
        np.testing.assert_allclose(layers[layer].values_TD, x_BPD[0], rtol=1e-4, atol=1e-4)
    end_BPD = encoder(logmel_BAF)
    np.testing.assert_allclose(encoder.norm(torch.from_numpy(x_BPD)), end_BPD, rtol=1e-4, atol=1e-4)
    np.testing.assert_array_equal(layers[None].values_TD, end_BPD[0])
    assert layers[0].rate == 50
    np.testing.assert_allclose(layers[0].times_T, np.arange(2 * NUM) / 50)
    raises(ValueError, "layer=3: this encoder has layers 0 to 2", layer_features, network, streams, 3, "audio")


@torch.no_grad()
@pytest.mark.parametrize("layer", [0, 1, None])
def test_the_lip_encoder_of_a_flamingo_sees_no_sound(layer):
    network = make("flamingo")
    features = layer_features(network, hand_made(WHOLE), layer, "video")
    wanted_TD = network.video_encoder(None, fused_inputs()[1], VALID, layer=layer)[0]
    np.testing.assert_allclose(features.values_TD, wanted_TD, rtol=1e-5, atol=1e-5)
    other = layer_features(network, hand_made(WHOLE, audio_S=SOUND[::-1].copy()), layer, "video")
    np.testing.assert_array_equal(features.values_TD, other.values_TD)


def test_each_model_has_its_parts():
    for kind, part, wanted in (("ctc", None, "fused"), ("whisper", None, "audio"), ("flamingo", "video", "video")):
        assert encoder_part(make(kind), part) == wanted
    for kind, part in (("ctc", "audio"), ("whisper", "video"), ("flamingo", "fused")):
        raises(ValueError, f"part='{part}' came for a", encoder_part, make(kind), part)


def test_a_file_in_pieces_gives_each_pieces_features_at_its_place():
    network = make("ctc")
    spans = ((0, 20), (20, 45), (60, 90))
    features = layer_features(network, hand_made(spans, blind=(1,), silent=True), 1, "fused")
    np.testing.assert_allclose(features.times_T, np.r_[0:45, 60:90] / 25)
    first = 0
    for place, (start, end) in enumerate(spans):
        alone = hand_made(((start, end),), blind=(0,) if place == 1 else ())
        rows_TD = layer_features(network, alone, 1, "fused").values_TD
        np.testing.assert_allclose(features.values_TD[first : first + len(rows_TD)], rows_TD, rtol=1e-5, atol=1e-5)
        first += len(rows_TD)
    assert first == len(features.values_TD)


@pytest.mark.slow
def test_a_long_file_is_encoded_in_pieces_that_the_encoder_takes(tmp_path):
    write_wav(tmp_path / "long.wav", voice(12))
    speaker = SpeechModel(make("whisper"), "tiny")  # hears 5 s at most; pieces of up to 30 s failed
    features = speaker.features(tmp_path / "long.wav", layer=1)
    pieces = read_streams(tmp_path / "long.wav", "audio", CuttingConfig(longest_s=5)).segments
    assert len(pieces) >= 2 and max(one.num_frames for one in pieces) <= 5 * 25
    times_T = np.concatenate([np.arange(*(2 * at for at in one.frames)) / 50 for one in pieces])
    np.testing.assert_allclose(features.times_T, times_T)
    assert len(features.values_TD) == len(times_T)
    raises(ValueError, "layer=-1", speaker.features, tmp_path / "long.wav", layer=-1)


def test_what_features_cannot_be_taken_of_is_refused(tmp_path):
    path = tmp_path / "sound.wav"
    write_wav(path, voice(1))
    fused, lips = SpeechModel(FUSED["cluster_predictor"](), "pre"), SpeechModel(make("flamingo"), "f")
    assert fused.features(path, modality="audio").values_TD.shape == (25, 32)
    raises(ValueError, "part='audio' came for a ClusterPredictor; it has fused", fused.features, path, part="audio")
    raises(ValueError, "modality='lips' came", fused.features, path, modality="lips")
    raises(ValueError, "face='all' came for features", fused.features, path, face="all")
    raises(ValueError, "layer=3", fused.features, path, layer=3, modality="audio")
    raises(ValueError, "modality='audio' came for part='video'", lips.features, path, part="video", modality="audio")
    raises(MediaError, "modality video", lips.features, path, part="video")
    blind = replace(hand_made(WHOLE, blind=(0,)), audio_S=None)
    with pytest.raises(ValueError, match="has nothing for part='fused'; has no sound and no face"):
        layer_features(fused.network, blind, None, "fused")
