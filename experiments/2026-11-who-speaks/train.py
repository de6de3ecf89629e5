"""Train the synchrony model on clips of prepare.py: true pairs against shifted sound, other utterances and still lips.

    python experiments/2026-11-who-speaks/train.py runs/who-speaks/clips runs/who-speaks/a.safetensors \
        --unseen '[s26, s30, s31, lombard_s3]'

Negatives are of the same speaker, so that no face and voice can be learnt by heart. One thread.
Stop it and start it again: it goes on from the last hundred steps.
"""

import time
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from jsonargparse import auto_cli
from torch import Tensor

from avspeech.features.logfbank import log_filterbank
from avspeech.files import written_whole
from avspeech.models.files import save_model
from avspeech.models.synchrony import MAX_LAG, Synchrony, SynchronyConfig, movement, opening_movement
from avspeech.timebase import ACOUSTIC_PER_FRAME, SAMPLES_PER_FRAME

FRAMES = 40  # of one training clip
GROUPS, PER_GROUP = 7, 4  # speakers of a batch, and clips of each
SHARE_SYNTHETIC = 0.33
NEVER = "synthetic_test"  # speakers that only the bench sees

Clip = tuple[
    np.ndarray, ...
]  # (T, 24, 24) uint8 crops at a quarter of their size; (T,) openness; (4 T, 26) filterbanks


def read_clips(folder: Path, unseen: Sequence[str], synthetic: bool, only: Sequence[str]) -> dict[str, list[Clip]]:
    """Return the clips of every speaker that is trained on and has enough of them."""
    clips: dict[str, list[Clip]] = defaultdict(list)
    for path in sorted(folder.glob("*/*.npz")):
        speaker, made = path.parent.name, path.parent.name.startswith("synthetic")
        if speaker in unseen or speaker.startswith(NEVER) or (made and not synthetic):
            continue
        if only and not made and speaker not in only:
            continue
        with np.load(path) as arrays:
            mouth_THW, openness_T = torch.from_numpy(arrays["mouth_THW"]), arrays["openness_T"]
            audio_S = arrays["audio_S"].astype(np.float32) / 32767
        if (num_frames := len(mouth_THW)) < FRAMES // 2 + 1:
            continue
        small_THW = F.avg_pool2d(mouth_THW[:, None].float(), 4)[:, 0].round().byte().numpy()
        wanted = num_frames * SAMPLES_PER_FRAME + 240
        audio_S = np.pad(audio_S[:wanted], (0, max(0, wanted - len(audio_S))))
        clips[speaker].append((small_THW, openness_T, log_filterbank(torch.from_numpy(audio_S)).numpy()))
    return {speaker: own for speaker, own in clips.items() if len(own) >= 3}


def cut(clip: Clip, rng: np.random.Generator) -> Clip:
    """Return ``FRAMES`` frames from anywhere; a shorter clip is reflected at its end."""
    num_frames = len(clip[0])
    first = int(rng.integers(max(num_frames - FRAMES, 0) + 1))
    frame_T = np.pad(np.arange(num_frames), (0, max(FRAMES - num_frames, 0)), mode="reflect")[first : first + FRAMES]
    acoustic_A = (frame_T[:, None] * ACOUSTIC_PER_FRAME + np.arange(ACOUSTIC_PER_FRAME)).ravel()
    return clip[0][frame_T], clip[1][frame_T], clip[2][acoustic_A]


def vary_picture(small_BTHW: Tensor, side: int) -> Tensor:
    """Return the movement of clips that are turned, scaled, mirrored, lit, covered and noisy, each its way."""
    batch, frames = small_BTHW.shape[:2]
    angle, size, aspect = (
        torch.randn(batch) * 0.1,
        torch.exp(torch.randn(batch) * 0.1),
        torch.exp(torch.randn(batch) * 0.05),
    )
    mirror = (torch.rand(batch) < 0.5).float() * 2 - 1
    shown = 88 / 96  # of the crop
    map_B23 = torch.zeros(batch, 2, 3)
    map_B23[:, 0, 0], map_B23[:, 0, 1] = angle.cos() * size * aspect * mirror * shown, -angle.sin() * size * shown
    map_B23[:, 1, 0], map_B23[:, 1, 1] = angle.sin() * size * mirror * shown, angle.cos() * size / aspect * shown
    map_B23[:, :, 2] = torch.randn(batch, 2) * 0.08
    grid = F.affine_grid(map_B23, [batch, frames, side, side], align_corners=False)
    x = F.grid_sample(small_BTHW.float() / 255, grid, padding_mode="border", align_corners=False)
    x = x.clamp(0.001, 1) ** torch.exp(torch.randn(batch, 1, 1, 1) * 0.3)
    x = x * (1 + 0.3 * torch.randn(batch, 1, 1, 1)).clamp(0.4, 1.6) + torch.randn(batch, 1, 1, 1) * 0.1
    x = x + torch.randn_like(x) * torch.rand(batch, 1, 1, 1) * 0.03
    for one_THW in x:
        if torch.rand(()) < 0.4:
            height, width = torch.randint(side // 8, side * 3 // 8, (2,)).tolist()
            top, left = (int(torch.randint(side - extent, ())) for extent in (height, width))
            one_THW[:, top : top + height, left : left + width] = torch.rand(())
    return movement(x)


def vary_opening(openness_BT: Tensor) -> Tensor:
    """Return the movement of the opening of other mouths, measured less exactly."""
    batch = len(openness_BT)
    x = openness_BT * torch.exp(torch.randn(batch, 1) * 0.3) + torch.randn_like(openness_BT) * 0.5 * torch.rand(
        batch, 1
    )
    return opening_movement(x)


def vary_sound(bands_BAF: Tensor) -> Tensor:
    """Return filterbanks of a longer or shorter throat, through another equaliser, 70 % of them in steady noise."""
    batch, _, bands = bands_BAF.shape
    place_BF = torch.arange(float(bands)) * (1 + 0.06 * torch.randn(batch, 1)) + torch.randn(batch, 1)
    place_BF = place_BF.clamp(0, bands - 1)
    below_BF = place_BF.floor().long().clamp(max=bands - 2)
    share_B1F = (place_BF - below_BF)[:, None]

    def pick(index_BF: Tensor) -> Tensor:
        return bands_BAF.gather(2, index_BF[:, None].expand(-1, bands_BAF.shape[1], -1))

    def curve(spread: float) -> Tensor:
        return F.interpolate(torch.randn(batch, 1, 5) * spread, bands, mode="linear", align_corners=True)

    x = pick(below_BF) * (1 - share_B1F) + pick(below_BF + 1) * share_B1F + curve(1.0)
    level_B11 = x.flatten(1).quantile(0.9, dim=1)[:, None, None]
    noise = curve(1.5) + level_B11 - torch.empty(batch, 1, 1).uniform_(0.5, 9) + torch.randn_like(x) * 0.7
    return torch.where(torch.rand(batch, 1, 1) < 0.7, torch.logaddexp(x, noise), x)


def draw_batch(clips: dict[str, list[Clip]], side: int, rng: np.random.Generator) -> tuple[Tensor, Tensor, Tensor]:
    """Return movement of grid and opening of all clips and of a still one of each group, and the sound of all clips.

    Of a quarter of the clips the grid is not seen, of another the opening.
    """
    made = [name for name in clips if name.startswith("synthetic")]
    real = [name for name in clips if name not in made]
    drawn = []
    for _ in range(GROUPS):
        pool = made if made and (not real or rng.random() < SHARE_SYNTHETIC) else real
        own = clips[pool[rng.integers(len(pool))]]
        drawn += [cut(own[i], rng) for i in rng.choice(len(own), PER_GROUP, replace=len(own) < PER_GROUP)]
    small_BTHW, openness_BT, bands_BAF = (torch.from_numpy(np.stack(one)) for one in zip(*drawn, strict=True))
    moment = int(rng.integers(FRAMES))
    seen = []
    for one in (small_BTHW, openness_BT):
        still = one[::PER_GROUP, moment, None].expand(GROUPS, *one.shape[1:])
        seen.append(torch.cat([one, still]))
    hidden_B = torch.rand(len(seen[0]))
    grid_BTHW = torch.where((hidden_B < 0.25)[:, None, None, None], 0, vary_picture(seen[0], side))
    opening_BT = torch.where((hidden_B > 0.75)[:, None], 0, vary_opening(seen[1].float()))
    return grid_BTHW, opening_BT, vary_sound(bands_BAF)


def loss_of(model: Synchrony, lips_BTD: Tensor, sound_BTD: Tensor) -> tuple[Tensor, float]:
    """Return the loss, and the share of clips whose own sound wins at its own offset, give or take a frame."""
    lags, own = range(-MAX_LAG, MAX_LAG + 1), torch.arange(PER_GROUP)
    moving, still = lips_BTD.split([GROUPS * PER_GROUP, GROUPS])
    lips_GNTD = torch.cat([moving.unflatten(0, (GROUPS, PER_GROUP)), still[:, None]], dim=1)
    dots_GNMTT = torch.einsum("gntd,gmsd->gnmts", lips_GNTD, sound_BTD.unflatten(0, (GROUPS, PER_GROUP)))
    means = [dots_GNMTT.diagonal(lag, 3, 4).mean(dim=-1) for lag in lags]
    odds_GNML = model.scale.exp() * FRAMES * torch.stack(means, dim=-1) + model.bias
    nobody_GN1 = torch.zeros(GROUPS, PER_GROUP + 1, 1)
    wanted = torch.zeros_like(odds_GNML)
    wanted[:, own, own, MAX_LAG - 1 : MAX_LAG + 2] = torch.tensor([0.1, 0.8, 0.1])
    wanted_GNX = torch.cat([wanted.flatten(2), nobody_GN1], dim=2)
    wanted_GNX[:, PER_GROUP, -1] = 1  # still lips make no sound
    logits_GNX = torch.cat([odds_GNML.flatten(2), nobody_GN1], dim=2)
    which_sound = -(wanted_GNX * logits_GNX.log_softmax(dim=2)).sum(dim=2).mean()
    now_GNM = odds_GNML[..., MAX_LAG]
    which_lips = F.cross_entropy(torch.cat([now_GNM, nobody_GN1.mT[..., :PER_GROUP]], dim=1), own.expand(GROUPS, -1))
    others_GNM = now_GNM.masked_fill(torch.eye(PER_GROUP + 1, PER_GROUP, dtype=torch.bool), -1e9)
    absent = torch.full((GROUPS, PER_GROUP), PER_GROUP + 1)
    no_lips = F.cross_entropy(torch.cat([others_GNM, nobody_GN1.mT[..., :PER_GROUP]], dim=1), absent)
    best_GN = odds_GNML[:, :PER_GROUP].flatten(2).argmax(dim=2)
    right = (best_GN - own * len(lags) - MAX_LAG).abs() <= 1
    return which_sound + which_lips + 0.5 * no_lips, float(right.float().mean())


def main(
    clips: Path,
    out: Path,
    unseen: list[str] = [],  # noqa: B006 - jsonargparse copies it
    only: list[str] = [],  # noqa: B006
    synthetic: bool = True,
    steps: int = 700,
    learning_rate: float = 2e-3,
    seed: int = 0,
) -> None:
    """Train one model.

    Args:
        clips: folder of prepare.py.
        out: the model file, float16.
        unseen: speakers to leave out.
        only: real speakers to train on; empty: all others.
        synthetic: train on the synthetic speakers too.
        steps: batches of 28 clips of 1.6 s.
        learning_rate: highest one; it rises over the first 15 % and falls like a cosine.
        seed: of the weights and draws.
    """
    torch.set_num_threads(1)
    torch.manual_seed(seed)
    model, read = Synchrony(SynchronyConfig()), read_clips(clips, unseen, synthetic, only)
    real = {name: len(own) for name, own in read.items() if not name.startswith("synthetic")}
    print(f"{real}, {len(read) - len(real)} synthetic speakers", flush=True)
    optimizer = torch.optim.AdamW(model.parameters(), learning_rate, betas=(0.9, 0.98), weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, learning_rate, total_steps=steps + 1, pct_start=0.15)
    parts, kept = {"model": model, "optimizer": optimizer, "schedule": schedule}, out.with_suffix(".pt")
    first, spent_s, began_s = 0, 0.0, time.process_time()
    if kept.exists():
        state = torch.load(kept, weights_only=True)
        first, spent_s = state.pop("step"), state.pop("spent_s")
        for name, part in parts.items():
            part.load_state_dict(state[name])
    losses, rights = [], []
    for step in range(first, steps):
        rng = np.random.default_rng([seed, step])
        torch.manual_seed(seed * 1_000_003 + step)
        *seen, bands_BAF = draw_batch(read, model.config.side, rng)
        loss, right = loss_of(model, model.lips(*seen), model.hear(bands_BAF))
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        losses.append(loss.item())
        rights.append(right)
        if (step + 1) % 50 == 0 or step + 1 == steps:
            cpu_s = spent_s + time.process_time() - began_s
            print(
                f"{step + 1}: loss {np.mean(losses[-50:]):.3f}, right {np.mean(rights[-50:]):.3f}, {cpu_s:.0f} s",
                flush=True,
            )
            with written_whole(kept) as unfinished:
                states = {name: part.state_dict() for name, part in parts.items()}
                torch.save(states | {"step": step + 1, "spent_s": cpu_s}, unfinished)
    model.about = {
        "trained_on": sorted(real),
        "synthetic_speakers": len(read) - len(real),
        "steps": steps,
        "seed": seed,
    }
    model.about |= {"frames_per_clip": FRAMES, "recipe": "experiments/2026-11-who-speaks/train.py"}
    save_model(out, model.half())


if __name__ == "__main__":
    auto_cli(main)
