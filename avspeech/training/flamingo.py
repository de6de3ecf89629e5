"""Training of Whisper on noisy speech (stage 1) and of its added video layers (stage 2).

Stage 2 freezes Whisper and trains gates, gated layers, projection and optionally the lip encoder (Whisper-Flamingo,
arXiv:2406.10082, section 2.2), with modality dropout (mWhisper-Flamingo, arXiv:2502.01547, section 2).
"""

from dataclasses import replace

import torch
from torch import Tensor, nn

from avspeech.decoding.config import DecodingConfig
from avspeech.decoding.transcribe import transcribe_batch
from avspeech.inputs import AVBatch
from avspeech.models.encoder import AVEncoder, EncoderConfig
from avspeech.models.flamingo import Flamingo, FlamingoConfig
from avspeech.models.fusion import ModalityDropout
from avspeech.models.whisper import Whisper
from avspeech.models.whisper_encoder import WhisperConfig
from avspeech.objectives.text_loss import token_accuracy, token_loss
from avspeech.text.whisper_tokens import Task, WhisperTokenizer
from avspeech.training.modules import TextModule
from avspeech.training.schedules import OptimizerConfig, ScheduleConfig


class FlamingoModule(TextModule):
    """Train a ``Whisper`` (no ``video``) or a ``Flamingo``.

    Logs ``loss`` (nats per token), ``token_accuracy`` and validation ``wer``; with video also ``loss_audio`` and
    ``loss_video`` for single streams.

    Args:
        whisper: Whisper file or name to start from; in stage 2 the stage 1 model file; null: new weights.
        sizes: sizes of a Whisper with new weights.
        video: sizes of a new lip encoder; null in stage 1 or with ``video_pretrained``.
        video_pretrained: model file or name that gives the lip encoder.
        video_norm: normalise the projected lip features.
        freeze_whisper: train only the new layers; null: frozen in stage 2.
        freeze_video: freeze the lip encoder.
        freeze_batch_norm: freeze BatchNorm statistics and run a frozen encoder in eval mode; false: official code.
        modality_dropout: chances of keeping both streams or one; official: both, multilingual: 0.5 video only.
        zero_dropped_video: feed zeros for dropped video (official code); false: skip the gated layers.
        official_padding: do not mask padding, as in the official code.
        task: ``transcribe``, also for translation from English, with the language of the text.
        smoothing: label smoothing.
        save_memory: recompute activations in the backward pass.
        decoding: decoding in validation, greedy by default for speed; its task is ``task``.
        optimizer: AdamW settings.
        schedule: learning-rate schedule.
        video_rate: learning-rate factor of the lip encoder.
        gate_rate: learning-rate factor of the gates, which start at 0; short runs need more than 1.
        normalization: rule of ``avspeech.text.normalize`` for ``wer``.
        seed: seed of modality dropout and dropout.
    """

    model: Whisper
    val_cost = 2.0  # estimated: with lips three losses and decoding

    def __init__(
        self,
        whisper: str | None = None,
        sizes: WhisperConfig = WhisperConfig(),
        video: EncoderConfig | None = None,
        video_pretrained: str | None = None,
        video_norm: bool = False,
        freeze_whisper: bool | None = None,
        freeze_video: bool = True,
        freeze_batch_norm: bool = True,
        modality_dropout: ModalityDropout = ModalityDropout(),
        zero_dropped_video: bool = False,
        official_padding: bool = False,
        task: Task = "transcribe",
        smoothing: float = 0.0,
        save_memory: bool = False,
        decoding: DecodingConfig = DecodingConfig(beam_size=1, temperatures=(0.0,)),
        optimizer: OptimizerConfig = OptimizerConfig(lr=1e-4, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.01),
        schedule: ScheduleConfig = ScheduleConfig(),
        video_rate: float = 1.0,
        gate_rate: float = 1.0,
        normalization: str = "basic",
        seed: int = 0,
    ) -> None:
        from avspeech.hub.names import open_encoder, open_model  # and with them the readers of official files

        super().__init__(optimizer, schedule, seed)
        lips = None if video is None else AVEncoder(video)
        if video_pretrained is not None:
            if video is not None:
                raise ValueError("video and video_pretrained both came; the file says the sizes, so leave video out")
            lips = open_encoder(video_pretrained)
        audio = Whisper(sizes) if whisper is None else open_model(whisper)
        if not isinstance(audio, Whisper):
            raise ValueError(f"{whisper} holds a {type(audio).__name__}, wanted a Whisper")
        self.model = build(audio, lips, video_norm, zero_dropped_video, official_padding)
        self.model.source = {**(self.model.source or {}), "fine_tuned": True}  # needs no padding to 30 s
        self.model.about["modality"] = "audio+video" if self.model.has_video else "audio"
        self.model.save_memory(("encoder", "decoder") if save_memory else ())
        self.tokenizer = WhisperTokenizer(self.model.sizes.vocab_size)
        self.freeze_video, self.freeze_batch_norm = freeze_video, freeze_batch_norm
        if self.model.has_video if freeze_whisper is None else freeze_whisper:
            self.model.requires_grad_(False)
        if isinstance(self.model, Flamingo):
            for weight in self.model.new_weights:
                weight.requires_grad_(True)
            self.model.video_encoder.requires_grad_(not freeze_video)
        self.modality_dropout = modality_dropout
        self.task, self.smoothing, self.normalization = task, smoothing, normalization
        self.decoding = replace(decoding, task=task)
        self.rates = {"video_encoder": video_rate, "_gate": gate_rate}
        self.train()  # what was loaded is in evaluation mode

    def train(self, mode: bool = True) -> "FlamingoModule":
        """Set the mode; frozen parts of the lip encoder stay in eval mode."""
        super().train(mode)
        if mode and isinstance(self.model, Flamingo) and self.freeze_batch_norm:
            if self.freeze_video:
                self.model.video_encoder.eval()
            for part in self.model.video_encoder.modules():
                if isinstance(part, nn.modules.batchnorm._BatchNorm):
                    part.eval()
        return self

    def on_train_start(self) -> None:
        super().on_train_start()
        check_synchronised(self.model, self.modality_dropout.p_audio_only, self.trainer.world_size)

    def training_step(self, batch: AVBatch, batch_idx: int) -> Tensor:
        generator = self.batch_generator(batch_idx)
        keep_B2 = None
        if self.model.has_video and self.modality_dropout.p_both < 1:
            keep_B2 = self.modality_dropout.draw(len(batch.ids), generator)
        loss = self._loss(batch, keep_B2, "train", "")
        if not loss.requires_grad:  # audio alone skips the gated layers, and nothing else is trained
            loss = loss + 0 * sum(weight.sum() for weight in self.model.parameters() if weight.requires_grad)
        assert batch.tokens_BL is not None
        return self.watch(batch, loss, batch.token_lengths_B.sum())

    def validation_step(self, batch: AVBatch, batch_idx: int) -> None:
        self._loss(batch, None, "val", "")
        if self.model.has_video and batch.logmel_BAF is not None:
            for name, streams in (("_audio", [True, False]), ("_video", [False, True])):
                keep_B2 = torch.tensor(streams, device=self.device).repeat(len(batch.ids), 1)
                self._loss(batch, keep_B2, "val", name)
        self.count_words(batch, transcribe_batch(self.model, batch, config=self.decoding))

    def _loss(self, batch: AVBatch, keep_B2: Tensor | None, stage: str, name: str) -> Tensor:
        inputs_BL, targets_BL = self.teacher(batch)
        if self.model.has_video and batch.video_BTHW is None:  # nothing new would be trained
            raise ValueError("a model that reads lips got no video; set data.init_args.modality: audio+video")
        keep_B2 = None if keep_B2 is None else keep_B2.to(self.device)
        logits_BLV = self.model(inputs_BL, self.model.encode(batch, keep_B2))
        loss = token_loss(logits_BLV, targets_BL, self.smoothing)
        values = {f"{stage}/loss{name}": loss}
        if not name:
            values[f"{stage}/token_accuracy"] = token_accuracy(logits_BLV, targets_BL)
        self.log_dict(values, batch_size=len(batch.ids), sync_dist=stage == "val")
        return loss


def build(
    audio: Whisper, lips: AVEncoder | None, video_norm: bool, zero_dropped_video: bool, official_padding: bool
) -> Whisper:
    """Return ``audio`` itself, or a ``Flamingo`` around it with closed gates."""
    sizes = replace(audio.sizes, official_padding=official_padding)
    if lips is None:
        audio.sizes = audio.encoder.config = sizes
        if isinstance(audio, Flamingo):
            if video_norm and not audio.config.video_norm:
                raise ValueError("video_norm=True came for a Flamingo trained without; leave video_norm out")
            audio.config = replace(audio.config, whisper=sizes, zero_dropped_video=zero_dropped_video)
        return audio
    if audio.has_video:
        raise ValueError("this Whisper reads lips already; leave video and video_pretrained out")
    model = Flamingo(FlamingoConfig(sizes, lips.config, video_norm, zero_dropped_video))
    model.video_encoder = lips
    model.encoder.load_state_dict(audio.encoder.state_dict())
    missing, unknown = model.decoder.load_state_dict(audio.decoder.state_dict(), strict=False)
    assert not unknown and all(".video." in name for name in missing)
    return model


def check_synchronised(model: nn.Module, p_audio_only: float, world_size: int) -> None:
    """Raise ValueError if dropped video and synchronised BatchNorm could deadlock.

    A batch without any video skips the lip encoder, while other processes wait for its statistics.
    """
    synchronised = any(isinstance(part, nn.SyncBatchNorm) and part.training for part in model.modules())
    if world_size > 1 and p_audio_only > 0 and synchronised:
        raise ValueError(
            f"modality_dropout.p_audio_only={p_audio_only} with trainer.sync_batchnorm=true on {world_size} processes "
            "would hang where one of them drops the video of a whole batch; set sync_batchnorm: false, or "
            "freeze_batch_norm: true"
        )
