"""Properties Whisper has at any size, and the same numbers as openai-whisper's own model."""

from dataclasses import replace

import pytest
import torch

from avspeech.interop.whisper import load_openai
from avspeech.models.flamingo import FlamingoConfig
from avspeech.models.fusion import fixed_keep
from avspeech.models.whisper_encoder import WhisperConfig, positions_valid
from tests.models.tiny_whisper import KEPT, LIPS, SIZES, make_flamingo, make_inputs, make_whisper, valid_until
from tests.refusals import raises


@pytest.mark.parametrize("length", [30, 31])
@pytest.mark.parametrize("filler", [0.0, 5.0, torch.nan])
@torch.no_grad()
def test_padding_changes_nothing(length, filler):
    model, (logmel_BAF, _, tokens_BL) = make_whisper(), make_inputs()
    alone = model.encode_streams(logmel_BAF[:1, :length])
    valid_BA = valid_until([length, 48, 20], 48)
    logmel_BAF = torch.where(valid_BA[..., None], logmel_BAF, filler)
    padded = model.encode_streams(logmel_BAF, valid_BA)
    assert padded.valid_BT.sum(dim=1).tolist() == [(length + 1) // 2, 24, 10]
    torch.testing.assert_close(padded.memory_BTD[:1, : (length + 1) // 2], alone.memory_BTD)
    torch.testing.assert_close(model(tokens_BL, padded)[:1], model(tokens_BL[:1], alone))


@torch.no_grad()
def test_official_padding_hears_what_stands_in_it():
    model, official = make_whisper(), make_whisper(replace(SIZES, official_padding=True))
    logmel_BAF, _, tokens_BL = make_inputs()
    valid_BA = valid_until([30, 48, 20], 48)
    memory = official.encode_streams(logmel_BAF, valid_BA)
    assert memory.valid_BT is None
    torch.testing.assert_close(memory.memory_BTD, model.encode_streams(logmel_BAF).memory_BTD, rtol=0, atol=0)
    ours = model(tokens_BL, model.encode_streams(logmel_BAF, valid_BA))
    assert not torch.allclose(official(tokens_BL, memory)[0], ours[0], atol=1e-2)
    torch.testing.assert_close(official(tokens_BL, memory)[1], ours[1])


def make_steady_flamingo():
    lips = replace(LIPS, dropout=0.0, attention_dropout=0.0, input_dropout=0.0, layer_drop=0.0)
    return make_flamingo(FlamingoConfig(SIZES, lips))


@pytest.mark.parametrize("on", [("encoder",), ("decoder",), ("encoder", "decoder")])
@pytest.mark.parametrize("make", [make_whisper, make_steady_flamingo])
def test_computing_activations_again_changes_neither_loss_nor_gradients(make, on):
    plain, saving = make(), make()
    saving.save_memory(on)
    logmel_BAF, video_BTHW, tokens_BL = make_inputs()
    video = () if make is make_whisper else (video_BTHW, None, KEPT)
    losses = []
    for model in (plain, saving):
        memory = model.train().encode_streams(logmel_BAF, valid_until([30, 48, 20], 48), *video)
        loss = model(tokens_BL, memory).log_softmax(dim=-1)[..., 3].mean()
        loss.backward()
        losses.append(loss)
    assert torch.equal(*losses)
    for (name, one), other in zip(plain.named_parameters(), saving.parameters(), strict=True):
        if not name.startswith("video_encoder.audio_project"):  # its audio stream is empty
            assert one.grad is not None and other.grad is not None, name
            torch.testing.assert_close(other.grad, one.grad, msg=name)


def official_model(config: WhisperConfig, path):
    """Return openai-whisper's own model of these sizes with random weights, and ours from its file."""
    from whisper.model import ModelDimensions
    from whisper.model import Whisper as OpenAI

    dims = ModelDimensions(*list(vars(config).values())[:10])  # the sizes, in the order of both projects
    torch.manual_seed(3)
    theirs = OpenAI(dims).eval()
    with torch.no_grad():
        for parameter in theirs.parameters():
            parameter.copy_(torch.randn_like(parameter) * (1 if parameter.ndim == 1 else parameter[0].numel() ** -0.5))
    torch.save({"dims": vars(dims), "model_state_dict": theirs.state_dict()}, path)
    return theirs, load_openai(path)


@pytest.mark.parametrize("mel_bins", [8, 16])
@torch.no_grad()
def test_the_same_weights_give_the_numbers_of_openai_whisper(mel_bins, tmp_path):
    config = replace(SIZES, mel_bins=mel_bins, text_depth=3)
    theirs, ours = official_model(config, tmp_path / "official.pt")
    assert ours.sizes == config
    logmel_BAF, tokens_BL = torch.randn(2, 2 * config.audio_positions, mel_bins), torch.randint(0, 50, (2, 20))
    memory_BPD = theirs.encoder(logmel_BAF.transpose(1, 2))
    official_BLV = theirs.decoder(tokens_BL, memory_BPD)
    memory = ours.encode_streams(logmel_BAF)
    assert (memory.memory_BTD - memory_BPD).abs().max() <= 1e-5 * memory_BPD.abs().max()
    assert (ours(tokens_BL, memory) - official_BLV).abs().max() <= 1e-5 * official_BLV.abs().max()


def test_positions_are_those_of_openai_whisper():
    from whisper.model import sinusoids

    torch.testing.assert_close(make_whisper().encoder.positions_PD, sinusoids(30, 32))


def test_what_does_not_fit_has_a_reason():
    model, (logmel_BAF, _, tokens_BL) = make_whisper(), make_inputs()
    raises(ValueError, r"log-mel \(3, 48, 7\) must be \(B, A, 8\)", model.encode_streams, logmel_BAF[..., :7])
    with pytest.raises(ValueError, match=r"0\.61 s of audio came, this model takes at most 0\.6 s"):
        model.encode_streams(torch.zeros(1, 61, 8))
    with pytest.raises(ValueError, match="21 tokens came, this model has 20 positions"):
        model(tokens_BL.repeat(1, 3), model.encode_streams(logmel_BAF))
    for audio, keep_B2 in ((None, None), (logmel_BAF, fixed_keep(3, "video"))):
        raises(ValueError, "a Whisper without video got no audio", model.encode_streams, audio, keep_B2=keep_B2)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"audio_heads": 5}, "whisper.audio_width=32 is not a multiple of whisper.audio_heads=5"),
        ({"text_heads": 3}, "whisper.text_width=32 is not a multiple"),
        ({"text_width": 64}, "must be the same"),
        ({"alignment_heads": ((1, 3), (2, 0))}, r"alignment_heads has \(2, 0\); there are 2 blocks of 4 heads"),
    ],
)
def test_sizes_that_do_not_go_together_are_refused(change, reason):
    raises(ValueError, reason, replace, SIZES, **change)


def test_a_position_is_real_where_its_first_frame_is():
    assert positions_valid(valid_until([5], 8)).tolist() == [[True, True, True, False]]
