"""Compute the memory that training needs on a GPU, without one; and check the counting rule on this computer's memory.

    python experiments/2026-11-flamingo-memory/measure.py --out results.json
    python experiments/2026-11-flamingo-memory/measure.py --check true --out check.json

Weights, gradients and AdamW's moments follow from the number of weights. What the backward pass reads is counted by
``saved_tensors_hooks`` in one forward pass on fake CUDA tensors: they have a device, a dtype and a shape but no memory,
and autocast does with them what it does on a GPU. Every storage counts once, weights do not.
"""

import ctypes
import gc
import json
import sys
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from jsonargparse import auto_cli
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.autograd.graph import saved_tensors_hooks
from torch.utils._python_dispatch import TorchDispatchMode

from avspeech.models import whisper
from avspeech.models.encoder import EncoderConfig
from avspeech.models.flamingo import Flamingo, FlamingoConfig
from avspeech.models.frontends import VideoFrontend
from avspeech.models.whisper import Whisper
from avspeech.models.whisper_encoder import WhisperConfig
from avspeech.objectives.text_loss import token_loss

GIB = 2**30
TOKENS = 224
"""Text tokens of a clip, prompt included: half of Whisper's positions, which no sentence of 20 s reaches."""
WHISPERS = {"small": (768, 12, 12), "medium": (1024, 16, 24), "large-v2": (1280, 20, 32)}
LARGE_LIPS = EncoderConfig(width=1024, depth=24, num_heads=16, ffn_width=4096, layer_drop=0.0)
"""AV-HuBERT Large; a layer that is dropped needs less memory, so none is."""
BATCHES = {
    ("small", 1, False): [(2, 20), (16, 20)],
    ("medium", 1, False): [(2, 16), (2, 20), (4, 20), (8, 20), (16, 20)],
    ("large-v2", 1, False): [(8, 10), (2, 20)],
    ("small", 2, True): [(2, 20), (8, 20)],
    ("medium", 2, True): [(1, 20), (2, 20), (4, 20), (8, 20)],
    ("medium", 2, False): [(6, 15), (4, 24)],
    ("large-v2", 2, False): [(16, 15), (3, 15)],
    ("large-v2", 2, True): [(1, 20), (2, 20)],
}
"""Clips and their seconds by Whisper, stage and whether the lip encoder is trained; official batches are among them."""


@dataclass
class Memory:
    """What one training step holds, in bytes."""

    weights: int
    gradients: int
    moments: int
    saved: int
    """For the backward pass."""
    block: int
    """Of that checkpointed block which needs most when it is computed again."""
    forward_peak: int
    """Most that lives at once in the forward pass besides weights, with what is saved."""
    logits: int
    """Gradient of the logits, as fp32 and as bf16."""

    @property
    def peak(self) -> int:
        """As if all gradients lived before the first activation is freed; what the backward pass makes for a moment is
        not in it (1 to 9 % in two runs of the check)."""
        step = self.gradients  # AdamW's square roots, when the activations are gone
        activations = max(self.forward_peak, self.saved + self.block + self.logits)
        return self.weights + self.gradients + self.moments + max(step, activations)


class Storages:
    """Bytes of different storages; those of ``known`` tensors are left out."""

    def __init__(self, known: list[Tensor]) -> None:
        self.known = {tensor.untyped_storage()._cdata for tensor in known}
        self.held: dict[int, torch.UntypedStorage] = {}  # held, or a later one could get the same address

    def add(self, tensor: Tensor) -> Tensor:
        """Count a tensor; return one that shares its memory, but not its place in the graph, which would be a cycle."""
        storage = tensor.untyped_storage()
        if storage._cdata not in self.known:
            self.held[storage._cdata] = storage
        return tensor.detach()

    @property
    def total(self) -> int:
        """All bytes."""
        return sum(storage.nbytes() for storage in self.held.values())

    def hooks(self) -> saved_tensors_hooks:
        """Return a context in which what autograd saves is counted."""
        return saved_tensors_hooks(self.add, lambda tensor: tensor)


class LivePeak(TorchDispatchMode):
    """The most bytes that live at once of what is made inside the context."""

    def __init__(self, known: list[Tensor]) -> None:
        super().__init__()
        self.seen = {tensor.untyped_storage()._cdata for tensor in known}
        self.now = self.peak = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        for tensor in tensors_in(result):
            storage = tensor.untyped_storage()
            if storage._cdata not in self.seen:
                self.seen.add(storage._cdata)
                self.now += storage.nbytes()
                self.peak = max(self.peak, self.now)
                weakref.finalize(storage, self._free, storage._cdata, storage.nbytes())
        return result

    def _free(self, key: int, size: int) -> None:
        self.seen.discard(key)
        self.now -= size


def tensors_in(value: Any) -> Iterator[Tensor]:
    """Yield the tensors of nested tuples and dataclasses."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, list | tuple):
        for part in value:
            yield from tensors_in(part)
    elif is_dataclass(value):
        for field in fields(value):
            yield from tensors_in(getattr(value, field.name))


class FusedAttention(torch.autograd.Function):
    """Save what a GPU's fused kernels save: queries, keys, values, output, log-sum-exp, and the mask as numbers."""

    @staticmethod
    def forward(ctx: Any, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None) -> Tensor:
        # laid out in memory as the kernels do it, so that the view which joins the heads again copies nothing
        output = torch.empty_like(query.transpose(1, 2).contiguous()).transpose(1, 2)
        sums = query.new_empty(query.shape[:3], dtype=torch.float32)
        bias = () if mask is None else (torch.zeros_like(mask, dtype=query.dtype),)
        ctx.save_for_backward(query, key, value, output, sums, *bias)
        return output


class EveryFrame(VideoFrontend):
    """All frames are computed: which ones are real is a value, and fake tensors have none."""

    def _windows(self, video_BTHW: Tensor, compute_BT: Tensor) -> Tensor:
        reach = self.config.stem_frames // 2
        padded_BTHW = F.pad(video_BTHW, (0, 0, 0, 0, reach, reach))
        windows_MFHW = padded_BTHW.unfold(1, self.config.stem_frames, 1).permute(0, 1, 4, 2, 3).flatten(0, 1)
        return windows_MFHW.contiguous(memory_format=torch.channels_last)


@contextmanager
def patched(owner: Any, name: str, value: Any) -> Iterator[None]:
    """Put ``value`` in the place of an attribute for a while."""
    former = getattr(owner, name)
    setattr(owner, name, value)
    try:
        yield
    finally:
        setattr(owner, name, former)


@contextmanager
def gpu_autocast() -> Iterator[None]:
    """Autocast as on a GPU with bf16; ``torch.autocast`` refuses where there is none."""
    torch.set_autocast_dtype("cuda", torch.bfloat16)
    torch.set_autocast_enabled("cuda", True)
    try:
        yield
    finally:
        torch.set_autocast_enabled("cuda", False)
        torch.clear_autocast_cache()


def make_model(size: str, stage: int, train_lips: bool, save_memory: bool) -> Whisper:
    """Return a model in training mode with the weights frozen that the stage freezes."""
    width, heads, depth = WHISPERS[size]
    sizes = WhisperConfig(
        audio_width=width, audio_heads=heads, audio_depth=depth, text_width=width, text_heads=heads, text_depth=depth
    )
    model = Whisper(sizes) if stage == 1 else Flamingo(FlamingoConfig(sizes, LARGE_LIPS))
    if isinstance(model, Flamingo):
        model.requires_grad_(False)
        for weight in model.new_weights:
            weight.requires_grad_(True)
        model.video_encoder.requires_grad_(train_lips)
        model.video_encoder.video_frontend.__class__ = EveryFrame
    model.save_memory(("encoder", "decoder") if save_memory else ())
    return model.train()


def make_batch(model: Whisper, clips: int, seconds: int) -> tuple[list[Tensor | None], Tensor]:
    """Return what ``encode`` takes, every frame real, and tokens."""
    valid_BA = torch.ones(clips, 100 * seconds, dtype=torch.bool)
    streams: list[Tensor | None] = [torch.zeros(clips, 100 * seconds, model.sizes.mel_bins), valid_BA]
    if model.has_video:
        streams += [torch.zeros(clips, 25 * seconds, 88, 88, dtype=torch.uint8), valid_BA[:, ::4]]
    return streams, torch.zeros(clips, TOKENS, dtype=torch.long)


def run_forward(model: Whisper, streams: list[Tensor | None], tokens_BL: Tensor) -> Tensor:
    """Return the loss of a step, as training computes it."""
    logits_BLV = model(tokens_BL, model.encode(*streams))
    return token_loss(logits_BLV, tokens_BL)


def state_bytes(model: nn.Module) -> tuple[int, int, int]:
    """Return bytes of weights with buffers, of gradients and of moments, all fp32 but counters."""
    weights = sum(tensor.numel() * tensor.itemsize for tensor in [*model.parameters(), *model.buffers()])
    trained = sum(weight.numel() for weight in model.parameters() if weight.requires_grad)
    return weights, 4 * trained, 8 * trained


def compute(size: str, stage: int, clips: int, seconds: int, train_lips: bool, save_memory: bool) -> Memory:
    """Return the memory of one training step under bf16 autocast on a GPU."""
    with FakeTensorMode(), torch.device("cuda"):
        model = make_model(size, stage, train_lips, save_memory)
        streams, tokens_BL = make_batch(model, clips, seconds)
        known = [*model.parameters(), *model.buffers()]
        saved, live, blocks = Storages(known), LivePeak(known), [0]

        def attention(query: Tensor, key: Tensor, value: Tensor, attn_mask: Tensor | None, dropout_p: float) -> Tensor:
            return FusedAttention.apply(query, key, value, attn_mask)  # type: ignore[return-value]

        def checkpoint(block: nn.Module, *args: Any, use_reentrant: bool) -> Tensor:
            inside = Storages(known)
            for tensor in tensors_in(args):  # these it keeps; all else is computed again
                saved.add(tensor)
                inside.known.add(tensor.untyped_storage()._cdata)
            with inside.hooks():
                output = block(*args)
            blocks.append(inside.total)
            # let go of what was saved, as a checkpoint does, but keep a gradient flowing
            return Recomputed.apply(output.detach(), *tensors_in(args))  # type: ignore[return-value]

        with (
            patched(F, "scaled_dot_product_attention", attention),
            patched(whisper, "checkpoint", checkpoint),
            live, saved.hooks(), gpu_autocast(),
        ):  # fmt: skip
            run_forward(model, streams, tokens_BL)
        logits = tokens_BL.numel() * model.sizes.vocab_size * (4 + 2)
        return Memory(*state_bytes(model), saved.total, max(blocks), live.peak, logits)


class Recomputed(torch.autograd.Function):
    """Join a detached output to the graph; nothing is saved."""

    @staticmethod
    def forward(ctx: Any, output: Tensor, *inputs: Tensor) -> Tensor:
        return output.view_as(output)


def describe(memory: Memory) -> dict[str, float]:
    """Return the figures in GiB."""
    values = {field.name: getattr(memory, field.name) for field in fields(memory)} | {"peak": memory.peak}
    return {name: round(value / GIB, 2) for name, value in values.items()}


def resident(name: str) -> int:
    """Return a figure of this process's memory in bytes, after giving freed memory back."""
    gc.collect()
    ctypes.CDLL("libc.so.6").malloc_trim(0)
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(name):
            return int(line.split()[1]) * 1024
    raise ValueError(name)


def check_on_cpu(precision: str) -> dict[str, float]:
    """Compare the counting rule with the growth of this process, for small models on the CPU.

    Args:
        precision: ``fp32``, or ``bf16`` for autocast, which on a CPU casts other operations than on a GPU.
    """
    lips = EncoderConfig(depth=2, layer_drop=0.0)
    sizes = WhisperConfig(
        audio_width=384, audio_heads=6, audio_depth=4, text_width=384, text_heads=6, text_depth=4, vocab_size=5000
    )
    torch.manual_seed(0)
    model = Flamingo(FlamingoConfig(sizes, lips)).train()
    adam = torch.optim.AdamW(model.parameters())
    streams, tokens_BL = make_batch(model, 2, 10)

    def step() -> tuple[int, int]:
        saved = Storages([*model.parameters(), *model.buffers()])
        before = resident("VmRSS")
        with saved.hooks(), torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
            loss = run_forward(model, streams, tokens_BL)
        grown, counted = resident("VmRSS") - before, saved.total
        saved.held.clear()
        loss.backward()
        adam.step()
        adam.zero_grad()
        return grown, counted

    step()  # what libraries keep for good is there after it
    before = resident("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # the high-water mark begins anew
    grown, counted = step()
    high = resident("VmHWM")
    gradients = state_bytes(model)[1]
    logits = tokens_BL.numel() * sizes.vocab_size * 8
    bound = gradients + max(counted + logits, gradients)  # weights and moments were there before
    return {
        "saved, counted (MiB)": round(counted / 2**20, 1),
        "growth of the process over the forward pass (MiB)": round(grown / 2**20, 1),
        "ratio": round(grown / counted, 3),
        "growth at the step's peak, computed (MiB)": round(bound / 2**20, 1),
        "growth at the step's peak, measured (MiB)": round((high - before) / 2**20, 1),
        "ratio of peaks": round((high - before) / bound, 3),
    }


def main(out: Path | None = None, check: bool = False) -> None:
    """Compute every row of ``BATCHES``, or check the rule.

    Args:
        out: JSON file.
        check: compare the count with the memory of this process instead.
    """
    if check:
        result: Any = {precision: check_on_cpu(precision) for precision in ("fp32", "bf16")}
        print(json.dumps(result, indent=1))
    else:
        result = []
        for (size, stage, train_lips), batches in BATCHES.items():
            for clips, seconds in batches:
                for save_memory in (False, True):
                    row = {"whisper": size, "stage": stage, "lips_trained": train_lips, "clips": clips}
                    row |= {"seconds": seconds, "save_memory": save_memory}
                    row |= describe(compute(size, stage, clips, seconds, train_lips, save_memory))
                    print(row, flush=True)
                    result.append(row)
    if out is not None:
        out.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    sys.exit(auto_cli(main))
