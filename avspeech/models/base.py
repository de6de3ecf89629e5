"""What every model says about itself, so that no other stage asks for its class."""

from dataclasses import replace
from typing import Any, Self

from torch import Tensor, nn

from avspeech.inputs import MODALITIES, AVBatch, InputSpec, Modality
from avspeech.models.encoder import AVEncoder, Encoder
from avspeech.models.memory import Memory
from avspeech.text.tokenizer import Tokenizer
from avspeech.text.whisper_tokens import WhisperTokenizer


class Model(nn.Module):
    """A network that a model file holds."""

    kind: str
    """Name of the class in a model file, its key in ``avspeech.models.files.KINDS``."""
    title = "Speech model"
    """What the model is, in a few words, for model cards."""
    no_text = ""
    """Why a model that gives no text gives none, and what to do."""

    def __init__(self) -> None:
        super().__init__()
        self.carried: dict[str, Tensor] = {}
        """Tensors of an imported model that ours does not use, by their own names, for exporting it again."""
        self.source: dict[str, Any] | None = None
        """Where imported weights came from: their training configuration, JSON-ready and without paths."""
        self.about: dict[str, Any] = {}
        """Notes of the model file's header, JSON-ready: ``modality``, what the model was trained with."""

    def to_config(self) -> dict[str, Any]:
        """Return all sizes and options, JSON-ready, as the model file's header keeps them."""
        raise NotImplementedError

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        """Return a model with new weights from what ``to_config`` gave.

        Raises:
            ModelFileError: a field that this version does not know.
        """
        raise NotImplementedError

    @property
    def inputs(self) -> InputSpec:
        """Features, crop and limits of what the model takes."""
        raise NotImplementedError

    @property
    def lip_encoder(self) -> Encoder | None:
        """The encoder that reads the video; None: the model uses none."""
        raise NotImplementedError

    @property
    def av_encoder(self) -> AVEncoder:
        """AV-HuBERT's encoder, for code that needs its parts or its layout.

        Raises:
            ValueError: the model has no such encoder.
        """
        if not isinstance(self.lip_encoder, AVEncoder):
            found = "no encoder that reads lips" if self.lip_encoder is None else f"a {type(self.lip_encoder).__name__}"
            raise ValueError(f"the model has {found}, wanted AV-HuBERT's encoder")
        return self.lip_encoder

    @property
    def tokenizer(self) -> Tokenizer | WhisperTokenizer | None:
        """Text <-> tokens; None: the model gives no text."""
        return None

    @property
    def gives_text(self) -> bool:
        """True if the model turns speech into text."""
        return self.tokenizer is not None

    @property
    def methods(self) -> tuple[str, ...]:
        """Methods of ``DecodingConfig`` that the model's heads allow, the default one first; empty: it has no head."""
        return ()

    @property
    def stream_encoders(self) -> list[nn.Module]:
        """Modules that encode one stream each: their output depends on nothing but their arguments."""
        return []

    @property
    def alignment_heads(self) -> tuple[tuple[int, int], ...]:
        """(block, head) of the text decoder whose attention follows the words in time; empty: they are not known."""
        return ()

    def encode(self, batch: AVBatch, keep_B2: Tensor | None = None) -> Memory:
        """Return the encoder's output for a batch on the model's device.

        Args:
            batch: with the features that ``inputs`` names.
            keep_B2: bool, columns AUDIO and VIDEO, False drops that stream of that utterance; None keeps both.
        """
        raise NotImplementedError

    def size_lines(self) -> list[str]:
        """Return one line about the sizes of each part."""
        return []

    def describe(self, training: bool = True) -> list[str]:
        """Return lines about the model: sizes, parameters, and how imported weights were trained.

        Args:
            training: False leaves the training out.
        """
        lines = [*self.size_lines(), f"parameters: {sum(parameter.numel() for parameter in self.parameters()):,}"]
        source = self.source or {}
        if training and "updates" in source:
            lines.append(f"trained for {source['updates']} updates")
            for section, values in source.get("training", {}).items():
                lines.append(f"{section}: " + ", ".join(f"{name}={value}" for name, value in values.items()))
        return lines


class EncoderModel(Model):
    """A model around one audio-visual ``encoder``, whose memory is at 25 Hz."""

    encoder: Encoder

    @property
    def inputs(self) -> InputSpec:
        modality: Modality = self.about.get("modality", "audio+video")
        return replace(self.encoder.inputs, modalities=MODALITIES if modality == "audio+video" else (modality,))

    @property
    def lip_encoder(self) -> Encoder:
        return self.encoder

    @property
    def stream_encoders(self) -> list[nn.Module]:
        return self.encoder.stream_encoders

    def encode(self, batch: AVBatch, keep_B2: Tensor | None = None) -> Memory:
        return Memory(self.encoder(batch.audio_BTF, batch.video_BTHW, batch.valid_BT, keep_B2), batch.valid_BT)
