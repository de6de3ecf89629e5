"""Keep the outputs of a model's single-stream encoders: a grid repeats the same video and audio. Inference only.

An output is found by a 128-bit hash of the input bytes.
"""

import hashlib
from typing import Any

import torch
from torch import Tensor, nn

from avspeech.models.base import Model


class Remembered:
    """Replaces ``module.forward``, so that it runs once on each input.

    ``module`` returns one tensor that depends only on its arguments. Up to ``max_bytes`` are kept on its device.
    None is dropped, because a grid repeats one order; once full, later inputs are computed every time.
    """

    def __init__(self, module: nn.Module, max_bytes: int) -> None:
        self.free_bytes = max_bytes
        self.num_runs = 0
        self._kept: dict[bytes, Tensor] = {}
        self._forward = module.forward
        module.forward = self

    def __call__(self, *inputs: Any) -> Tensor:
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
    """Let the ``stream_encoders`` of a model in evaluation mode keep up to ``max_bytes`` of outputs each, in place."""
    return [Remembered(module, max_bytes) for module in model.stream_encoders]


def _key_of(inputs: tuple) -> bytes:
    digest = hashlib.blake2b(digest_size=16)
    for one in inputs:
        if isinstance(one, Tensor):
            digest.update(f"{tuple(one.shape)} {one.dtype};".encode())
            digest.update(one.detach().cpu().contiguous().view(torch.uint8).numpy().data)
        else:
            digest.update(f"{one!r};".encode())
    return digest.digest()
