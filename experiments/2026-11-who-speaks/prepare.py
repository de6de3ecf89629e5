"""Cut what every method wants out of single-face clips, once.

    python experiments/2026-11-who-speaks/prepare.py path/to/shared/data runs/who-speaks/clips
    python experiments/2026-11-who-speaks/prepare.py runs/demo/corpus runs/who-speaks/clips --synthetic true \
        --per_speaker 4

Reads   GRID s1 and six more speakers, Lombard GRID (front), Bangla words, in the layout of the shared data's README.
Writes  <out>/<speaker>/<clip>.npz: mouth_THW (official crops), face_THW (112x112), openness_T, audio_S (int16), words.
Stop it and start it again: a finished clip is not made twice.
"""

import csv
from pathlib import Path

import cv2
import numpy as np
from jsonargparse import auto_cli

from avspeech.files import written_whole
from avspeech.manifest import read_manifest
from avspeech.media.audio import read_audio
from avspeech.media.errors import MediaError
from avspeech.media.video import read_pictures
from avspeech.roi.face_crops import crop_face, face_placements
from avspeech.roi.faces import follow_faces
from avspeech.roi.landmarks import FaceFinder
from avspeech.roi.mouth import crop_mouth
from avspeech.roi.sparse import Sparseness


def clips_of(data: Path, per_speaker: int) -> list[tuple[str, Path]]:
    """Return (speaker, video) of every clip, at most ``per_speaker`` of each, spread over the sorted names."""
    grid = [("s1", data / "grid_s1" / row["path"]) for row in _rows(data / "grid_s1" / "manifest.tsv")]
    others = _rows(data / "grid_speakers" / "manifest.tsv")
    grid += [(row["speaker"], data / "grid_speakers" / row["path"]) for row in others]
    lombard = [(path.parts[-3], path) for path in sorted(data.glob("lombard_grid/*/front/*.mp4"))]
    bangla = [
        (f"bangla_{row['person']}", data / "bangla_words" / row["path"])
        for row in _rows(data / "bangla_words" / "manifest.tsv")
    ]
    by_speaker: dict[str, list[Path]] = {}
    for speaker, path in grid + lombard + bangla:
        by_speaker.setdefault(speaker, []).append(path)
    chosen = []
    for speaker, paths in by_speaker.items():
        places = np.linspace(0, len(paths) - 1, min(per_speaker, len(paths))).round().astype(int)
        chosen += [(speaker, paths[place]) for place in places]
    order = np.random.default_rng(0).permutation(len(chosen))  # a part of the work is a part of every speaker
    return [chosen[place] for place in order]


def synthetic_clips(corpus: Path, per_speaker: int) -> list[tuple[str, Path]]:
    """Return (speaker, video) of the demo's synthetic corpus, all of its test speakers, few of each of the others."""
    counts: dict[str, int] = {}
    chosen = []
    for name in ("test", "valid", "train"):
        for one in read_manifest(corpus / f"{name}.jsonl"):
            counts[str(one.speaker)] = counts.get(str(one.speaker), 0) + 1
            if name == "test" or counts[str(one.speaker)] <= per_speaker:
                chosen.append((f"synthetic_{one.speaker}", corpus / str(one.video)))
    return chosen


def _rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file, delimiter="\t"))


def prepare_one(video: Path, out: Path, finder: FaceFinder) -> str:
    """Write one clip; return why it could not be made, or nothing."""
    try:
        pictures, audio_S = list(read_pictures(video)), read_audio(video)
    except MediaError as error:
        return str(error)
    followed = follow_faces(pictures, finder, sparseness=Sparseness(every=2))  # as where several faces are seen
    num_frames = len(pictures)
    if not followed.faces or followed.faces[0].share_found(0, num_frames) < 1:
        return f"{video} does not show a face in every frame"
    face = followed.faces[0]
    placed_T23, boxed_T23 = face.placements_over(num_frames), face_placements(face.boxes_T4)
    crops = [(crop_mouth(p.grey(), placed_T23[t]), crop_face(p.grey(), boxed_T23[t])) for t, p in enumerate(pictures)]
    mouth_THW, face_THW = (np.stack(one) for one in zip(*crops, strict=True))
    out.parent.mkdir(parents=True, exist_ok=True)
    sound_S = (np.clip(audio_S, -1, 1) * 32767).astype(np.int16)
    with written_whole(out) as unfinished, unfinished.open("wb") as file:
        np.savez(file, mouth_THW=mouth_THW, face_THW=face_THW, openness_T=face.openness_T, audio_S=sound_S)
    return ""


def main(data: Path, out: Path, synthetic: bool = False, per_speaker: int = 60) -> None:
    """Prepare clips of every speaker.

    Args:
        data: the folder of grid_s1, grid_speakers, lombard_grid and bangla_words, or a synthetic corpus.
        out: where the clips go.
        synthetic: ``data`` is a corpus of data_prep/corpora/synthetic.py.
        per_speaker: most clips of one speaker.
    """
    cv2.setNumThreads(1)
    with FaceFinder() as finder:
        for speaker, video in (synthetic_clips if synthetic else clips_of)(data, per_speaker):
            target = out / speaker / f"{video.stem}.npz"
            if not target.exists() and (why := prepare_one(video, target, finder)):
                print(why)


if __name__ == "__main__":
    auto_cli(main)
