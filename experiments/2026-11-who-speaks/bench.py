"""Who speaks, by every method, on the same pairs of clips of people whom the synchrony model has not seen.

    python experiments/2026-11-who-speaks/bench.py runs/who-speaks/clips runs/who-speaks/folds.json \
        path/to/finetuning_TalkSet.model experiments/2026-11-who-speaks/results.json

Reads   clips of prepare.py; folds.json: a list of [synchrony model file, [speakers that it has not seen]].
Writes  results.json: rates with 95 % intervals (unit: the person who speaks), and paired differences.
Keeps   what LR-ASD sees in a clip, beside the clip: 20 ms a frame.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jsonargparse import auto_cli

from avspeech.evaluation.bootstrap import rate_interval, units_of
from avspeech.evaluation.error_rate import ErrorCounts
from avspeech.evaluation.paired_tests import paired_difference
from avspeech.features.mfcc import cepstra
from avspeech.files import write_json, written_whole
from avspeech.interop.official_files import load_any
from avspeech.models.lr_asd import LrAsd
from avspeech.models.synchrony import MAX_LAG, Synchrony, odds, offset, sound_input
from avspeech.roi.speaking import energy_envelope, speaking_score
from avspeech.timebase import SAMPLES_PER_FRAME

METHODS = ("correlation", "lr_asd", "synchrony")
PARTNERS = 3  # other faces that each voice meets
WINDOWS = {"1 s": 25, "3 s": 75}
SHIFTS = 3  # offsets that each clip is given
TO_AND_FRO = [0, 1, 2, 3, 4, 5, 4, 3, 2, 1]  # frames of a still face: before the first word


@dataclass
class Clip:
    """One prepared clip."""

    speaker: str
    path: Path
    still: bool = False
    arrays: dict[str, np.ndarray] = field(default_factory=dict)

    def read(self) -> "Clip":
        with np.load(self.path) as arrays:
            self.arrays = {name: arrays[name] for name in ("mouth_THW", "openness_T", "audio_S")}
        self.audio_S = self.arrays.pop("audio_S").astype(np.float32) / 32767
        if self.still:
            frame_T = np.resize(TO_AND_FRO, self.num_frames)
            self.arrays = {name: array[frame_T] for name, array in self.arrays.items()}
        missing = self.num_frames * SAMPLES_PER_FRAME - len(self.audio_S)
        self.audio_S = np.pad(self.audio_S, (0, max(0, missing)))
        return self

    @property
    def num_frames(self) -> int:
        return len(self.arrays["openness_T"])

    @torch.inference_mode()
    def seen_by(self, lr_asd: LrAsd) -> torch.Tensor:
        """Return LR-ASD's view, (T, 128), kept beside the clip."""
        kept = self.path.with_suffix(".still.npy" if self.still else ".npy")
        if not kept.exists():
            with np.load(self.path) as arrays:
                face_THW = arrays["face_THW"]
            if self.still:
                face_THW = face_THW[np.resize(TO_AND_FRO, len(face_THW))]
            with written_whole(kept) as unfinished, unfinished.open("wb") as file:
                np.save(file, lr_asd.see(torch.from_numpy(face_THW)[None])[0].numpy())
        return torch.from_numpy(np.load(kept))


def choose(folder: Path, speakers: Sequence[str], each: int, still: bool = False) -> list[Clip]:
    """Return the first clips of each speaker."""
    return [Clip(name, path, still) for name in speakers for path in sorted((folder / name).glob("*.npz"))[:each]]


@dataclass
class Judge:
    """Every method's score of a face against a voice."""

    synchrony: Synchrony
    lr_asd: LrAsd

    @torch.inference_mode()
    def scores(self, seen: Clip, heard: Clip, first: int, length: int) -> dict[str, float]:
        own = slice(first, first + length)
        voice_S = heard.audio_S[first * SAMPLES_PER_FRAME : (first + length) * SAMPLES_PER_FRAME]
        mfcc_AF = cepstra(torch.from_numpy(voice_S), length)
        return {
            "correlation": speaking_score(seen.arrays["openness_T"][own], energy_envelope(voice_S, length)),
            "lr_asd": float(self.lr_asd.judge(seen.seen_by(self.lr_asd)[None, own], mfcc_AF[None]).mean()),
            "synchrony": float(odds(self.profile(seen, heard.audio_S, first, length))[0]),
        }

    @torch.inference_mode()
    def profile(self, seen: Clip, audio_S: np.ndarray, first: int, length: int, lips: str = "both") -> torch.Tensor:
        """Return the synchrony model's score at each lag, (1, L)."""
        own = slice(first, first + length)
        mouth_BTHW, openness_BT = (
            torch.from_numpy(seen.arrays[name][None, own]) for name in ("mouth_THW", "openness_T")
        )
        lips_BTD = self.synchrony.see(
            None if lips == "opening" else mouth_BTHW, None if lips == "crops" else openness_BT.float()
        )
        bands_AF, real_U = sound_input(audio_S, first, length, MAX_LAG)
        return self.synchrony.compare(lips_BTD, self.synchrony.hear(bands_AF[None]), real_U)


def window(clips: Sequence[Clip], length: int, rng: np.random.Generator) -> tuple[int, int]:
    """Return first frame and length of a window of all clips, about the middle, where the voice is heard."""
    num_frames = min(clip.num_frames for clip in clips)
    length = min(length, num_frames)
    return int(np.clip((num_frames - length) // 2 + rng.integers(-8, 9), 0, num_frames - length)), length


def judge_pairs(clips: list[Clip], still: list[Clip], judge: Judge, seed: int) -> list[dict[str, Any]]:
    """Return one record per voice, pair of faces and window, with each method's scores of either face."""
    rng, records = np.random.default_rng(seed), []
    for heard in clips:
        others = [clip for clip in clips if clip.speaker != heard.speaker]
        unmoved = [clip for clip in still if clip.speaker != heard.speaker]
        pairs = [("moving", others[i]) for i in rng.choice(len(others), PARTNERS, replace=False)]
        pairs.append(("still", unmoved[rng.integers(len(unmoved))]))
        for kind, other in pairs:
            third = [clip for clip in others if clip.speaker != other.speaker]
            foreign = third[rng.integers(len(third))] if kind == "moving" else None
            for name, length in WINDOWS.items():
                first, length = window([heard, other, *([foreign] if foreign else [])], length, rng)
                records.append({
                    "in_noise": in_babble(heard, others, first, length, judge, rng) if kind == "moving" else None,
                    "speaker": heard.speaker, "kind": kind, "window": name,
                    "own": judge.scores(heard, heard, first, length),
                    "other": judge.scores(other, heard, first, length),
                    "nobody": None if foreign is None else [
                        judge.scores(face, foreign, first, length) for face in (heard, other)
                    ],
                })  # fmt: skip
    return records


def in_babble(
    heard: Clip, others: list[Clip], first: int, length: int, judge: Judge, rng: np.random.Generator
) -> float:
    """Return the synchrony model's score of the true face where four others talk, together as loud."""
    voice_S = heard.audio_S
    babble_S = sum(np.resize(others[i].audio_S, len(voice_S)) for i in rng.choice(len(others), 4))
    mixed_S = voice_S + babble_S * np.sqrt((voice_S**2).mean() / max(float((babble_S**2).mean()), 1e-12))
    return float(odds(judge.profile(heard, mixed_S.astype(np.float32), first, length))[0])


def judge_offsets(clips: list[Clip], judge: Judge, seed: int) -> list[dict[str, Any]]:
    """Return one record per clip and shift of its sound, -10 to 10 frames."""
    rng, records = np.random.default_rng(seed), []
    for clip in clips:
        for shift in rng.integers(-10, 11, SHIFTS).tolist():
            late, moved = max(shift, 0) * SAMPLES_PER_FRAME, abs(shift) * SAMPLES_PER_FRAME
            audio_S = np.pad(clip.audio_S, (late, moved - late))[moved - late :][: len(clip.audio_S)]
            record: dict[str, Any] = {"speaker": clip.speaker, "shift": shift}
            for lips in ("both", "crops", "opening"):
                found, lead = offset(judge.profile(clip, audio_S, 0, clip.num_frames, lips)[0])
                record[lips] = {"offset": found, "lead": lead}
            records.append(record)
    return records


def rate(wrong: Sequence[bool], speakers: Sequence[str]) -> dict[str, Any]:
    """Return the share that is right, its interval, and the number."""
    interval = rate_interval(np.array(wrong, float), np.ones(len(wrong)), units_of(len(wrong), list(speakers)))
    return {
        "right": round(1 - float(np.mean(wrong)), 4),
        "low": round(1 - interval.high, 4),
        "high": round(1 - interval.low, 4),
        "number": len(wrong),
        "speakers": interval.num_units,
    }


def paired(wrong_a: Sequence[bool], wrong_b: Sequence[bool], speakers: Sequence[str]) -> dict[str, Any]:
    """Return how much more often b is right than a, with its interval."""
    counts = [[ErrorCounts(substitutions=int(one), num_words=1) for one in wrong] for wrong in (wrong_a, wrong_b)]
    found = paired_difference(counts[0], counts[1], speakers=list(speakers))
    return {
        "more_right": round(found.diff, 4),
        "low": round(found.low, 4),
        "high": round(found.high, 4),
        "p": found.p_value,
    }


def summarise(records: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the tables of one set of pairs."""
    tables: dict[str, Any] = {}
    for name in WINDOWS:
        for kind in ("moving", "still"):
            chosen = [one for one in records if one["window"] == name and one["kind"] == kind]
            speakers = [one["speaker"] for one in chosen]
            wrong = {method: [one["own"][method] <= one["other"][method] for one in chosen] for method in METHODS}
            tables[f"{kind}, {name}"] = {method: rate(wrong[method], speakers) for method in METHODS} | {
                f"synchrony over {method}": paired(wrong[method], wrong["synchrony"], speakers)
                for method in METHODS[:-1]
            }
        chosen = [one for one in records if one["window"] == name and one["nobody"]]
        tables[f"nobody, {name}"] = {method: nobody(chosen, method) for method in METHODS}
    return tables


def nobody(records: list[dict[str, Any]], method: str) -> dict[str, Any]:
    """Return how often "nobody" and "somebody" are told apart, with the threshold of the other fold's people.

    ``at_zero`` is with the threshold 0, the model's own.
    """
    somebody = np.array([max(one["own"][method], one["other"][method]) for one in records])
    absent = np.array([max(one[method] for one in pair["nobody"]) for pair in records])
    fold = np.array([one["fold"] for one in records])
    speakers = [one["speaker"] for one in records]
    missed, kept = np.zeros(len(records), bool), np.zeros(len(records), bool)
    for own in set(fold.tolist()):
        other = fold != own if (fold != own).any() else fold == own
        tried = np.unique(np.concatenate([somebody[other], absent[other]]))
        gains = [(absent[other] < x).mean() + (somebody[other] >= x).mean() for x in tried]
        threshold = tried[int(np.argmax(gains))]
        missed[fold == own], kept[fold == own] = absent[fold == own] >= threshold, somebody[fold == own] >= threshold
    in_noise = np.array([one["in_noise"] for one in records])
    strict = {f"{share:.0%}": float(np.quantile(somebody, 1 - share)) for share in (0.95, 0.99)}
    order = (somebody[:, None] > absent[None]).mean() + (somebody[:, None] == absent[None]).mean() / 2
    return {
        "nobody_recognised": rate(missed.tolist(), speakers),
        "somebody_kept": rate((~kept).tolist(), speakers),
        "where_somebody_kept": {
            share: {
                "threshold": round(threshold, 2),
                "nobody": round(float((absent < threshold).mean()), 4),
                "true_face_in_babble_lost": round(float((in_noise < threshold).mean()), 4),
            }
            for share, threshold in strict.items()
        },
        "area_under_curve": round(float(order), 4),
        "at_zero": {
            "nobody": round(float((absent < 0).mean()), 4),
            "somebody": round(float((somebody >= 0).mean()), 4),
        },
    }


def offsets(records: list[dict[str, Any]], lips: str) -> dict[str, Any]:
    """Return how often the offset is right within a frame, and from which lead on 99 % are."""
    errors = np.array([abs(one[lips]["offset"] - one["shift"]) for one in records])
    leads, speakers = np.array([one[lips]["lead"] for one in records]), [one["speaker"] for one in records]
    order = np.argsort(-leads)
    share_right = np.cumsum(errors[order] <= 1) / np.arange(1, len(order) + 1)
    good = np.flatnonzero(share_right >= 0.99)
    return {
        "within_a_frame": rate((errors > 1).tolist(), speakers),
        "exact": round(float((errors == 0).mean()), 4),
        "lead_of_99": round(float(leads[order][good[-1]]), 2) if len(good) else None,
        "share_above": round(float((good[-1] + 1) / len(order)), 4) if len(good) else 0.0,
    }


def main(clips: Path, folds: Path, lr_asd: Path, out: Path, each: int = 8, only_lr_asd: bool = False) -> None:
    """Measure every method.

    Args:
        clips: folder of prepare.py.
        folds: the synchrony models and the speakers that each has not seen.
        lr_asd: LR-ASD's released weights.
        out: where results go.
        each: clips of each speaker.
        only_lr_asd: make what LR-ASD sees, and stop.
    """
    torch.set_num_threads(1)
    detector = load_any(lr_asd)
    assert isinstance(detector, LrAsd)
    records: dict[str, list[dict[str, Any]]] = {"real": [], "synthetic": [], "offsets": [], "synthetic_offsets": []}
    made = sorted(path.name for path in clips.glob("synthetic_test*"))
    for number, (model, speakers) in enumerate(json.loads(folds.read_text())):
        groups = [("real", "offsets", speakers, each)]
        if number == 0:
            groups.append(("synthetic", "synthetic_offsets", made, each // 2))
        for group, shifted, names, count in groups:
            moving, still = choose(clips, names, count), choose(clips, names, 1, still=True)
            for clip in moving + still:
                clip.read().seen_by(detector)
            if only_lr_asd:
                continue
            synchrony = load_any(folds.parent / model)
            assert isinstance(synchrony, Synchrony)
            judge = Judge(synchrony, detector)
            new = judge_pairs(moving, still, judge, seed=number)
            records[group] += [one | {"fold": number} for one in new]
            records[shifted] += judge_offsets(moving, judge, seed=number)
    if only_lr_asd:
        return
    write_json(out.with_suffix(".records.json"), records)
    results: dict[str, Any] = {name: summarise(records[name]) for name in ("real", "synthetic")}
    for name in ("offsets", "synthetic_offsets"):
        results[name] = {lips: offsets(records[name], lips) for lips in ("both", "crops", "opening")}
    write_json(out, results)
    print(json.dumps(results, indent=1))


if __name__ == "__main__":
    auto_cli(main)
