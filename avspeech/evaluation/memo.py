"""What an encoder made of a stream, kept: a grid shows a model the same lips in every noise, and lets it hear the same
noise beside every picture.

A remembered module looks at the bytes that come in, not at who asks, so a wrong answer is impossible short of a
collision of 128-bit hashes. Only for inference: what is kept has no gradient.
"""

import hashlib
from typing import Any

import torch
from torch import Tensor, nn

from avspeech.models.flamingo import Flamingo
from avspeech.models.recognizer import Recognizer
from avspeech.models.whisper import Whisper


class Remembered(nn.Module):
    """Runs ``module`` once on each input.

    Args:
        module: whose outputs are single tensors, and depend on nothing but its arguments.
        max_bytes: kept at most, on the module's device. Once it is full, new inputs are computed every time: a grid
            asks in the same order again and again, so dropping the oldest would never help.
    """

    def __init__(self, module: nn.Module, max_bytes: int) -> None:
        super().__init__()
        self.module, self.free_bytes = module, max_bytes
        self.num_runs = 0
        """How often the module itself ran."""
        self._kept: dict[bytes, Tensor] = {}

    def forward(self, *inputs: Any) -> Tensor:
        """Return what the module gives, now or when it was first asked."""
        assert not torch.is_grad_enabled(), "a remembered module has no gradient; use it under torch.no_grad()"
        key = _key_of(inputs)
        if key in self._kept:
            return self._kept[key]
        output = self.module(*inputs)
        self.num_runs += 1
        if output.nbytes <= self.free_bytes:
            self.free_bytes -= output.nbytes
            self._kept[key] = output
        return output


def remember_streams(model: nn.Module, max_bytes: int = 1 << 30) -> list[Remembered]:
    """Let a model's encoders of one stream remember, in place; return what does.

    In a Flamingo that is its lip encoder and its audio encoder, in a Whisper the audio encoder, in a recogniser the lip
    front end: the rest hears and sees together.

    Args:
        model: in evaluation mode.
        max_bytes: kept by each.
    """
    places: list[tuple[nn.Module, str]] = []
    if isinstance(model, Whisper):
        places.append((model, "encoder"))
        if isinstance(model, Flamingo):
            places.append((model, "video_encoder"))
    elif isinstance(model, Recognizer):
        places.append((model.encoder, "video_frontend"))
    remembered = []
    for owner, name in places:
        wrapped = Remembered(getattr(owner, name), max_bytes).eval()
        setattr(owner, name, wrapped)
        remembered.append(wrapped)
    return remembered


def _key_of(inputs: tuple) -> bytes:
    """A hash of tensors with their shapes and types, and of whatever else is among the arguments."""
    digest = hashlib.blake2b(digest_size=16)
    for one in inputs:
        if isinstance(one, Tensor):
            digest.update(f"{tuple(one.shape)} {one.dtype};".encode())
            digest.update(one.detach().cpu().contiguous().view(torch.uint8).numpy().data)
        else:
            digest.update(f"{one!r};".encode())
    return digest.digest()
