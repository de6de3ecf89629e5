"""Properties of Whisper with lips at any size; none needs trained weights."""

from dataclasses import replace

import pytest
import torch

from avspeech.models.flamingo import Flamingo, FlamingoConfig
from avspeech.models.fusion import fixed_keep
from avspeech.models.memory import Memory
from avspeech.models.whisper import Whisper
from tests.models.tiny_whisper import KEPT, LIPS, SIZES, make_flamingo, make_inputs, make_whisper, valid_until
from tests.refusals import raises

CONFIG = FlamingoConfig(SIZES, LIPS)


def plain_of(model: Flamingo) -> Whisper:
    """Return the Whisper inside: the same weights without what reads lips."""
    whisper = Whisper(model.sizes)
    state = model.state_dict()
    whisper.load_state_dict({name: state[name] for name in whisper.state_dict()})
    return whisper.eval()


@torch.no_grad()
def test_a_fresh_model_is_its_whisper_exactly():
    whisper = make_whisper()
    fresh = Flamingo(CONFIG).eval()
    missing, unknown = fresh.load_state_dict(whisper.state_dict(), strict=False)
    assert not unknown
    assert {name.split(".")[0] for name in missing} == {"decoder", "video_encoder", "video_project", "video_scale"}
    logmel_BAF, video_BTHW, tokens_BL = make_inputs()
    valid_BA, valid_BT = valid_until([48, 20, 31], 48), valid_until([12, 5, 8], 12)
    memory = fresh.encode_streams(logmel_BAF, valid_BA, video_BTHW, valid_BT)
    assert memory.video_BTD.abs().max() > 0
    assert torch.equal(fresh(tokens_BL, memory), whisper(tokens_BL, whisper.encode_streams(logmel_BAF, valid_BA)))


@torch.no_grad()
def test_audio_alone_is_the_model_without_gates_though_the_gates_are_open():
    model, (logmel_BAF, video_BTHW, tokens_BL) = make_flamingo(), make_inputs()
    whisper = plain_of(model)
    expected_BLV = whisper(tokens_BL, whisper.encode_streams(logmel_BAF))
    for keep_B2, video in ((fixed_keep(3, "audio"), video_BTHW), (None, None), (fixed_keep(3, "audio"), None)):
        assert torch.equal(model(tokens_BL, model.encode_streams(logmel_BAF, None, video, None, keep_B2)), expected_BLV)
    both = model(tokens_BL, model.encode_streams(logmel_BAF, None, video_BTHW))
    assert (both - expected_BLV).abs().max() > 0.1  # the gates are open
    mixed = model(tokens_BL, model.encode_streams(logmel_BAF, None, video_BTHW, None, KEPT))
    torch.testing.assert_close(mixed[0], expected_BLV[0])


@pytest.mark.parametrize("zero_dropped_video", [False, True])
@torch.no_grad()
def test_utterances_with_other_streams_equal_each_alone(zero_dropped_video):
    model = make_flamingo(replace(CONFIG, zero_dropped_video=zero_dropped_video))
    logmel_BAF, video_BTHW, tokens_BL = make_inputs()
    valid_BA, valid_BT = valid_until([48, 20, 32], 48), valid_until([12, 5, 8], 12)
    together = model(tokens_BL, model.encode_streams(logmel_BAF, valid_BA, video_BTHW, valid_BT, KEPT))
    for row, (frames, modality) in enumerate(((12, "audio"), (5, "video"), (8, "audio+video"))):
        cut = slice(row, row + 1)
        streams = (logmel_BAF[cut, : 4 * frames], None, video_BTHW[cut, :frames], None, fixed_keep(1, modality))
        torch.testing.assert_close(together[cut], model(tokens_BL[cut], model.encode_streams(*streams)))


@torch.no_grad()
def test_a_dropped_stream_cannot_be_seen():
    model, (logmel_BAF, video_BTHW, tokens_BL) = make_flamingo(), make_inputs()
    clips_BTHW = video_BTHW.float() / 255
    before = model(tokens_BL, model.encode_streams(logmel_BAF, None, clips_BTHW, None, KEPT))
    logmel_BAF[1], clips_BTHW[0] = torch.nan, torch.nan
    assert torch.equal(model(tokens_BL, model.encode_streams(logmel_BAF, None, clips_BTHW, None, KEPT)), before)
    assert before.isfinite().all()


@torch.no_grad()
def test_lips_alone_are_read():
    model, (logmel_BAF, video_BTHW, tokens_BL) = make_flamingo(), make_inputs()
    alone = model(tokens_BL, model.encode_streams(None, None, video_BTHW))
    dropped = model(tokens_BL, model.encode_streams(logmel_BAF, None, video_BTHW, None, fixed_keep(3, "video")))
    torch.testing.assert_close(alone, dropped)
    assert alone.isfinite().all()
    assert (model(tokens_BL, model.encode_streams(None, None, 255 - video_BTHW)) - alone).abs().max() > 1e-3


@pytest.mark.parametrize("filler", [200.0, torch.nan])
@torch.no_grad()
def test_padded_video_changes_nothing(filler):
    model, (logmel_BAF, video_BTHW, tokens_BL) = make_flamingo(), make_inputs()
    valid_BA, valid_BT = valid_until([32, 48, 20], 48), valid_until([8, 12, 5], 12)
    alone = model(tokens_BL[:1], model.encode_streams(logmel_BAF[:1, :32], None, video_BTHW[:1, :8].float() / 255))
    clips_BTHW = torch.where(valid_BT[..., None, None], video_BTHW.float() / 255, filler)
    padded = model(tokens_BL, model.encode_streams(logmel_BAF, valid_BA, clips_BTHW, valid_BT))
    torch.testing.assert_close(padded[:1], alone)


@torch.no_grad()
def test_official_options_show_padding_and_zeros_to_the_gated_layers():
    """What the official code does, computed again from the parts."""
    official = make_flamingo(FlamingoConfig(replace(SIZES, official_padding=True), LIPS, zero_dropped_video=True))
    logmel_BAF, video_BTHW, tokens_BL = make_inputs()
    valid_BA, valid_BT = valid_until([32, 48, 20], 48), valid_until([8, 12, 5], 12)
    memory = official.encode_streams(logmel_BAF, valid_BA, video_BTHW, valid_BT)
    lips_BTD = official.video_encoder(None, video_BTHW, valid_BT)
    expected = Memory(official.encoder(logmel_BAF), None, official.video_scale * official.video_project(lips_BTD))
    assert torch.equal(official(tokens_BL, memory), official(tokens_BL, expected))

    dropped = official.encode_streams(logmel_BAF, valid_BA, video_BTHW, valid_BT, fixed_keep(3, "audio"))
    zeros = Memory(expected.memory_BTD, None, torch.zeros(3, 12, 32))
    torch.testing.assert_close(official(tokens_BL, dropped), official(tokens_BL, zeros))
    plain = plain_of(official)
    assert (official(tokens_BL, dropped) - plain(tokens_BL, expected)).abs().max() > 1e-2  # zeros are not nothing

    silent = official.encode_streams(logmel_BAF, valid_BA, video_BTHW, valid_BT, fixed_keep(3, "video"))
    zeros = Memory(torch.zeros(3, 24, 32), None, memory.video_BTD)
    torch.testing.assert_close(official(tokens_BL, silent), official(tokens_BL, zeros))


def test_new_weights_are_those_that_whisper_does_not_have():
    model = make_flamingo(replace(CONFIG, video_norm=True))
    known = plain_of(model).state_dict()
    unknown = {name: weight for name, weight in model.named_parameters() if name not in known}
    expected = {id(weight) for name, weight in unknown.items() if not name.startswith("video_encoder.")}
    assert {id(weight) for weight in model.new_weights} == expected


@torch.no_grad()
def test_normalised_lip_features_have_one_size():
    model = Flamingo(replace(CONFIG, video_norm=True)).eval()
    _, video_BTHW, _ = make_inputs()
    video_BTD = model.video_features(video_BTHW, torch.ones(3, 12, dtype=torch.bool))
    torch.testing.assert_close(video_BTD.square().mean(dim=-1), torch.ones(3, 12), rtol=1e-3, atol=1e-3)


def test_what_cannot_be_read_has_a_reason():
    model, (logmel_BAF, video_BTHW, _) = make_flamingo(), make_inputs()
    raises(ValueError, "audio and video are both None", model.encode_streams, None)
    with pytest.raises(ValueError, match="keep_B2 drops both streams"):
        model.encode_streams(logmel_BAF, None, video_BTHW, None, KEPT & torch.tensor([[False], [True], [True]]))
    raises(ValueError, "wants 24x24", model.encode_streams, logmel_BAF, None, video_BTHW[..., :20])
    # An utterance left with nothing to hear or see must not give text out of nothing.
    for streams, modality in (((logmel_BAF,), "video"), ((None, None, video_BTHW), "audio")):
        with pytest.raises(ValueError, match=f"an utterance {modality} alone, .* came without {modality}"):
            model.encode_streams(*streams, keep_B2=fixed_keep(3, modality))
