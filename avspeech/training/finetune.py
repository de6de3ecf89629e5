"""Fine-tuning with CTC, a text decoder, or both (AV-HuBERT, arXiv:2201.02184, section 4.1)."""

from collections.abc import Iterable
from pathlib import Path

import torch
from torch import Tensor, nn

from avspeech.decoding.config import DecodingConfig
from avspeech.decoding.transcribe import transcribe_batch
from avspeech.inputs import AVBatch, Modality
from avspeech.models.fusion import ModalityDropout, fixed_keep
from avspeech.models.memory import Memory
from avspeech.models.recognizer import Recognizer, RecognizerConfig
from avspeech.objectives.text_loss import ctc_loss, next_token_loss, token_accuracy
from avspeech.sequence import ctc_steps
from avspeech.text.tokenizer import Tokenizer
from avspeech.training.modules import TextModule
from avspeech.training.schedules import OptimizerConfig, ScheduleConfig


class FinetuneModule(TextModule):
    """Train a ``Recognizer``.

    Logs ``loss``, ``ctc_loss`` (nats per token), ``attention_loss`` (nats per sentence) and validation ``wer``.

    Args:
        recognizer: sizes of encoder and heads.
        tokenizer: file from ``data_prep/train_tokenizer.py``.
        modality: input streams: ``audio``, ``video`` or ``audio+video``.
        pretrained: model file or name that gives the encoder weights; null: new weights.
        modality_dropout: with ``audio+video``, chances of keeping both streams or one.
        ctc_weight: weight of the CTC loss if the model has both heads.
        smoothing: label smoothing of the text decoder.
        freeze_steps: optimiser steps with a frozen encoder; dropout and BatchNorm stay in training mode (official).
        decoding: decoding in validation; beam 1 by default, for speed.
        optimizer: AdamW settings.
        schedule: learning-rate schedule.
        seed: seed of modality dropout and dropout.
    """

    model: Recognizer

    def __init__(
        self,
        recognizer: RecognizerConfig,
        tokenizer: str,
        modality: Modality = "audio+video",
        pretrained: str | None = None,
        modality_dropout: ModalityDropout = ModalityDropout(),
        ctc_weight: float = 0.5,
        smoothing: float = 0.1,
        freeze_steps: int = 0,
        decoding: DecodingConfig = DecodingConfig(beam_size=1),
        optimizer: OptimizerConfig = OptimizerConfig(lr=1e-3, eps=1e-8, weight_decay=0.0),
        schedule: ScheduleConfig = ScheduleConfig(),
        seed: int = 0,
    ) -> None:
        super().__init__(optimizer, schedule, seed)
        self.tokenizer = Tokenizer.load(Path(tokenizer))
        self.model = Recognizer(recognizer, self.tokenizer.vocab_size, self.tokenizer)
        self.model.about["modality"] = modality
        if pretrained is not None:
            from avspeech.hub.names import load_encoder  # and with it the readers of official files

            load_encoder(pretrained, self.model.encoder)
        self.modality, self.modality_dropout = modality, modality_dropout
        heads = (recognizer.ctc, recognizer.decoder is not None)
        self.ctc_weight = {(True, False): 1.0, (False, True): 0.0}.get(heads, ctc_weight)
        self.smoothing, self.freeze_steps, self.decoding = smoothing, freeze_steps, decoding

    def training_step(self, batch: AVBatch, batch_idx: int) -> Tensor:
        generator = self.batch_generator(batch_idx)
        keep_B2 = fixed_keep(len(batch.ids), self.modality)
        if keep_B2 is None and self.modality_dropout.p_both < 1:
            keep_B2 = self.modality_dropout.draw(len(batch.ids), generator)
        with torch.set_grad_enabled(self.global_step >= self.freeze_steps):
            memory_BTD = self._encode(batch, keep_B2)
        return self.watch(batch, self._loss(batch, memory_BTD, "train"), self._num_targets(batch))

    def frozen(self) -> Iterable[nn.Parameter]:
        return self.model.encoder.parameters() if self.global_step < self.freeze_steps else ()

    @property
    def ctc_upsample(self) -> int | None:
        """CTC steps per frame; None where no CTC loss is used."""
        return self.model.config.ctc_upsample if self.ctc_weight > 0 else None

    def _num_targets(self, batch: AVBatch) -> Tensor:
        """Return the tokens that the loss scores: of CTC alone, those that can be aligned."""
        assert batch.tokens_BL is not None
        lengths_B = batch.token_lengths_B
        if self.ctc_weight == 1:
            needed_B = ctc_steps(batch.tokens_BL, lengths_B)
            lengths_B = lengths_B * (needed_B <= batch.valid_BT.sum(dim=1) * self.model.config.ctc_upsample)
        return lengths_B.sum()

    def validation_step(self, batch: AVBatch, batch_idx: int) -> None:
        keep_B2 = fixed_keep(len(batch.ids), self.modality)
        keep_B2 = None if keep_B2 is None else keep_B2.to(self.device)
        self._loss(batch, self._encode(batch, keep_B2), "val")
        self.count_words(batch, transcribe_batch(self.model, batch, keep_B2, self.decoding))

    def _encode(self, batch: AVBatch, keep_B2: Tensor | None) -> Tensor:
        keep_B2 = None if keep_B2 is None else keep_B2.to(self.device)
        return self.model(batch.audio_BTF, batch.video_BTHW, batch.valid_BT, keep_B2)

    def _loss(self, batch: AVBatch, memory_BTD: Tensor, stage: str) -> Tensor:
        inputs_BL, targets_BL = self.teacher(batch)
        loss, values = memory_BTD.new_zeros(()), {}
        if self.ctc_weight > 0:
            assert batch.tokens_BL is not None
            steps_B = batch.valid_BT.sum(dim=1) * self.model.config.ctc_upsample
            ctc = ctc_loss(self.model.ctc_logits(memory_BTD), steps_B, batch.tokens_BL, batch.token_lengths_B)
            loss, values["ctc_loss"] = loss + self.ctc_weight * ctc, ctc
        if self.model.decoder is not None and self.ctc_weight < 1:
            logits_BLV = self.model.decoder(inputs_BL, Memory(memory_BTD, batch.valid_BT))
            attention = next_token_loss(logits_BLV, targets_BL, self.smoothing)
            loss, values["attention_loss"] = loss + (1 - self.ctc_weight) * attention, attention
            values["token_accuracy"] = token_accuracy(logits_BLV, targets_BL)
        named = {f"{stage}/{name}": value for name, value in {"loss": loss, **values}.items()}
        self.log_dict(named, batch_size=len(batch.ids), sync_dist=stage == "val")
        return loss
