"""``AVDataModule``: training and validation batches from manifests."""

import logging
import math
from dataclasses import asdict, fields, replace
from functools import partial
from typing import Any

import numpy as np
from lightning import LightningDataModule
from torch.utils.data import DataLoader

from avspeech.data.augment import AugmentConfig
from avspeech.data.balance import balance_of
from avspeech.data.batching import BatchConfig, Place, SampleKey, TrainingBatches, plan_batches
from avspeech.data.clips import Clips, open_clips
from avspeech.data.dataset import AVDataset, SpanConfig
from avspeech.data.limits import check_alignable, check_crops, check_languages, check_lengths
from avspeech.data.unit_sets import UnitSet
from avspeech.inputs import InputSpec, Modality, collate
from avspeech.manifest import ManifestError
from avspeech.models.base import Model
from avspeech.noise.drawn import DrawnNoise
from avspeech.noise.spec import NoiseConfig
from avspeech.text.tokenizer import Tokenizer
from avspeech.training.progress import BatchCount, share_update

FEWEST = 50  # clips of a thinned validation
logger = logging.getLogger(__name__)
PLACE = [field.name for field in fields(Place)]


class AVDataModule(LightningDataModule):
    """Batches for the trained model's tokenizer, features and crop size; ``trainer.max_steps`` ends the run.

    Args:
        train: manifest of the training clips, or shards (``data_prep/write_shards.py``): index, folder or URL.
        val: those of the validation clips; null: no validation.
        modality: streams to load; ``audio`` decodes no video.
        train_units: unit file (.km) of the training clips for pre-training, or several, all predicted; or the names
            that shards store units by.
        val_units: as many unit files of the validation manifest.
        units_rate: units per second, 25 or 100 (MFCC), or one per file; null: from ``FILE.km.json``, else 25.
        batches: clips to use, batch sizes, batches of an update.
        augment: augmentation of the training streams.
        noise: noise added to training audio.
        noise_manifest: babble clips (manifest or shards) where ``noise`` names no manifest; null: the training clips.
        val_noise: noise in validation, the same every time; null: clean audio.
        spans: train on spans of a few words.
        pad_to_30s: pad Whisper's audio with silence to 30 s, as OpenAI does.
        val_share: largest share of the time for validation; a set too large for ``trainer.val_check_interval`` is
            thinned evenly over its lengths, to 50 clips at least; 1: never.
        num_workers: number of loader processes.
        cache_gb: memory for decoded streams per process, in GiB.
        seed: seed of order, augmentation and noise.
    """

    def __init__(
        self,
        train: str,
        val: str | None = None,
        modality: Modality = "audio+video",
        train_units: str | list[str] | None = None,
        val_units: str | list[str] | None = None,
        units_rate: int | list[int] | None = None,
        batches: BatchConfig = BatchConfig(),
        augment: AugmentConfig = AugmentConfig(),
        noise: NoiseConfig = NoiseConfig(),
        noise_manifest: str | None = None,
        val_noise: NoiseConfig | None = None,
        spans: SpanConfig = SpanConfig(),
        pad_to_30s: bool = False,
        val_share: float = 0.05,
        num_workers: int = 0,
        cache_gb: float = 0.0,
        seed: int = 0,
    ) -> None:
        super().__init__()
        if not 0 < val_share <= 1:
            raise ValueError(f"data.init_args.val_share={val_share} came, wanted a share above 0 and up to 1")
        self.val_share = val_share
        self.train_path, self.val_path = train, val
        self.modality: Modality = modality
        self.train_units, self.val_units, self.units_rate = train_units, val_units, units_rate
        self.batches, self.augment, self.noise, self.spans = batches, augment, noise, spans
        self.noise_manifest, self.val_noise, self.pad_to_30s = noise_manifest, val_noise, pad_to_30s
        self.num_workers, self.cache_bytes, self.seed = num_workers, int(cache_gb * 2**30), seed
        self._state: dict[str, int] = {}
        self._order: TrainingBatches | None = None
        self._count: BatchCount | None = None
        self._train: AVDataset | None = None
        self._val: AVDataset | None = None

    def setup(self, stage: str) -> None:
        if stage not in ("fit", "validate"):
            return
        if stage == "fit" and self.trainer is not None and self.trainer.max_steps <= 0:
            raise ValueError("the training order has no end: set trainer.max_steps")
        clips = open_clips(self.train_path)
        voices = open_clips(self.noise_manifest, audio=True) if self.noise_manifest else clips
        units = self._units(self.train_units, self.train_path, clips)
        kept_N = self._kept(clips)
        noise = DrawnNoise(self.noise, voices.voices) if "audio" in self.modality and self.noise.probability else None
        if left_out := len(clips) - len(kept_N):
            logger.warning("%d of %d training clips are left out for their length", left_out, len(clips))
            clips, units = clips.select(kept_N), [unit_set.select(kept_N) for unit_set in units]
        self._train = self._dataset(self.train_path, clips, units, noise, training=True)
        if self.val_path is not None:
            val = open_clips(self.val_path)
            units = self._units(self.val_units, self.val_path, val)
            noise = None if self.val_noise is None else DrawnNoise(self.val_noise, voices.voices, "valid")
            self._val = self._dataset(self.val_path, val, units, noise, training=False)

    def _kept(self, clips: Clips) -> np.ndarray:
        """Return the indices of the training clips whose lengths ``batches`` allows."""
        frames_N, limits = clips.num_frames_N, self.batches
        if len(unknown := np.flatnonzero(frames_N == 0)):
            name = f"{self.train_path}: utterance {clips.utterance(int(unknown[0])).id!r}"
            raise ManifestError(f"{name} has no 'num_frames'; data_prep/extract_rois.py writes it")
        kept_N = frames_N >= limits.shortest
        if limits.longest is not None:
            kept_N &= frames_N <= limits.longest
        if limits.longest_text is not None:
            kept_N &= clips.text_lengths() <= limits.longest_text
        return np.flatnonzero(kept_N)

    def _units(self, given: str | list[str] | None, manifest: str, clips: Clips) -> list[UnitSet]:
        paths = [given] if isinstance(given, str) else given or []
        rates = self.units_rate if isinstance(self.units_rate, list) else [self.units_rate] * len(paths)
        if len(rates) != len(paths):
            raise ValueError(f"data.units_rate has {len(rates)} rates for {len(paths)} unit files; give one for each")
        unit_sets = [clips.units(path, rate) for path, rate in zip(paths, rates, strict=True)]
        for path, unit_set in zip(paths, unit_sets, strict=True):
            if len(unit_set.rows) != len(clips):
                lines = f"{path} has {len(unit_set.rows)} lines"
                raise ManifestError(f"{lines}, {manifest} has {len(clips)} utterances")
        return unit_sets

    def _dataset(
        self, path: str, clips: Clips, units: list[UnitSet], noise: DrawnNoise | None, training: bool
    ) -> AVDataset:
        model: Model | None = None if self.trainer is None else getattr(self.trainer.lightning_module, "model", None)
        inputs, tokenizer = (InputSpec(), None) if model is None else (model.inputs, model.tokenizer)
        inputs = replace(inputs, pads_to_30s=self.pad_to_30s)
        if model is not None and model.lip_encoder is not None and "video" in self.modality:
            lips = model.lip_encoder
            lips.crop = check_crops(clips, lips.crop, path) or lips.crop
        if tokenizer is not None:
            check_languages(clips, tokenizer, path)
            check_lengths(clips, inputs, tokenizer, path, training and self.augment.max_frames is not None)
        upsample = getattr(self.trainer and self.trainer.lightning_module, "ctc_upsample", None)
        if upsample is not None and isinstance(tokenizer, Tokenizer):
            steps = self._frames(clips, training) * upsample
            check_alignable(clips, steps, tokenizer, path, self.batches.max_unalignable)
        augment, spans = (self.augment, self.spans) if training else (None, None)
        streams = (clips, self.modality, inputs, tokenizer, units)
        return AVDataset(*streams, augment, noise, spans, self.seed, self.cache_bytes)

    def _frames(self, clips: Clips, training: bool) -> np.ndarray:
        """Return the lengths that the clips will have, (N,) int32."""
        longest = self.augment.max_frames if training else None
        frames_N = np.maximum(clips.num_frames_N, 1)
        return frames_N if longest is None else np.minimum(frames_N, np.int32(longest))

    @property
    def _ranks(self) -> tuple[int, int]:
        """Rank and number of processes."""
        return (0, 1) if self.trainer is None else (self.trainer.global_rank, self.trainer.world_size)

    def train_dataloader(self) -> DataLoader:
        assert self._train is not None
        trainer = self.trainer
        anew = trainer is not None and trainer.fit_loop.total_batch_idx < 0  # whatever it was used for before
        state = self._state = {} if anew else self.state_dict()
        clips, config = self._train.clips, self.batches
        balance = balance_of(clips, config.balance, self.train_path)
        order = partial(TrainingBatches, self._frames(clips, training=True), config, self.seed, *self._ranks, balance)
        place = Place(*(state[name] for name in PLACE)) if "epoch" in state else order().find(state.get("batch", 0))
        if trainer is None:
            return self._loader(self._train, order(place))
        self._per_update = share_update(trainer, self.batches.per_update, state)
        self._count = BatchCount(trainer, place.batch)
        self._order = order(place, self._count.trained)
        return self._loader(self._train, self._order)

    def val_dataloader(self) -> DataLoader | list:
        if self._val is None:
            return []
        frames = self._frames(self._val.clips, training=False).tolist()
        plan = self._thinned(
            list(plan_batches(frames, self.batches.max_frames, self.batches.max_clips)), int(np.sum(frames))
        )
        rank, num_ranks = self._ranks
        plan += plan[: -len(plan) % num_ranks]  # DDP waits for ever if one process has fewer
        return self._loader(self._val, [[SampleKey(i) for i in batch] for batch in plan[rank::num_ranks]])

    def _thinned(self, plan: list[list[int]], num_frames: int) -> list[list[int]]:
        """Return every n-th batch of a validation that would take more of the time than ``val_share``."""
        trainer = self.trainer
        if trainer is None or self._train is None or not isinstance(trainer.val_check_interval, int):
            return plan
        frames_N = self._frames(self._train.clips, training=True)
        batch = min(self.batches.max_frames, self.batches.max_clips * float(np.mean(frames_N)))
        trained = trainer.val_check_interval * trainer.world_size * batch  # frames between two validations
        cost = getattr(trainer.lightning_module, "val_cost", 1.0)
        every = math.ceil(num_frames * cost * (1 - self.val_share) / (trained * self.val_share))
        every = max(1, min(every, sum(map(len, plan)) // FEWEST))
        if every > 1:
            told = "validation takes every %d. batch, to stay below data.init_args.val_share=%g of the time"
            logger.warning(told, every, self.val_share)
        return plan[::every]

    def _loader(self, dataset: AVDataset, batches: Any) -> DataLoader:
        workers: Any = {"num_workers": self.num_workers, "persistent_workers": self.num_workers > 0}
        return DataLoader(dataset, batch_sampler=batches, collate_fn=collate, **workers)

    def state_dict(self) -> dict[str, int]:
        """Return the place in the order of all processes after the last update, and how an update is shared.

        Batches that are only loaded, or whose update was not made yet, come again after a resume.
        """
        if self._order is None or self._count is None or self.trainer is None:
            return self._state
        place = self._order.place(self._count.updated())
        return {**asdict(place), "per_update": self._per_update, "ranks": self.trainer.world_size}

    def load_state_dict(self, state_dict: dict[str, int]) -> None:
        """Continue after the last update of a checkpoint, on any number of processes.

        Older versions counted the batches of each process: theirs must go on with as many processes.
        """
        done = state_dict.get("batches_done")
        self._state = state_dict if done is None else {"batch": done * self._ranks[1]}
        self._order = self._count = None

    @property
    def batches_trained(self) -> int | None:
        """Batches that all processes trained together since the run's first start; None before its training."""
        return None if self._count is None else self._count.trained()
