"""Output of an encoder and input of a text decoder."""

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class Memory:
    """Encoded utterances: one fused stream at 25 Hz, or Whisper's audio at 50 Hz with optional video at 25 Hz."""

    memory_BTD: Tensor
    """Encoder output; zero where an utterance has no audio."""
    valid_BT: Tensor | None = None
    """bool, True where the memory is real; None: everywhere."""
    video_BTD: Tensor | None = None
    """Projected lip features of the gated layers; None skips these layers."""
    video_valid_BT: Tensor | None = None
    """bool, True where a video frame is real; None: everywhere."""
    has_video_B: Tensor | None = None
    """bool, False skips the gated layers for that utterance; None: all have video."""

    def __len__(self) -> int:
        return len(self.memory_BTD)

    def select(self, rows_B: Tensor) -> "Memory":
        """Return the memory of the utterances ``rows_B`` (indices or bool)."""
        return Memory(*(None if part is None else part[rows_B] for part in vars(self).values()))  # type: ignore[arg-type]
