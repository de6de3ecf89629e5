"""Every option of pre-training changes what it says and nothing else."""

import itertools
from dataclasses import replace

import pytest
import torch

from avspeech.data.augment import AugmentConfig
from avspeech.data.batching import BatchConfig, SampleKey, TrainingBatches
from avspeech.data.dataset import AVDataset, UnitSet
from avspeech.inputs import AVBatch
from avspeech.manifest import read_manifest
from avspeech.models.cluster_predictor import ClusterPredictor, HeadConfig, MaskedInput
from avspeech.models.encoder import EncoderConfig
from avspeech.objectives.cluster_loss import masked_cluster_loss
from avspeech.objectives.masking import MaskingConfig, TorchDraws, draw_masks, hide_video, official_span_masks
from avspeech.training.pretrain import PretrainModule, ShortcutConfig
from tests.models.tiny_whisper import VIDEO
from tests.refusals import raises

SIZES = {"width": 32, "depth": 3, "num_heads": 4, "ffn_width": 48, "position_kernel": 8, "position_groups": 4}
QUIET = {"dropout": 0.0, "attention_dropout": 0.0, "input_dropout": 0.0, "layer_drop": 0.0}
TINY = EncoderConfig(video=VIDEO, **SIZES, **QUIET)
MASKING = MaskingConfig(audio_fraction=0.5, audio_span=3, video_fraction=0.4, video_span=2)


def batch(sets=1, frames=12):
    generator = torch.Generator().manual_seed(1)
    valid_BT = torch.ones(3, frames, dtype=torch.bool)
    valid_BT[1, frames - 3 :] = False
    units_BTJ = torch.randint(0, 5, (3, frames, sets), generator=generator)
    units_BTJ[~valid_BT] = -100
    return AVBatch(
        ids=("a", "b", "c"),
        valid_BT=valid_BT,
        audio_BTF=torch.randn(3, frames, 104, generator=generator),
        video_BTHW=torch.randint(0, 256, (3, frames, 24, 24), generator=generator, dtype=torch.uint8),
        units_BTJ=units_BTJ,
        tokens_BL=None,
        texts=(None,) * 3,
    )


def module(encoder=TINY, num_units=5, masking=MASKING, **options):
    torch.manual_seed(0)
    made = PretrainModule(encoder, num_units, masking, **options)
    made.log_dict = lambda values, **_: made.__dict__.update(logged=values)
    return made


def step(made, given, keep_B2=None):
    loss = made._step(given, "train", keep_B2, torch.Generator().manual_seed(3))
    made.zero_grad()
    loss.backward()
    return loss.detach(), {name: p.grad.clone() for name, p in made.named_parameters() if p.grad is not None}


def masks_of(given, masking=MASKING):
    return draw_masks(given.valid_BT, masking, torch.Generator().manual_seed(3))


def predict(made, given, masks=None):
    return made.model(given.audio_BTF, given.video_BTHW, given.valid_BT, masks)


def count_frames(made):
    """Return a list that receives the number of frames of each call of the ResNet."""
    counted = []
    made.model.encoder.video_frontend.trunk.register_forward_hook(lambda _, x, y: counted.append(len(x[0])))
    return counted


def test_scoring_hidden_frames_only_gives_the_same_loss_and_gradients():
    loss, gradients = step(module(), batch())
    short = module(shortcuts=ShortcutConfig(score_hidden_only=True))
    same_loss, same_gradients = step(short, batch())
    torch.testing.assert_close(same_loss, loss)
    assert gradients.keys() == same_gradients.keys()
    for name, gradient in gradients.items():
        torch.testing.assert_close(same_gradients[name], gradient, rtol=1e-4, atol=1e-6)
    assert "train/unmasked_accuracy" not in short.logged


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"unmasked_weight": 1.0, "shortcuts": ShortcutConfig(True)}, "score_hidden_only came with unmasked_weight=1"),
        ({"encoder": replace(TINY, official_padding=True), "shortcuts": ShortcutConfig(False, True)},
         r"skip_hidden_lips came with encoder\.official_padding"),
        ({"head": HeadConfig(supervised_blocks=(3,))}, r"supervised_blocks=\[3\] came, wanted blocks from 1 to 2"),
    ],
)  # fmt: skip
def test_options_that_contradict_each_other_are_refused(options, message):
    raises(ValueError, message, module, **options)


def test_hidden_lips_are_not_computed_and_change_nothing_but_statistics_and_penalty():
    masking = replace(MASKING, on="features")
    skips = [ShortcutConfig(skip_hidden_lips=skip) for skip in (False, True)]
    full, short = (module(masking=masking, penalty_weight=0.0, shortcuts=skip).eval() for skip in skips)
    counted, given = count_frames(short), batch()
    torch.testing.assert_close(step(short, given)[0], step(full, given)[0])
    masks = masks_of(given, masking)
    assert counted == [int((given.valid_BT & ~masks.feature_BT).sum())]
    given.video_BTHW[masks.feature_BT] = 0  # they are not even looked at, but by their neighbours' stem
    assert counted[0] < int(given.valid_BT.sum())


def test_dropped_video_needs_no_resnet():
    given = batch()
    keep_B2 = torch.tensor([[True, False], [True, True], [True, False]])
    for official, frames in ((False, int(given.valid_BT[1].sum())), (True, given.valid_BT.numel())):
        made = module(encoder=replace(TINY, official_padding=official))
        counted = count_frames(made)
        step(made, given, keep_B2)
        assert counted == [frames]


@pytest.mark.parametrize("absent", ["audio", "video", None])
def test_only_frames_that_a_present_stream_hides_count_as_hidden(absent):
    made, given = module(penalty_weight=0.0), batch()
    masks = masks_of(given)
    hidden_BT = {"audio": masks.video_BT, "video": masks.audio_BT, None: masks.either_BT}[absent]
    assert absent is None or not torch.equal(hidden_BT, masks.either_BT)
    if absent is not None:
        given = replace(given, **{"audio_BTF" if absent == "audio" else "video_BTHW": None})
    shown = masks.of_streams(absent != "audio", absent != "video")
    expected = masked_cluster_loss(predict(made, given, shown).logits_BTK, given.units_BTJ[..., 0], hidden_BT)
    torch.testing.assert_close(step(made, given)[0], expected.loss.detach())


def test_several_unit_sets_are_predicted_at_once():
    made, given = module(num_units=[5, 7]), batch(sets=2)
    loss, gradients = step(made, given)
    assert [scores.logits.shape[-1] for scores in predict(made, given).scores] == [5, 7]
    for name in ("unit_head.embedding", "unit_head.project.weight"):
        assert gradients[f"model.{name}"].abs().sum(dim=-1).gt(0).all()
    masks = masks_of(given)
    prediction = predict(made, given, masks)
    pairs = [(scores.logits, given.units_BTJ[..., number]) for number, scores in enumerate(prediction.scores)]
    alone = sum(masked_cluster_loss(logits, units, masks.either_BT).loss.item() for logits, units in pairs)
    assert loss.item() == pytest.approx(alone / 2 + 10 * prediction.feature_penalty.item(), rel=1e-4)
    raises(ValueError, r"the batch has 1 unit sets, model\.num_units names 2", step, made, batch(sets=1))


def test_supervised_blocks_have_heads_of_their_own():
    made, given = module(head=HeadConfig(supervised_blocks=(1,), unit_width=8)), batch()
    plain = module(head=HeadConfig(unit_width=8))
    assert [score.block for score in predict(made, given).scores] == [None, 1]
    assert step(made, given)[0] > step(plain, given)[0]
    weightless = module(head=HeadConfig(supervised_blocks=(1,), unit_width=8, block_weight=0.0))
    weightless.model.load_state_dict(made.model.state_dict())
    _, gradients = step(weightless, given)
    assert gradients["model.block_heads.1.embedding"].abs().sum() == 0


def test_plain_logits_are_dot_products_without_a_temperature():
    x_MD = torch.randn(4, 32)
    for similarity, temperature in (("plain", 1.0), ("dot", 0.5)):
        options = {} if similarity == "plain" else {"temperature": temperature}
        head = module(head=HeadConfig(similarity=similarity, unit_width=8, **options)).model.unit_head
        torch.testing.assert_close(head(x_MD)[0], head.project(x_MD) @ head.embedding.T / temperature)


def test_special_classes_come_first_and_are_no_units():
    made, given = module(head=HeadConfig(special_units=4, unit_width=8)), batch()
    logits_BTK = predict(made, given).logits_BTK
    assert logits_BTK.shape[-1] == 9
    units, mask_BT = given.units_BTJ[..., 0], masks_of(given).either_BT
    ours = masked_cluster_loss(logits_BTK, units, mask_BT, special_units=4)
    shifted = torch.where(units == -100, -100, units + 4)
    torch.testing.assert_close(ours.loss, masked_cluster_loss(logits_BTK, shifted, mask_BT).loss)


def test_batches_are_cut_to_their_last_unit_where_asked():
    given = batch()
    given.units_BTJ[:, 9:] = -100
    seen = []
    made = module(trim_to_units=True)
    made.model.encoder.blocks[0].register_forward_hook(lambda _, x, y: seen.append(x[0].shape[1]))
    step(made, given)
    assert seen == [9]


def test_a_compiled_trunk_keeps_its_names_and_numbers(monkeypatch):
    compiled = []
    monkeypatch.setattr(torch.nn.Module, "compile", lambda self, **options: compiled.append((self, options)))
    made = module(shortcuts=ShortcutConfig(compile_trunk=True))
    assert compiled == [(made.model.encoder.video_frontend.trunk, {"dynamic": True})]
    assert made.state_dict().keys() == module().state_dict().keys()


@pytest.mark.slow
def test_a_truly_compiled_trunk_gives_the_same_loss():
    loss, _ = step(module(), batch())
    compiled_loss, _ = step(module(shortcuts=ShortcutConfig(compile_trunk=True)), batch())
    torch.testing.assert_close(compiled_loss, loss, rtol=1e-4, atol=1e-4)


def test_official_masks_have_the_same_count_in_every_row_and_spare_the_last_frame():
    lengths = [40, 31, 12, 40]
    for seed in range(30):
        mask_BT = official_span_masks(lengths, 40, 0.5, 5, 2, TorchDraws(torch.Generator().manual_seed(seed)))
        assert len(set(mask_BT.sum(dim=1).tolist())) == 1
        for row_T, length in zip(mask_BT, lengths, strict=True):
            assert not row_T[length - 1 :].any()


def test_the_official_sampler_is_chosen_by_config():
    config = replace(MASKING, sampler="official")
    valid_BT = batch().valid_BT
    assert draw_masks(valid_BT, config, torch.Generator().manual_seed(0)).audio_BT.sum(dim=1).unique().numel() == 1
    assert not draw_masks(valid_BT, replace(config, video_fraction=0.0)).video_BT.any()
    lone = draw_masks(valid_BT[:1], config, torch.Generator().manual_seed(0))
    assert lone.zero_audio and (lone.video_source_BT[lone.video_BT] == -1).all()


def test_another_clips_lips_are_shown_at_the_same_moment():
    video_BT = torch.tensor([[0, 1, 0], [1, 0, 0], [0, 0, 1]], dtype=torch.bool)
    masks = hide_video(MaskedInput(video_BT, video_BT), "other_clip", [3, 3, 3], TorchDraws(torch.Generator()))
    clips = torch.arange(9, dtype=torch.uint8).view(3, 3, 1, 1)
    shown = ClusterPredictor(TINY, 5).hide_input(None, clips, masks)[1][..., 0, 0]
    own = clips[..., 0, 0]
    assert torch.equal(shown[~video_BT], own[~video_BT]) and torch.equal(shown[video_BT] % 3, own[video_BT] % 3)
    assert (shown[video_BT] // 3 != own[video_BT] // 3).all()


def test_cropped_batches_share_their_shortest_length():
    lengths = [10, 9, 8, 30, 28, 29]
    for keys in itertools.islice(TrainingBatches(lengths, BatchConfig(100, 3, crop=True)), 4):
        assert {key.max_frames for key in keys} == {min(lengths[key.index] for key in keys)}


def test_a_crop_keeps_streams_and_units_together(corpus):
    utterances = read_manifest(corpus / "train.jsonl")
    units = [list(range(utterance.num_frames)) for utterance in utterances]
    dataset = AVDataset(utterances, units=[UnitSet(units)], augment=AugmentConfig(random_crop=False, flip=0.0))
    whole = dataset[SampleKey(0)]
    starts = set()
    for epoch in range(20):
        cut = dataset[SampleKey(0, epoch, max_frames=7)]
        start = int(cut.units_TJ[0, 0])
        starts.add(start)
        assert cut.num_frames == len(cut.audio_TF) == len(cut.video_THW) == 7
        for name in ("units_TJ", "audio_TF", "video_THW"):
            assert torch.equal(getattr(cut, name), getattr(whole, name)[start : start + 7])
    assert len(starts) > 2
