"""The pre-training forward pass: masking, modality dropout, targets, logits, losses and their parts, mask sampler."""

import numpy as np
import torch
from torch import Tensor

from avspeech.data.dataset import UnitSet
from avspeech.inputs import IGNORE
from avspeech.models.cluster_predictor import OFFICIAL_SPECIALS, ClusterPredictor, MaskedInput
from avspeech.objectives.cluster_loss import masked_cluster_loss
from avspeech.objectives.masking import blank_streams, hide_video, official_span_masks, runs
from avspeech.timebase import FRAME_RATE
from tests.parity.compare_encoder import import_model, spied
from tests.parity.comparison import Comparison
from tests.parity.fixtures import Fixture

FAIRSEQ_PAD = 1


class NumpyDraws:
    """Draws as the official code makes them, from numpy's global generator."""

    def uniform(self) -> float:
        return np.random.rand()  # noqa: NPY002 - the official generator

    def choose(self, count: int, size: int) -> list[int]:
        return np.random.choice(count, size, replace=False).tolist()  # noqa: NPY002


class ScriptedDraws:
    """Gives recorded choices."""

    def __init__(self, choices: list[int]) -> None:
        self.choices = list(choices)

    def uniform(self) -> float:
        raise AssertionError("nothing here draws a uniform")

    def choose(self, count: int, size: int) -> list[int]:
        assert size == 1
        choice = self.choices.pop(0)
        assert 0 <= choice < count
        return [choice]


@torch.no_grad()
def compare_pretrain(fixture: Fixture, model: ClusterPredictor | None = None) -> Comparison:
    """Compare a pre-training fixture; ``model`` stands in for the imported one where a test changes it."""
    model = model or import_model(fixture)
    table = Comparison(fixture.name, fixture.tensors)
    table.skip("in.", "input")
    for tag, run in fixture.config["runs"].items():
        if "numpy_seed" in run:
            _compare_sampler(table, tag, run)
        else:
            _compare_run(table, tag, run, fixture, model)
    if "b1.masked_audio" in fixture.tensors:
        audio_BTF, video_BTHW, _ = fixture.streams
        frames = fixture.tensors["b1.masked_audio"].shape[-1]
        stream_masks = [fixture.tensors[f"in.mask_{name}"][:1, :frames] for name in ("audio", "video")]
        masks = blank_streams(MaskedInput(*stream_masks))
        audio, video = model.hide_input(audio_BTF[:1, :frames], video_BTHW[:1, :frames], masks)
        table.check("b1.masked_audio", audio.transpose(1, 2))
        table.check("b1.masked_video", video[:, None])
    return table


def _compare_sampler(table: Comparison, tag: str, run: dict) -> None:
    np.random.seed(run["numpy_seed"])  # noqa: NPY002
    frames = table.recorded[f"{tag}.mask"].shape[1]
    mask_BT = official_span_masks(run["padding_lengths"], frames, run["prob"], run["length"], 2, NumpyDraws())
    table.check(f"{tag}.mask", mask_BT)
    stretches = [(start, end, row) for row, mask_T in enumerate(mask_BT) for start, end in runs(mask_T)]
    for name, values in zip(("starts", "ends", "batch"), zip(*stretches, strict=True), strict=True):
        table.check(f"{tag}.{name}", torch.tensor(values))


def _masks(tag: str, run: dict, tensors: dict[str, Tensor], mask_features: bool) -> MaskedInput:
    if mask_features:
        return MaskedInput(feature_BT=tensors["in.mask_feature"])
    masks = MaskedInput(tensors["in.mask_audio"], tensors["in.mask_video"])
    frames, batch = masks.video_BT.shape[1], len(masks.video_BT)
    if run["selection_type"] == "same_other_seq":
        draws = ScriptedDraws([int(tensors[f"{tag}.batch_shift"]) - 1])
        return hide_video(masks, "other_clip", [frames] * batch, draws)
    donors = tensors[f"{tag}.video_donor_starts"].tolist()
    stretches = [stretch for mask_T in masks.video_BT for stretch in runs(mask_T)]
    # the draw counts the allowed starts, which leave out max(0, start - span) to end
    places = [
        donor if donor < start else donor - (end - max(0, 2 * start - end))
        for donor, (start, end) in zip(donors, stretches, strict=True)
    ]
    return hide_video(masks, "same_clip", [frames] * batch, ScriptedDraws(places))


def _units(tag: str, run: dict, table: Comparison) -> Tensor:
    """Return our units, (B, T), of the run's targets, cut as the official code cuts them."""
    ids_BL = table.recorded["in.target_100hz_dict_ids" if run["feat2tar_ratio"] > 1 else "in.target_dict_ids"]
    frames = table.recorded[f"{tag}.target_aligned"].shape[1]
    rows = [[int(i) - OFFICIAL_SPECIALS for i in ids_L if i != FAIRSEQ_PAD] for ids_L in ids_BL]
    if run["feat2tar_ratio"] == 1:
        for row, units in enumerate(rows):
            assert units == table.recorded[f"in.km_labels_{row}"].tolist()
    unit_set = UnitSet(rows, int(FRAME_RATE * run["feat2tar_ratio"]))
    return torch.from_numpy(np.stack([unit_set.at_frames(row, frames) for row in range(len(rows))]))


def _compare_run(table: Comparison, tag: str, run: dict, fixture: Fixture, model: ClusterPredictor) -> None:
    recorded = fixture.tensors
    audio_BTF, video_BTHW, valid_BT = fixture.streams
    masks = _masks(tag, run, recorded, model.mask_features)
    table.skip(f"{tag}.video_donor_starts", "input")
    table.skip(f"{tag}.batch_shift", "input")
    units_BT = _units(tag, run, table)
    frames = units_BT.shape[1]
    ids_BT = torch.where(units_BT == IGNORE, FAIRSEQ_PAD, units_BT + OFFICIAL_SPECIALS)
    table.check(f"{tag}.target_aligned", ids_BT)
    keep_B2 = None
    if (lost := run["modality_dropout_outcome"]) in ("audio", "video"):
        keep_B2 = torch.tensor([[lost != "audio", lost != "video"]]).expand(len(valid_BT), 2)

    hidden_audio, hidden_video = model.hide_input(audio_BTF, video_BTHW, masks)
    table.check_recorded(f"{tag}.masked_audio", hidden_audio.transpose(1, 2))
    table.check_recorded(f"{tag}.masked_video", hidden_video[:, None])
    streams_BTE = model.encoder.join_streams(hidden_audio, hidden_video, valid_BT, keep_B2)
    table.check(f"{tag}.features_fused", streams_BTE.transpose(1, 2))
    table.check(f"{tag}.features_trimmed", streams_BTE[:, :frames].transpose(1, 2))
    norm, project, head = model.encoder.fusion.norm, model.encoder.fusion.project, model.unit_head
    with spied(norm=norm, project=project, head=head, units=head.project) as seen:
        prediction = model(audio_BTF, video_BTHW, valid_BT, masks, keep_B2, frames)
    table.check(f"{tag}.features_ln", seen["norm"][1])
    if model.mask_features:
        table.check(f"{tag}.features_before_mask", seen["project"][1])
        table.check(f"{tag}.features_after_mask", model.hide_features(seen["project"][1], masks.feature_BT[:, :frames]))
    table.check(f"{tag}.encoder_x", seen["head"][0])
    table.check(f"{tag}.proj_x", seen["units"][1])
    table.check(f"{tag}.logits", prediction.logits_BTK)
    table.check(f"{tag}.features_pen", prediction.feature_penalty[None])
    mask_BT, valid_BT = masks.either_BT[:, :frames], valid_BT[:, :frames]
    table.check_recorded(f"{tag}.mask_indices", mask_BT)
    table.check_recorded(f"{tag}.out_padding_mask", ~valid_BT)
    for name, places in [("m", mask_BT & valid_BT), ("u", ~mask_BT & valid_BT)]:
        table.check(f"{tag}.logit_{name}", prediction.logits_BTK[places])
        table.check(f"{tag}.target_{name}", ids_BT[places])
    units_BT = units_BT.masked_fill(~valid_BT, IGNORE)  # as collation leaves it; the official code looks at the padding
    _compare_losses(table, tag, run, prediction, units_BT, mask_BT, fixture.config["criterion"])


def _compare_losses(table: Comparison, tag: str, run: dict, prediction, units_BT, mask_BT, criterion: dict) -> None:
    (penalty_weight,) = criterion["loss_weights"]
    given = prediction.logits_BTK, units_BT, mask_BT, 1.0
    for weight, name, log in [(0.0, "masked_only", "masked_only"), (1.0, "masked_and_unmasked", "both")]:
        loss = masked_cluster_loss(*given, weight, special_units=OFFICIAL_SPECIALS)
        total = (loss.loss + penalty_weight * prediction.feature_penalty) * loss.num_scored
        table.check(f"{tag}.loss_{name}", total[None])
        official = run[f"log_{log}"]
        parts = {
            "loss": total, "sample_size": loss.num_scored, "loss_m_0": loss.masked_sum, "loss_u_0": loss.unmasked_sum,
            "loss_features_pen": penalty_weight * prediction.feature_penalty * loss.num_scored,
            "count_m_0": loss.num_masked, "count_u_0": loss.num_unmasked,
            "correct_m_0": loss.masked_right, "correct_u_0": loss.unmasked_right,
        }  # fmt: skip
        for key, value in parts.items():
            table.note(f"{tag}.log_{log}.{key}", float(value), float(official[key]))
