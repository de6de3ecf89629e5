"""Where a base-size pre-training step spends its time, and what each way of leaving work out saves.

    python experiments/2026-11-pretraining-speed/step_time.py --manifest data/grid_train.jsonl --out results.json
    python experiments/2026-11-pretraining-speed/step_time.py --device cuda --precision bf16 --clips 40 --frames 100

One step is a batch of unequal clips, half of which lose a stream, as training has it: forward, backward, AdamW. The
variants take turns, so that a change of the machine's load hits all alike; the median of each counts. On a CPU the
time is that of the process over all threads (``time.process_time``), on a GPU wall time after a synchronisation.
"""

import json
import platform
import statistics
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import torch
from jsonargparse import auto_cli
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from avspeech.models.cluster_predictor import ClusterPredictor, MaskedInput
from avspeech.models.encoder import EncoderConfig
from avspeech.objectives.cluster_loss import IGNORE, masked_cluster_loss
from avspeech.objectives.masking import MaskingConfig, draw_masks

H100_BF16_FLOPS = 989e12
"""Dense bf16 operations a second of an H100 SXM by its data sheet; model FLOP utilisation is measured against it."""
INPUT, FEATURES = MaskingConfig(), MaskingConfig(on="features")


@dataclass(frozen=True)
class Variant:
    """A step: the official way, or with some of its work left out."""

    name: str
    masking: MaskingConfig
    official_padding: bool = False
    channels_last: bool = True
    score_hidden_only: bool = False
    skip_hidden_lips: bool = False
    compile_trunk: bool = False


OFFICIAL = {"official_padding": True, "channels_last": False}
VARIANTS = [
    Variant("input masking, official", INPUT, **OFFICIAL),
    Variant("input masking, official, channels last", INPUT, official_padding=True),
    Variant("input masking, lips that are read", INPUT),
    Variant("input masking, lips that are read, hidden frames scored", INPUT, score_hidden_only=True),
    Variant("feature masking, official", FEATURES, **OFFICIAL),
    Variant("feature masking, lips that are read", FEATURES),
    Variant(
        "feature masking, lips that no mask hides, hidden frames scored",
        FEATURES,
        score_hidden_only=True,
        skip_hidden_lips=True,
    ),
]


@dataclass
class Batch:
    """Inputs of a step on the device."""

    audio_BTF: Tensor
    video_BTHW: Tensor
    valid_BT: Tensor
    units_BT: Tensor
    keep_B2: Tensor


def make_batch(clips: int, frames: int, device: str) -> Batch:
    """Return clips of 10/10 to 7/10 of ``frames`` in turn; a quarter loses its audio, a quarter its video."""
    generator = torch.Generator().manual_seed(0)
    lengths_B = torch.tensor([round(frames * (1 - 0.1 * (clip % 4))) for clip in range(clips)])
    valid_BT = torch.arange(frames)[None] < lengths_B[:, None]
    units_BT = torch.randint(0, 2000, (clips, frames), generator=generator).masked_fill(~valid_BT, IGNORE)
    keep_B2 = torch.tensor([[clip % 4 != 1, clip % 4 != 3] for clip in range(clips)])
    audio_BTF = torch.randn(clips, frames, 104, generator=generator)
    video_BTHW = torch.randint(0, 256, (clips, frames, 88, 88), generator=generator, dtype=torch.uint8)
    return Batch(*(x.to(device) for x in (audio_BTF, video_BTHW, valid_BT, units_BT, keep_B2)))


def make_model(variant: Variant, device: str) -> ClusterPredictor:
    """Return AV-HuBERT Base with 2000 units, in training mode without layer drop, so that every step does the same."""
    config = EncoderConfig(frontend_grad_scale=0.1, layer_drop=0.0, official_padding=variant.official_padding)
    config = replace(config, video=replace(config.video, channels_last=variant.channels_last))
    torch.manual_seed(0)
    model = ClusterPredictor(config, 2000, variant.masking.on == "features", special_units=4).to(device).train()
    if variant.compile_trunk:
        model.encoder.video_frontend.trunk.compile(dynamic=True)
    return model


def loss_of(model: ClusterPredictor, variant: Variant, batch: Batch, masks: MaskedInput, hidden_M: Tensor) -> Tensor:
    """Return the training loss of a step."""
    chosen_M = hidden_M if variant.score_hidden_only else None
    prediction = model(
        batch.audio_BTF,
        batch.video_BTHW,
        batch.valid_BT,
        masks,
        batch.keep_B2,
        frames_M=chosen_M,
        skip_hidden_lips=variant.skip_hidden_lips,
    )
    units, mask = batch.units_BT, masks.either_BT
    if chosen_M is not None:
        units, mask = units.flatten()[chosen_M], torch.ones_like(chosen_M, dtype=torch.bool)
    loss = masked_cluster_loss(prediction.logits_BTK, units, mask, special_units=4)
    return loss.loss + 10 * prediction.feature_penalty


class Clock:
    """Seconds that pieces of work take."""

    def __init__(self, device: str, precision: str) -> None:
        self.is_gpu, self.device = device.startswith("cuda"), device
        dtypes = {"bf16": torch.bfloat16, "fp16": torch.float16}
        self.autocast = (
            torch.autocast(device.split(":")[0], dtypes[precision]) if precision in dtypes else nullcontext()
        )

    def time(self, work: Callable[[], object]) -> float:
        """Return the seconds of one run."""
        if self.is_gpu:
            torch.cuda.synchronize()
            start = time.perf_counter()
            work()
            torch.cuda.synchronize()
            return time.perf_counter() - start
        start = time.process_time()
        work()
        return time.process_time() - start


def measure_variants(batch: Batch, clock: Clock, repeats: int, variants: list[Variant]) -> dict[str, dict[str, float]]:
    """Return for each variant the median seconds of a step, its share of the official one's, and its loss."""
    seconds: dict[str, list[float]] = {variant.name: [] for variant in variants}
    losses, peaks = {}, {}
    for turn in range(repeats + 1):  # the first turn warms up
        for variant in variants:
            model = make_model(variant, clock.device)
            adam = torch.optim.AdamW(model.parameters(), lr=1e-4, fused=True)
            masks = draw_masks(batch.valid_BT.cpu(), variant.masking, torch.Generator().manual_seed(turn))
            hidden_M = masks.either_BT.flatten().nonzero()[:, 0].to(clock.device)
            on_device = masks.to(torch.device(clock.device))

            def step(model=model, adam=adam, variant=variant, masks=on_device, hidden_M=hidden_M) -> None:
                with clock.autocast:
                    loss = loss_of(model, variant, batch, masks, hidden_M)
                loss.backward()
                adam.step()
                losses[variant.name] = loss.detach()

            if clock.is_gpu or variant.compile_trunk:
                step()  # a fresh model allocates, and compiles
                torch.cuda.reset_peak_memory_stats() if clock.is_gpu else None
            spent = clock.time(step)
            if turn:
                seconds[variant.name].append(spent)
            if clock.is_gpu:
                peaks[variant.name] = torch.cuda.max_memory_allocated() / 2**30
            print(f"turn {turn} {variant.name}: {spent:.2f} s", flush=True)
    medians = {name: statistics.median(values) for name, values in seconds.items()}
    base = {variant.name: medians[f"{variant.name.split(',')[0]}, official"] for variant in variants}
    return {
        name: {
            "seconds": round(medians[name], 3),
            "speed_up": round(base[name] / medians[name], 2),
            "peak_gib": round(peaks.get(name, 0.0), 2),
        }
        for name in medians
    }


def measure_parts(batch: Batch, clock: Clock, repeats: int) -> dict[str, float]:
    """Return median seconds of the parts of an official step with input masking, each run alone, both ways."""
    variant = VARIANTS[0]
    model = make_model(variant, clock.device)
    adam = torch.optim.AdamW(model.parameters(), lr=1e-4, fused=True)
    masks = draw_masks(batch.valid_BT.cpu(), variant.masking, torch.Generator().manual_seed(1))
    hidden_M = masks.either_BT.flatten().nonzero()[:, 0].to(clock.device)
    masks = masks.to(torch.device(clock.device))
    encoder, (clips, frames) = model.encoder, batch.valid_BT.shape
    fused_BTD = torch.randn(clips, frames, encoder.config.width, device=clock.device, requires_grad=True)
    everything_BT = torch.ones_like(batch.valid_BT)

    def backward(output: Tensor) -> None:
        output.float().square().mean().backward()

    def within(work: Callable[[], Tensor]) -> Tensor:
        with clock.autocast:
            return work()

    def score() -> Tensor:
        logits_BTK = model.unit_head(fused_BTD)[0]
        return masked_cluster_loss(logits_BTK, batch.units_BT, masks.either_BT, special_units=4).loss

    def draw() -> None:
        draw_masks(batch.valid_BT.cpu(), variant.masking, torch.Generator().manual_seed(1))

    works: dict[str, Callable[[], object]] = {
        "whole step": lambda: (
            within(lambda: loss_of(model, variant, batch, masks, hidden_M)).backward(),
            adam.step(),
        ),
        "ResNet": lambda: backward(
            within(lambda: encoder.video_frontend(batch.video_BTHW, batch.valid_BT, everything_BT))
        ),
        "Transformer": lambda: backward(within(lambda: encoder.contextualize(fused_BTD, batch.valid_BT))),
        "logits and loss": lambda: within(score).backward(),
        "masks": draw,
        "optimiser": adam.step,
    }
    seconds: dict[str, list[float]] = {name: [] for name in works}
    for turn in range(repeats + 1):
        for name, work in works.items():
            spent = clock.time(work)
            if turn:
                seconds[name].append(spent)
    return {name: round(statistics.median(values), 4) for name, values in seconds.items()}


def measure_data(manifest: Path, frames_wanted: int, repeats: int) -> float:
    """Return CPU seconds of loading as many frames as a batch has: decode, augment, filterbanks, collate."""
    from avspeech.data.batching import SampleKey, collate
    from avspeech.data.dataset import AugmentConfig, AVDataset
    from avspeech.manifest import read_manifest

    dataset = AVDataset(read_manifest(manifest, require=["mouth", "audio"]), augment=AugmentConfig())
    rates = []
    for turn in range(repeats):
        keys, frames = [], 0
        while frames < frames_wanted:
            index = (turn * 50 + len(keys)) % len(dataset)
            keys.append(SampleKey(index))
            frames += dataset.utterances[index].num_frames or frames_wanted
        start = time.process_time()
        collate([dataset[key] for key in keys])
        rates.append((time.process_time() - start) / frames)
    return round(statistics.median(rates) * frames_wanted, 4)


def count_flops(batch: Batch) -> float:
    """Return the floating-point operations of an official step, forward and backward."""
    model = make_model(VARIANTS[0], "cpu")
    on_cpu = Batch(*(x.cpu() for x in vars(batch).values()))
    masks = draw_masks(on_cpu.valid_BT, INPUT, torch.Generator().manual_seed(1))
    with FlopCounterMode(display=False) as counter:
        loss_of(model, VARIANTS[0], on_cpu, masks, masks.either_BT.flatten().nonzero()[:, 0]).backward()
    return float(counter.get_total_flops())


def main(
    manifest: Path | None = None,
    out: Path | None = None,
    device: str = "cpu",
    precision: Literal["fp32", "bf16", "fp16"] = "fp32",
    clips: int = 4,
    frames: int = 50,
    threads: int = 1,
    repeats: int = 3,
    compile: bool = False,
) -> None:
    """Measure.

    Args:
        manifest: clips with mouths, for the share of data loading; null leaves it out.
        out: JSON file for the figures.
        device: cpu or cuda.
        precision: of the forward pass.
        clips: in the batch.
        frames: of the longest clip.
        threads: of torch on a CPU.
        repeats: turns of which the median counts.
        compile: compare the official and the fastest variants with those whose trunk is compiled, and no others.
    """
    torch.set_num_threads(threads)
    batch, clock = make_batch(clips, frames, device), Clock(device, precision)
    variants = list(VARIANTS)
    if compile:
        fastest = [VARIANTS[3], VARIANTS[6]]
        variants = [VARIANTS[0], VARIANTS[4], *fastest]
        variants += [replace(v, name=f"{v.name}, compiled", compile_trunk=True) for v in fastest]
    flops = count_flops(batch)
    parts = measure_parts(batch, clock, repeats)
    if manifest is not None:
        parts["data"] = measure_data(manifest, clips * frames, repeats)
    steps = measure_variants(batch, clock, repeats, variants)
    machine = torch.cuda.get_device_name() if clock.is_gpu else f"{platform.machine()} CPU, {threads} threads"
    result = {
        "machine": machine,
        "torch": torch.__version__,
        "precision": precision,
        "batch": {"clips": clips, "frames": frames, "real_frames": int(batch.valid_BT.sum())},
        "teraflop_of_an_official_step": round(flops / 1e12, 3),
        "parts_seconds": parts,
        "steps": steps,
    }
    if clock.is_gpu:
        result["mfu_bf16_h100"] = round(flops / steps[VARIANTS[0].name]["seconds"] / H100_BF16_FLOPS, 4)
    print(json.dumps(result, indent=1))
    if out is not None:
        out.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    auto_cli(main)
