"""Filterbanks, lip crops, noise mixing, collation, class numbers."""

import re

import numpy as np
import torch

from avspeech.features.clip import crop_clips, normalize_clips
from avspeech.features.logfbank import fbank_TF, log_filterbank, stack_frames
from avspeech.inputs import IGNORE, Sample, collate
from avspeech.models.cluster_predictor import OFFICIAL_SPECIALS
from avspeech.noise.mixing import lay_over, mix_at_snr, to_steps
from tests.parity.comparison import Comparison
from tests.parity.fixtures import Fixture

CROP = 88
FAIRSEQ_PAD = 1


def compare_frontend(fixture: Fixture) -> Comparison:
    """Compare a front-end fixture."""
    table = Comparison(fixture.name, fixture.tensors)
    _compare_filterbanks(table, fixture.config)
    _compare_crops(table, fixture.config["aug_draws"])
    for name in {name.split(".")[0] for name in fixture.tensors if name.startswith("noise_")}:
        _compare_noise(table, name, fixture.config)
    _compare_collation(table)
    for name, ids in fixture.tensors.items():
        if name.startswith("dict.ids_for_"):
            units = torch.tensor([int(unit) for unit in name.removeprefix("dict.ids_for_").split("_")])
            table.check(name, units + OFFICIAL_SPECIALS)
            assert len(ids) == len(units)
    return table


def _compare_filterbanks(table: Comparison, config: dict) -> None:
    audio_S = table.recorded["wav_int16"].float() / 32768
    fbank_AF = log_filterbank(audio_S)
    table.check("logfbank_26", fbank_AF)
    table.check("stacked_104", stack_frames(fbank_AF))
    table.check("stacked_104_normalized", fbank_TF(audio_S, len(table.recorded["stacked_104_normalized"])))
    table.skip("wav_int16", "input")
    for samples, frames in config["fbank_len_table"].items():
        table.note(f"filterbanks of {samples} samples", len(log_filterbank(torch.zeros(int(samples)))), frames)


def _compare_crops(table: Comparison, draws: dict) -> None:
    frames, odd = table.recorded["video.frames_u8"][None], table.recorded["video.frames_odd_u8"][None]
    table.skip("video.frames", "input")
    table.check("video.center_88", normalize_clips(crop_clips(frames, CROP))[0])
    table.check("video.center_88_odd", normalize_clips(crop_clips(odd, CROP))[0])
    cut = crop_clips(frames, CROP, torch.tensor([[draws["delta_h"], draws["delta_w"]]]))
    cut = cut.flip(3) if draws["flip_uniform"] < 0.5 else cut
    table.check("video.aug_88", normalize_clips(cut)[0])


def _compare_noise(table: Comparison, name: str, config: dict) -> None:
    given = {
        part: (table.recorded[f"{name}.{part}"].numpy() / 32768).astype(np.float32)
        for part in ("clean", "noise", "a", "b")
        if f"{name}.{part}" in table.recorded
    }
    for part in given:
        table.skip(f"{name}.{part}", "input")
    if "a" in given:
        pieces = [(to_steps(given[part]), 0, 1.0) for part in "ab"]
        shortest = min(len(steps_S) for steps_S, _, _ in pieces)
        mean_S = lay_over("avhubert", pieces, shortest, voices=False)
        table.check(f"{name}.selected", torch.from_numpy(mean_S * 32768))
    else:
        mixed_S = mix_at_snr(given["clean"], given["noise"], config[f"{name}_snr"], "avhubert")
        table.check(f"{name}.mixed", torch.from_numpy(mixed_S * 32768).int())


def _compare_collation(table: Comparison) -> None:
    count = sum(name.startswith("collate.in") and name.endswith(".audio") for name in table.recorded)
    samples = []
    for number in range(count):
        audio_TF, ids_T = (table.recorded[f"collate.in{number}.{part}"] for part in ("audio", "label"))
        units_TJ = (ids_T.long() - OFFICIAL_SPECIALS)[:, None]
        samples.append(Sample(str(number), len(audio_TF), audio_TF, units_TJ=units_TJ))
    table.skip("collate.in", "input")
    shortest = min(sample.num_frames for sample in samples)
    for mode in sorted({name.split(".")[1] for name in table.recorded if name.startswith("collate.")}):
        if mode.startswith("in"):
            continue
        limit = re.fullmatch(r"padmax(\d+)", mode)
        longest = shortest if mode == "crop" else int(limit[1]) if limit else max(s.num_frames for s in samples)
        batch = collate([sample.cut(0, min(longest, sample.num_frames)) for sample in samples])
        table.check(f"collate.{mode}.audio", batch.audio_BTF.transpose(1, 2))
        table.check(f"collate.{mode}.padding_mask", ~batch.valid_BT)
        units_BT = batch.units_BTJ[..., 0]
        ids_BT = torch.where(units_BT == IGNORE, FAIRSEQ_PAD, units_BT + OFFICIAL_SPECIALS)
        table.check(f"collate.{mode}.target", ids_BT)
