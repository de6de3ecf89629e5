"""Properties Whisper has at any size, and the same numbers as openai-whisper's own model."""

from dataclasses import replace

import pytest
import torch

from avspeech.interop.whisper import load_openai
from avspeech.models.fusion import fixed_keep
from avspeech.models.memory import Memory
from avspeech.models.whisper_encoder import WhisperConfig, positions_valid
from tests.models.tiny_whisper import SIZES, make_inputs, make_whisper, valid_until


@pytest.mark.parametrize("length", [30, 31])
@pytest.mark.parametrize("filler", [0.0, 5.0, torch.nan])
@torch.no_grad()
def test_padding_changes_nothing(length, filler):
    model, (logmel_BAF, _, tokens_BL) = make_whisper(), make_inputs()
    alone = model.encode_streams(logmel_BAF[:1, :length])
    valid_BA = valid_until([length, 48, 20], 48)
    logmel_BAF = torch.where(valid_BA[..., None], logmel_BAF, filler)
    padded = model.encode_streams(logmel_BAF, valid_BA)
    assert padded.valid_BT is not None
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


@torch.no_grad()
def test_a_token_does_not_see_the_next():
    model, (logmel_BAF, _, tokens_BL) = make_whisper(), make_inputs()
    memory = model.encode_streams(logmel_BAF)
    other_BL = tokens_BL.clone()
    other_BL[:, 4:] = (tokens_BL[:, 4:] + 1) % 50
    before, after = model(tokens_BL, memory), model(other_BL, memory)
    torch.testing.assert_close(after[:, :4], before[:, :4])
    assert not torch.allclose(after[:, 4], before[:, 4])


@torch.no_grad()
def test_cached_steps_equal_the_whole():
    model, (logmel_BAF, _, tokens_BL) = make_whisper(), make_inputs()
    memory = model.encode_streams(logmel_BAF, valid_until([30, 48, 20], 48))
    whole_BLV = model(tokens_BL, memory)
    state = model.decoder.start(memory, 7)
    torch.testing.assert_close(model.decoder.step(tokens_BL[:, :3], state, last_only=False), whole_BLV[:, :3])
    torch.testing.assert_close(model.decoder.step(tokens_BL[:, 3:5], state), whole_BLV[:, 4])  # two at once, later
    for place in (5, 6):
        torch.testing.assert_close(model.decoder.step(tokens_BL[:, place, None], state), whole_BLV[:, place])
    assert state.length == 7


@torch.no_grad()
def test_beams_take_their_past_along():
    model, (logmel_BAF, _, _) = make_whisper(), make_inputs()
    memory = model.encode_streams(logmel_BAF, valid_until([30, 48, 20], 48))
    tokens_RL = torch.randint(0, 50, (6, 7))
    state = model.decoder.start(memory, 7)
    state.repeat(2)
    model.decoder.step(tokens_RL[:, :4], state)
    rows_R = torch.tensor([1, 1, 2, 2, 5, 4])
    state.reorder(rows_R)
    tokens_RL = torch.cat([tokens_RL[rows_R, :4], tokens_RL[:, 4:]], dim=1)
    whole_RLV = model(tokens_RL, memory.select(torch.arange(3).repeat_interleave(2)))
    for place in (4, 5, 6):
        torch.testing.assert_close(model.decoder.step(tokens_RL[:, place, None], state), whole_RLV[:, place])


@torch.no_grad()
def test_hypotheses_may_part_after_the_prompt():
    model, (logmel_BAF, _, tokens_BL) = make_whisper(), make_inputs()
    memory = model.encode_streams(logmel_BAF)
    state = model.decoder.start(memory, 4)
    model.decoder.step(tokens_BL[:, :3], state)
    state.repeat(2)
    next_R1 = torch.arange(6)[:, None]
    whole_RLV = model(
        torch.cat([tokens_BL[:, :3].repeat_interleave(2, dim=0), next_R1], dim=1),
        memory.select(torch.arange(3).repeat_interleave(2)),
    )
    torch.testing.assert_close(model.decoder.step(next_R1, state), whole_RLV[:, -1])


@pytest.mark.parametrize("stay", [[0, 1], [2], [0, 2]])
@torch.no_grad()
def test_a_finished_utterance_leaves_the_others_as_they_are(stay):
    model, (logmel_BAF, _, tokens_BL) = make_whisper(), make_inputs()
    valid_BA = valid_until([30, 48, 20], 48)
    whole_BLV = model(tokens_BL, model.encode_streams(logmel_BAF, valid_BA))
    state = model.decoder.start(model.encode_streams(logmel_BAF, valid_BA), 7)
    model.decoder.step(tokens_BL[:, :4], state)
    state.keep(stay)
    torch.testing.assert_close(model.decoder.step(tokens_BL[stay, 4:5], state), whole_BLV[stay, 4])


def test_utterances_of_a_memory_can_be_selected():
    memory = Memory(
        torch.randn(3, 5, 2), valid_until([5, 3, 1], 5), torch.randn(3, 4, 2), None, torch.tensor([True, False, True])
    )
    picked, same = memory.select(torch.tensor([2, 0])), memory.select(torch.tensor([True, False, True]))
    assert torch.equal(picked.memory_BTD, memory.memory_BTD[[2, 0]])
    assert torch.equal(same.memory_BTD, memory.memory_BTD[[0, 2]])
    assert picked.video_valid_BT is None
    assert picked.has_video_B is not None and same.valid_BT is not None and memory.valid_BT is not None
    assert picked.has_video_B.tolist() == [True, True]
    assert torch.equal(same.valid_BT, memory.valid_BT[[0, 2]])


@pytest.mark.parametrize("on", [("encoder",), ("decoder",), ("encoder", "decoder")])
def test_computing_activations_again_changes_neither_loss_nor_gradients(on):
    plain, saving = make_whisper(), make_whisper()
    saving.save_memory(on)
    (logmel_BAF, _, tokens_BL), valid_BA = make_inputs(), valid_until([30, 48, 20], 48)
    losses = []
    for model in (plain, saving):
        logits_BLV = model.train()(tokens_BL, model.encode_streams(logmel_BAF, valid_BA))
        loss = logits_BLV.log_softmax(dim=-1)[..., 3].mean()
        loss.backward()
        losses.append(loss)
    assert torch.equal(*losses)
    for (name, one), other in zip(plain.named_parameters(), saving.parameters(), strict=True):
        assert one.grad is not None and other.grad is not None, name
        torch.testing.assert_close(other.grad, one.grad, msg=name)


def official_model(config: WhisperConfig, path):
    """Return openai-whisper's own model of these sizes with random weights, and ours from its file."""
    from whisper.model import ModelDimensions
    from whisper.model import Whisper as OpenAI

    dims = ModelDimensions(
        config.mel_bins, config.audio_positions, config.audio_width, config.audio_heads, config.audio_depth,
        config.vocab_size, config.text_positions, config.text_width, config.text_heads, config.text_depth,
    )  # fmt: skip
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
    with pytest.raises(ValueError, match=r"log-mel \(3, 48, 7\) must be \(B, A, 8\)"):
        model.encode_streams(logmel_BAF[..., :7])
    with pytest.raises(ValueError, match=r"0\.61 s of audio came, this model takes at most 0\.6 s"):
        model.encode_streams(torch.zeros(1, 61, 8))
    with pytest.raises(ValueError, match="21 tokens came, this model has 20 positions"):
        model(tokens_BL.repeat(1, 3), model.encode_streams(logmel_BAF))
    with pytest.raises(ValueError, match="a Whisper without video got no audio"):
        model.encode_streams(None)
    with pytest.raises(ValueError, match="a Whisper without video got no audio"):
        model.encode_streams(logmel_BAF, keep_B2=fixed_keep(3, "video"))


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
    with pytest.raises(ValueError, match=reason):
        replace(SIZES, **change)


def test_a_position_is_real_where_its_first_frame_is():
    assert positions_valid(valid_until([5], 8)).tolist() == [[True, True, True, False]]
