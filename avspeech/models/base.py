"""Base class of all models: each describes itself, so that callers need no class checks."""

from dataclasses import replace
from typing import Any, Self

from torch import Tensor, nn

from avspeech.inputs import MODALITIES, AVBatch, InputSpec, Modality
from avspeech.models.encoder import AVEncoder, Encoder
from avspeech.models.memory import Memory
from avspeech.text.tokenizer import Tokenizer
from avspeech.text.whisper_tokens import WhisperTokenizer


class Model(nn.Module):
    """Network stored in a model file."""

    kind: str  # key of the class in ``avspeech.models.files.KINDS``
    title = "Speech model"  # for model cards
    no_text = ""
    """Reason and remedy if the model gives no text."""
    inputs: InputSpec
    """Input features, crop and limits."""
    lip_encoder: Encoder | None
    """Encoder of the video; None: no video."""
    tokenizer: Tokenizer | WhisperTokenizer | None = None
    """Text <-> tokens; None: the model gives no text."""
    methods: tuple[str, ...] = ()
    """Decoding methods that the model's heads allow, default first; empty: no head."""
    alignment_heads: tuple[tuple[int, int], ...] = ()
    """(block, head) of the decoder attention that follows the words in time; empty: unknown."""

    def __init__(self) -> None:
        super().__init__()
        self.carried: dict[str, Tensor] = {}  # unused tensors of an imported model by original names, for export
        self.source: dict[str, Any] | None = None  # training configuration of imported weights, JSON-ready, no paths
        self.about: dict[str, Any] = {}  # header notes, JSON-ready: ``modality`` is the training modality

    def to_config(self) -> dict[str, Any]:
        """Return all sizes and options, JSON-ready, for the model file's header."""
        raise NotImplementedError

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        """Return a model with new weights from ``to_config`` values. Raises ModelFileError for an unknown field."""
        raise NotImplementedError

    @property
    def av_encoder(self) -> AVEncoder:
        """AV-HuBERT encoder. Raises ValueError if the model has none."""
        if not isinstance(self.lip_encoder, AVEncoder):
            found = "no encoder that reads lips" if self.lip_encoder is None else f"a {type(self.lip_encoder).__name__}"
            raise ValueError(f"the model has {found}, wanted AV-HuBERT's encoder")
        return self.lip_encoder

    @property
    def gives_text(self) -> bool:
        """True if the model turns speech into text."""
        return self.tokenizer is not None

    @property
    def stream_encoders(self) -> list[nn.Module]:
        """Modules that encode one stream each and depend only on their arguments."""
        return []

    def encode(self, batch: AVBatch, keep_B2: Tensor | None = None) -> Memory:
        """Return the encoder output; False in ``keep_B2`` (columns AUDIO and VIDEO) drops that stream."""
        raise NotImplementedError

    def size_lines(self) -> list[str]:
        """Return one line about the sizes of each part."""
        return []

    def describe(self, training: bool = True) -> list[str]:
        """Return lines on sizes, parameters and, with ``training``, the training of imported weights."""
        lines = [*self.size_lines(), f"parameters: {sum(parameter.numel() for parameter in self.parameters()):,}"]
        source = self.source or {}
        if training and "updates" in source:
            lines.append(f"trained for {source['updates']} updates")
            for section, values in source.get("training", {}).items():
                lines.append(f"{section}: " + ", ".join(f"{name}={value}" for name, value in values.items()))
        return lines


class EncoderModel(Model):
    """Model with one audio-visual ``encoder``; memory at 25 Hz."""

    encoder: Encoder

    @property
    def inputs(self) -> InputSpec:
        modality: Modality = self.about.get("modality", "audio+video")
        modalities = MODALITIES if modality == "audio+video" else (modality,)
        return replace(self.encoder.inputs, crop=self.encoder.crop or InputSpec.crop, modalities=modalities)

    @property
    def lip_encoder(self) -> Encoder:
        return self.encoder

    @property
    def stream_encoders(self) -> list[nn.Module]:
        return self.encoder.stream_encoders

    def encode(self, batch: AVBatch, keep_B2: Tensor | None = None) -> Memory:
        return Memory(self.encoder(batch.audio_BTF, batch.video_BTHW, batch.valid_BT, keep_B2), batch.valid_BT)
