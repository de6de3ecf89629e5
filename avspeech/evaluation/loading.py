"""An utterance under a condition -> ``Sample``: the same samples for every model that is evaluated.

The noise of an utterance depends on the seed, its id, the noise's name and the SNR, never on the model, the batch
or what was loaded before; audio and audio+video hear the same mix. Streams are brought to one length as in training
(``avspeech.data.dataset``): the video's length wins. Nothing is augmented. A Whisper gets log-mel features instead of
stacked filterbanks, of the same noisy audio.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from avspeech.data.dataset import Sample
from avspeech.data.manifest import ManifestError, Utterance, read_manifest
from avspeech.degrade.noise import mix_at_snr, utterance_rng
from avspeech.degrade.sources import NoiseSource, Voice, make_source
from avspeech.evaluation.conditions import BLANK, SHUFFLED, Condition, EvaluationConfig, NoiseSpec
from avspeech.evaluation.stand_ins import blank_clip, fit_length, shuffle_clips
from avspeech.features.clip import CLIP_SIZE, crop_clips
from avspeech.features.logfbank import fbank_TF
from avspeech.features.logmel import logmel_AF
from avspeech.media.audio import read_audio
from avspeech.media.errors import MediaError
from avspeech.media.video import read_grey_clip
from avspeech.timebase import SAMPLES_PER_FRAME, samples_to_frames


def make_sources(config: EvaluationConfig) -> dict[str, NoiseSource]:
    """Return the source of every noise of ``config``, by name.

    Raises:
        ValueError: a noise lacks its manifest, or the manifest cannot be used; names the key.
    """
    return {name: _make_source(f"noises.{name}", spec) for name, spec in config.noises.items()}


def _make_source(key: str, spec: NoiseSpec) -> NoiseSource:
    if spec.kind == "white":
        return make_source("white")
    if spec.manifest is None:
        raise ValueError(
            f"{key}.manifest is not set and kind={spec.kind} needs one; write it into the conditions file or give "
            f"--noise_manifests '{{{key.removeprefix('noises.')}: <manifest>}}'"
        )
    try:
        utterances = read_manifest(spec.manifest, require=("audio",))
    except ManifestError as error:
        raise ValueError(f"{key}.manifest: {error}") from error
    voices = [Voice(one.id, one.audio, one.speaker) for one in utterances if one.audio is not None]
    if spec.kind == "babble" and len(voices) <= spec.num_voices[1]:
        raise ValueError(
            f"{key}.num_voices={list(spec.num_voices)} is not less than the {len(voices)} clips of {spec.manifest}; "
            "lower it or add clips, one more than the most voices, since nobody babbles behind himself"
        )
    return make_source(spec.kind, voices, [one.audio for one in utterances if one.audio is not None], spec.num_voices)


class ConditionLoader:
    """Loads utterances under any condition of a grid.

    Args:
        sources: noise by name.
        seed: of the noise and of the shuffled videos.
        clip_size: pixels on a side of the centre crop that the model sees.
        cache_bytes: memory for decoded streams, which every condition needs again; once it is full, the rest of
            the clips are decoded every time (clips come in the same order, so dropping old ones would never help).
        mel_bins: gives log-mel features with so many bins, for a Whisper. None gives filterbanks.
        pad_to_30s: of the log-mel features, see ``logmel_AF``.
        longest_s: longer log-mel features, in seconds, are more than the model hears. None takes any length.
        utterances: the whole test set, from which ``shuffled`` videos come; may be empty if there are none.
    """

    def __init__(
        self,
        sources: Mapping[str, NoiseSource],
        seed: int = 0,
        clip_size: int = CLIP_SIZE,
        cache_bytes: int = 1 << 30,
        mel_bins: int | None = None,
        pad_to_30s: bool = False,
        utterances: Sequence[Utterance] = (),
        longest_s: float | None = None,
    ) -> None:
        self.longest_s = longest_s
        self.sources, self.seed, self.clip_size = sources, seed, clip_size
        self.mel_bins, self.pad_to_30s = mel_bins, pad_to_30s
        self._others = shuffle_clips(utterances, seed) if len(utterances) > 1 else {}
        self._free_bytes = cache_bytes
        self._kept: dict[tuple[Path, str], np.ndarray] = {}

    def load(self, utterance: Utterance, condition: Condition) -> Sample:
        """Return the sample with the streams that the condition keeps, without units and tokens.

        Raises:
            MediaError: a file is missing or broken, the clip is smaller than the crop, or the audio too long.
        """
        audio_TF = mel_AF = video_THW = num_frames = None
        if condition.keeps_video:
            video_THW = self._video(utterance, condition)
            num_frames = len(video_THW)
        if condition.keeps_audio:
            assert utterance.audio is not None
            audio_S = self._decoded(utterance.audio, read_audio)
            if not len(audio_S):
                raise MediaError(utterance.audio, "has no audio samples")
            noisy_S = torch.from_numpy(self._with_noise(audio_S, utterance, condition))
            if self.mel_bins is not None:
                if num_frames is not None:
                    size = num_frames * SAMPLES_PER_FRAME
                    noisy_S = torch.nn.functional.pad(noisy_S[:size], (0, max(0, size - len(noisy_S))))
                mel_AF = logmel_AF(noisy_S, self.mel_bins, self.pad_to_30s)
                if self.longest_s is not None and len(mel_AF) > self.longest_s * 100:
                    raise MediaError(
                        utterance.audio,
                        f"lasts {len(mel_AF) / 100:g} s, the model hears at most {self.longest_s:g} s; cut the clip",
                    )
            num_frames = num_frames or utterance.num_frames or samples_to_frames(len(audio_S))
            if self.mel_bins is None:
                audio_TF = fbank_TF(noisy_S, num_frames)
        assert num_frames is not None
        return Sample(
            utterance.id,
            num_frames,
            audio_TF,
            video_THW,
            text=utterance.text,
            logmel_AF=mel_AF,
            language=utterance.language,
        )

    def _video(self, utterance: Utterance, condition: Condition) -> Tensor:
        """Return the centre crop of what the condition shows: the own clip, or one as long that stands in for it."""
        mouth_THW = self._mouth(utterance)
        if condition.video_stream == BLANK:
            mouth_THW = blank_clip(mouth_THW)
        elif condition.video_stream == SHUFFLED:
            assert utterance.id in self._others, "ConditionLoader needs ``utterances`` for shuffled videos"
            mouth_THW = fit_length(self._mouth(self._others[utterance.id]), len(mouth_THW))
        crop_1THW = crop_clips(torch.from_numpy(mouth_THW)[None], self.clip_size)
        return crop_1THW[0].clone()  # what is kept stays as it is

    def _mouth(self, utterance: Utterance) -> np.ndarray:
        assert utterance.mouth is not None
        mouth_THW = self._decoded(utterance.mouth, read_grey_clip)
        if min(mouth_THW.shape[1:]) < self.clip_size:
            size = f"{mouth_THW.shape[1]}x{mouth_THW.shape[2]}"
            raise MediaError(utterance.mouth, f"is {size}, wanted {self.clip_size} pixels a side; extract it anew")
        return mouth_THW

    def _decoded(self, path: Path, read: Callable[[Path], np.ndarray]) -> np.ndarray:
        key = path, read.__name__  # one file may hold both streams
        if key not in self._kept:
            stream = read(path)
            if stream.nbytes > self._free_bytes:
                return stream
            self._free_bytes -= stream.nbytes
            self._kept[key] = stream
        return self._kept[key]

    def _with_noise(self, audio_S: np.ndarray, utterance: Utterance, condition: Condition) -> np.ndarray:
        if condition.snr_db is None:
            return audio_S
        rng = utterance_rng(self.seed, utterance.id, condition.noise, condition.snr_db)
        source = self.sources[condition.noise]
        noise_S = source.draw(len(audio_S), rng, exclude_speaker=utterance.speaker, exclude_id=utterance.id)
        return mix_at_snr(audio_S, noise_S, condition.snr_db)


def check_streams(utterances: Sequence[Utterance], config: EvaluationConfig, manifest: Path) -> None:
    """Check that every utterance names the files that the grid needs.

    Raises:
        ManifestError: names the first that does not, or a lone utterance is to see another's clip.
    """
    if config.shuffles_video and len(utterances) < 2:
        raise ManifestError(
            f"{manifest} has one utterance, and video_streams names 'shuffled', which shows another's clip; "
            "add utterances or leave it out"
        )
    needed = {
        "mouth": any("video" in modality for modality in config.modalities),
        "audio": any("audio" in modality for modality in config.modalities),
    }
    hints = {"mouth": "run data_prep/extract_rois.py, or leave the video out with --modalities '[audio]'"}
    for utterance in utterances:
        for name, wanted in needed.items():
            if wanted and getattr(utterance, name) is None:
                hint = hints.get(name, "or evaluate with --modalities '[video]'")
                raise ManifestError(f"{manifest}: utterance {utterance.id!r} has no {name!r}, which is needed; {hint}")
