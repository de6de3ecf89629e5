"""Pre-training by masked multimodal cluster prediction (AV-HuBERT, arXiv:2201.02184, section 3)."""

from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from avspeech.inputs import IGNORE, AVBatch
from avspeech.models.cluster_predictor import ClusterPredictor, HeadConfig, Prediction
from avspeech.models.encoder import EncoderConfig
from avspeech.models.fusion import ModalityDropout
from avspeech.objectives.cluster_loss import ClusterLoss, masked_cluster_loss
from avspeech.objectives.masking import MaskingConfig, draw_masks
from avspeech.training.modules import TrainingModule
from avspeech.training.schedules import OptimizerConfig, ScheduleConfig


@dataclass(frozen=True)
class ShortcutConfig:
    """Work that training may skip. Only ``skip_hidden_lips`` changes the result."""

    score_hidden_only: bool = False
    """Compute only logits of masked frames if only they count; ``unmasked_accuracy`` is not logged."""
    skip_hidden_lips: bool = False
    """With feature masking, leave masked frames out of ResNet, feature penalty and BatchNorm."""
    compile_trunk: bool = False
    """Compile the ResNet with torch.compile; slow first steps, needs a C++ compiler."""


class PretrainModule(TrainingModule):
    """Train a ``ClusterPredictor``.

    Logs ``loss`` (nats), ``masked_accuracy``, ``unmasked_accuracy`` and, in validation, ``majority_share`` (accuracy of
    the most frequent unit). With several unit sets the loss is their mean; the other values are of the first set.

    Args:
        encoder: size of the encoder.
        num_units: codebook size, or one for each file of data.train_units.
        masking: masked spans.
        modality_dropout: chances of keeping both streams or one.
        unmasked_weight: weight of visible frames; 1 for AV-HuBERT Large.
        penalty_weight: weight of the mean square of the streams before fusion.
        head: unit prediction head.
        shortcuts: work to skip.
        trim_to_units: cut a batch after its last frame with a unit (official code); false: keep, without scoring.
        optimizer: AdamW settings.
        schedule: learning-rate schedule.
        init_from: model file or name that gives the encoder weights; null: new weights, as in AV-HuBERT.
        seed: seed of masks, modality dropout and dropout.
    """

    model: ClusterPredictor

    def __init__(
        self,
        encoder: EncoderConfig,
        num_units: int | list[int],
        masking: MaskingConfig = MaskingConfig(),
        modality_dropout: ModalityDropout = ModalityDropout(0.5, 0.25, 0.25),
        unmasked_weight: float = 0.0,
        penalty_weight: float = 10.0,
        head: HeadConfig = HeadConfig(),
        shortcuts: ShortcutConfig = ShortcutConfig(),
        trim_to_units: bool = False,
        optimizer: OptimizerConfig = OptimizerConfig(),
        schedule: ScheduleConfig = ScheduleConfig(),
        init_from: str | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__(optimizer, schedule, seed)
        if shortcuts.score_hidden_only and unmasked_weight > 0:
            raise ValueError(
                f"shortcuts.score_hidden_only came with unmasked_weight={unmasked_weight}: frames that are not "
                "computed cannot carry weight; set one of the two to 0 or false"
            )
        if shortcuts.skip_hidden_lips and encoder.official_padding:
            raise ValueError(
                "shortcuts.skip_hidden_lips came with encoder.official_padding, which runs the ResNet on every frame; "
                "set one of the two to false"
            )
        self.model = ClusterPredictor(encoder, num_units, masking.on == "features", head)
        if init_from is not None:
            from avspeech.hub.names import load_encoder  # and with it the readers of official files

            load_encoder(init_from, self.model.encoder)
        if shortcuts.compile_trunk:  # in place, so that the weights keep their names; clips of any number of frames
            self.model.encoder.video_frontend.trunk.compile(dynamic=True)
        self.masking, self.modality_dropout = masking, modality_dropout
        self.unmasked_weight, self.penalty_weight = unmasked_weight, penalty_weight
        self.shortcuts, self.trim_to_units = shortcuts, trim_to_units
        self._unit_counts = torch.zeros(self.model.num_units[0], dtype=torch.long)

    def on_fit_start(self) -> None:
        self.model.about["modality"] = getattr(getattr(self.trainer, "datamodule", None), "modality", "audio+video")

    def training_step(self, batch: AVBatch, batch_idx: int) -> Tensor:
        generator = self.batch_generator(batch_idx)
        keep_B2 = self.modality_dropout.draw(len(batch.ids), generator)
        return self._step(batch, "train", keep_B2.to(self.device), generator)

    def on_validation_epoch_start(self) -> None:
        self._unit_counts.zero_()

    def validation_step(self, batch: AVBatch, batch_idx: int) -> None:
        self._step(batch, "val", None, Generator().manual_seed(batch_idx))  # the same masks every time
        assert batch.units_BTJ is not None
        units = batch.units_BTJ[..., 0]
        known = units[units != IGNORE].cpu()
        self._unit_counts += torch.bincount(known, minlength=len(self._unit_counts))

    def on_validation_epoch_end(self) -> None:
        share = self._unit_counts.max() / self._unit_counts.sum().clamp(min=1)
        self.log("val/majority_share", share.to(self.device), sync_dist=True)

    def _step(self, batch: AVBatch, stage: str, keep_B2: Tensor | None, generator: Generator) -> Tensor:
        found = 0 if batch.units_BTJ is None else batch.units_BTJ.shape[-1]
        if batch.units_BTJ is None or found != len(self.model.num_units):
            raise ValueError(
                f"the batch has {found} unit sets, model.num_units names {len(self.model.num_units)}: "
                "set data.init_args.train_units and val_units for pre-training, a file for each"
            )
        units_BTJ = batch.units_BTJ
        masks = draw_masks(batch.valid_BT.cpu(), self.masking, generator)
        masks = masks.of_streams(batch.audio_BTF is not None, batch.video_BTHW is not None)
        num_targets = int((units_BTJ != IGNORE).any(-1).any(0).sum()) if self.trim_to_units else None
        units_BTJ, mask_BT = units_BTJ[:, :num_targets], masks.either_BT[:, :num_targets]
        hidden_M = None
        if self.shortcuts.score_hidden_only:  # found on the CPU, where the masks are: no wait for the device
            hidden_M = mask_BT.flatten().nonzero()[:, 0].to(self.device)
        streams = batch.audio_BTF, batch.video_BTHW, batch.valid_BT
        skip_lips = self.shortcuts.skip_hidden_lips
        prediction = self.model(*streams, masks.to(self.device), keep_B2, num_targets, hidden_M, skip_lips)
        loss, first = self._losses(prediction, units_BTJ, mask_BT.to(self.device), hidden_M)
        values = {
            f"{stage}/loss": loss,
            f"{stage}/feature_penalty": prediction.feature_penalty,
            f"{stage}/masked_accuracy": first.masked_accuracy,
        }
        if hidden_M is None:
            values[f"{stage}/unmasked_accuracy"] = first.unmasked_accuracy
        self.log_dict(values, batch_size=int(first.num_masked.clamp(min=1)), sync_dist=stage == "val")
        loss = loss + self.penalty_weight * prediction.feature_penalty
        return self.watch(batch, loss, first.num_scored) if stage == "train" else loss

    def _losses(
        self, prediction: Prediction, units_BTJ: Tensor, mask_BT: Tensor, hidden_M: Tensor | None
    ) -> tuple[Tensor, ClusterLoss]:
        """Return the loss over unit sets and blocks, and the first set's part at the encoder's end."""
        units, mask = units_BTJ, mask_BT
        if hidden_M is not None:
            units, mask = units_BTJ.flatten(0, 1)[hidden_M], torch.ones_like(hidden_M, dtype=torch.bool)
        options = {"unmasked_weight": self.unmasked_weight, "special_units": self.model.head.special_units}
        parts = []
        total = prediction.feature_penalty.new_zeros(())
        for scores in prediction.scores:
            part = masked_cluster_loss(scores.logits, units[..., scores.unit_set], mask, **options)
            parts.append(part)
            total = total + part.loss * (1.0 if scores.block is None else self.model.head.block_weight)
        return total / len(self.model.num_units), parts[0]
