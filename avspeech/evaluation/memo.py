"""Keep the outputs of a model's encoders of single streams.

A grid shows a model the same video in every noise, and the same audio beside every video. A kept output is found by
the bytes of the inputs, so a wrong answer is impossible short of a collision of 128-bit hashes. For inference only:
kept outputs have no gradient.
"""

import hashlib
from typing import Any

import torch
from torch import Tensor, nn

from avspeech.models.base import Model


class Remembered:
    """Replaces ``module.forward`` so that it runs once on each input.

    Args:
        module: gives a single tensor that depends on nothing but its arguments.
        max_bytes: bytes kept at most, on the module's device. Once they are used, new inputs are computed every time:
            a grid asks in the same order again and again, so dropping the oldest would never help.
    """

    def __init__(self, module: nn.Module, max_bytes: int) -> None:
        self.free_bytes = max_bytes
        self.num_runs = 0
        """Runs of the module itself."""
        self._kept: dict[bytes, Tensor] = {}
        self._forward = module.forward
        module.forward = self

    def __call__(self, *inputs: Any) -> Tensor:
        """Return the module's output, computed now or kept."""
        assert not torch.is_grad_enabled(), "a remembered module has no gradient; use it under torch.no_grad()"
        key = _key_of(inputs)
        if key in self._kept:
            return self._kept[key]
        output = self._forward(*inputs)
        self.num_runs += 1
        if output.nbytes <= self.free_bytes:
            self.free_bytes -= output.nbytes
            self._kept[key] = output
        return output


def remember_streams(model: Model, max_bytes: int = 1 << 30) -> list[Remembered]:
    """Let a model's ``stream_encoders`` keep their outputs, in place.

    Args:
        model: in evaluation mode.
        max_bytes: bytes kept by each encoder.
    """
    return [Remembered(module, max_bytes) for module in model.stream_encoders]


def _key_of(inputs: tuple) -> bytes:
    """Return a hash of tensors with their shapes and types, and of the other arguments."""
    digest = hashlib.blake2b(digest_size=16)
    for one in inputs:
        if isinstance(one, Tensor):
            digest.update(f"{tuple(one.shape)} {one.dtype};".encode())
            digest.update(one.detach().cpu().contiguous().view(torch.uint8).numpy().data)
        else:
            digest.update(f"{one!r};".encode())
    return digest.digest()
