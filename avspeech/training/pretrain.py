"""Pre-training by masked multimodal cluster prediction (AV-HuBERT, Shi et al. 2022, arXiv:2201.02184, section 3)."""

import torch
from lightning import LightningModule
from torch import Generator, Tensor

from avspeech.data.batching import AVBatch
from avspeech.models.cluster_predictor import ClusterPredictor
from avspeech.models.encoder import EncoderConfig
from avspeech.models.files import load_encoder
from avspeech.models.fusion import draw_keep
from avspeech.objectives.cluster_loss import IGNORE, masked_cluster_loss
from avspeech.objectives.masking import MaskingConfig, draw_masks
from avspeech.training.randomness import step_generator
from avspeech.training.schedules import OptimizerConfig, ScheduleConfig, make_optimizer


class PretrainModule(LightningModule):
    """Train a ``ClusterPredictor``.

    Logs ``loss`` (nats), ``masked_accuracy``, ``unmasked_accuracy`` and, in validation, ``majority_share``: the
    accuracy of always naming the commonest unit, which a model that learned anything exceeds.

    Args:
        encoder: size of the fused encoder.
        num_units: size of the codebook that the targets were assigned with.
        masking: spans that are hidden.
        p_drop: chance that an utterance loses one modality.
        p_audio: given a loss, chance that it is the audio.
        drop_per_batch: draw the loss once per batch, as the official code does.
        unmasked_weight: weight of frames that are not hidden; 1 for AV-HuBERT Large.
        penalty_weight: weight of the mean square of the streams before fusion.
        unit_width: channels in which frames and units are compared.
        optimizer: AdamW's settings.
        schedule: the learning-rate curve.
        init_from: model file whose encoder training starts from; null starts afresh, as every iteration of AV-HuBERT.
        seed: of masks, modality dropout and dropout.
    """

    def __init__(
        self,
        encoder: EncoderConfig,
        num_units: int,
        masking: MaskingConfig = MaskingConfig(),
        p_drop: float = 0.5,
        p_audio: float = 0.5,
        drop_per_batch: bool = False,
        unmasked_weight: float = 0.0,
        penalty_weight: float = 10.0,
        unit_width: int = 256,
        optimizer: OptimizerConfig = OptimizerConfig(),
        schedule: ScheduleConfig = ScheduleConfig(),
        init_from: str | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.model = ClusterPredictor(encoder, num_units, masking.on == "features", unit_width)
        if init_from is not None:
            load_encoder(init_from, self.model.encoder)
        self.masking, self.optimizer_config, self.schedule, self.seed = masking, optimizer, schedule, seed
        self.p_drop, self.p_audio, self.drop_per_batch = p_drop, p_audio, drop_per_batch
        self.unmasked_weight, self.penalty_weight = unmasked_weight, penalty_weight
        self._unit_counts = torch.zeros(num_units, dtype=torch.long)

    def training_step(self, batch: AVBatch, batch_idx: int) -> Tensor:
        generator = step_generator(self.seed, batch_idx, self.global_rank)
        keep_B2 = draw_keep(len(batch.ids), self.p_drop, self.p_audio, generator, self.drop_per_batch)
        return self._step(batch, "train", keep_B2.to(self.device), generator)

    def on_validation_epoch_start(self) -> None:
        self._unit_counts.zero_()

    def validation_step(self, batch: AVBatch, batch_idx: int) -> None:
        self._step(batch, "val", None, Generator().manual_seed(batch_idx))  # the same masks every time
        assert batch.units_BT is not None
        known = batch.units_BT[batch.units_BT != IGNORE].cpu()
        self._unit_counts += torch.bincount(known, minlength=len(self._unit_counts))

    def on_validation_epoch_end(self) -> None:
        share = self._unit_counts.max() / self._unit_counts.sum().clamp(min=1)
        self.log("val/majority_share", share.to(self.device), sync_dist=True)

    def _step(self, batch: AVBatch, stage: str, keep_B2: Tensor | None, generator: Generator) -> Tensor:
        if batch.units_BT is None:
            raise ValueError("the batch has no units: set data.init_args.train_units and val_units for pre-training")
        masks = draw_masks(batch.valid_BT.cpu(), self.masking, generator).to(self.device)
        prediction = self.model(batch.audio_BTF, batch.video_BTHW, batch.valid_BT, masks, keep_B2)
        result = masked_cluster_loss(
            prediction.logits_BTK, batch.units_BT, masks.either_BT, unmasked_weight=self.unmasked_weight
        )
        loss = result.loss + self.penalty_weight * prediction.feature_penalty
        values = {
            f"{stage}/loss": result.loss,
            f"{stage}/feature_penalty": prediction.feature_penalty,
            f"{stage}/masked_accuracy": result.masked_accuracy,
            f"{stage}/unmasked_accuracy": result.unmasked_accuracy,
        }
        self.log_dict(values, batch_size=int(result.num_masked.clamp(min=1)), sync_dist=stage == "val")
        return loss

    def configure_optimizers(self):
        trainer = self.trainer
        return make_optimizer(self.model, self.optimizer_config, self.schedule, trainer.max_steps, trainer.precision)
