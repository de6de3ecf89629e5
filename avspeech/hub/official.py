"""Published checkpoints by short names, downloaded on first use.

AV-HuBERT and Whisper-Flamingo publish no SHA-256. The sum of a first download is pinned beside it and checked later,
which guards against damage and later changes, not against a wrong first file.

Addresses: facebookresearch.github.io/av_hubert (Shi et al. 2022, arXiv:2201.02184, arXiv:2201.01763) and
github.com/roudimit/whisper-flamingo (Rouditchenko et al. 2024 and 2025, arXiv:2406.10082, arXiv:2502.01547).
"""

import difflib
import logging
from dataclasses import dataclass
from pathlib import Path

from avspeech.files import DownloadError, cache_folder, fetch, file_sha256, write_text
from avspeech.interop.restricted import read_checkpoint
from avspeech.interop.whisper import ALIASES, SHA256, download_whisper
from avspeech.models.files import ModelFileError

log = logging.getLogger(__name__)

AVHUBERT_NOTICE = (
    "AV-HuBERT is licensed under the AV-HuBERT license, Copyright (c) Meta Platforms, Inc. All Rights Reserved. "
    "It allows non-commercial research only: github.com/facebookresearch/av_hubert/blob/main/LICENSE"
)
"""The licence (section 3) requires its first sentence wherever the weights go."""
_FLAMINGO_NOTICE = "Whisper-Flamingo is under BSD-3-Clause"
_ADDRESSES = {
    "avhubert": "https://dl.fbaipublicfiles.com/avhubert/model/",
    "whisper-flamingo": "https://data.csail.mit.edu/public-release-sls/whisper-flamingo/models/",
    "mwhisper-flamingo": "https://data.csail.mit.edu/public-release-sls/mwhisper-flamingo/models/",
}
FAMILIES, OPENAI = tuple(_ADDRESSES), (*SHA256, *ALIASES)
"""First parts of names; OpenAI's names of Whisper."""
_SHORT = {"vox": "LRS3 + VoxCeleb2", " 30h": " fine-tuned on 30 h", " 433h": " fine-tuned on 433 h"}
# Name, file without .pt, description; large_lrs5_433h is spelt so. File * is whisper-flamingo_NAME; beside it is
# whisper_NAME, the audio-only Whisper that it starts from.
_TABLES = {
    "avhubert": """
base_lrs3_iter4               lrs3/clean-pretrain/base_lrs3_iter4         Base, LRS3, iteration 4; features
base_lrs3_iter5               lrs3/clean-pretrain/base_lrs3_iter5         Base, LRS3; features
large_lrs3_iter5              lrs3/clean-pretrain/large_lrs3_iter5        Large, LRS3; features
base_vox_iter4                lrs3_vox/clean-pretrain/base_vox_iter4      Base, vox, iteration 4; features
base_vox_iter5                lrs3_vox/clean-pretrain/base_vox_iter5      Base, vox; features
large_vox_iter5               lrs3_vox/clean-pretrain/large_vox_iter5     Large, vox; features
base_noise_vox_iter5          lrs3_vox/noise-pretrain/base_vox_iter5      Base, vox, in noise; features
large_noise_vox_iter5         lrs3_vox/noise-pretrain/large_vox_iter5     Large, vox, in noise; features
base_lrs3_30h                 lrs3/vsr/base_lrs3_30h                      Base, LRS3; video, 30h
base_lrs3_433h                lrs3/vsr/base_lrs3_433h                     Base, LRS3; video, 433h
large_lrs3_30h                lrs3/vsr/large_lrs3_30h                     Large, LRS3; video, 30h
large_lrs3_433h               lrs3/vsr/large_lrs5_433h                    Large, LRS3; video, 433h
base_vox_30h                  lrs3_vox/vsr/base_vox_30h                   Base, vox; video, 30h
base_vox_433h                 lrs3_vox/vsr/base_vox_433h                  Base, vox; video, 433h
large_vox_30h                 lrs3_vox/vsr/large_vox_30h                  Large, vox; video, 30h
large_vox_433h                lrs3_vox/vsr/large_vox_433h                 Large, vox; video, 433h
self_large_vox_30h            lrs3_vox/vsr/self_large_vox_30h             Large + self-training, vox; video, 30h
self_large_vox_433h           lrs3_vox/vsr/self_large_vox_433h            Large + self-training, vox; video, 433h
base_noise_pt_noise_ft_30h    lrs3_vox/avsr/base_noise_pt_noise_ft_30h    Base, vox, in noise; audio and video, 30h
base_noise_pt_noise_ft_433h   lrs3_vox/avsr/base_noise_pt_noise_ft_433h   Base, vox, in noise; audio and video, 433h
large_noise_pt_noise_ft_30h   lrs3_vox/avsr/large_noise_pt_noise_ft_30h   Large, vox, in noise; audio and video, 30h
large_noise_pt_noise_ft_433h  lrs3_vox/avsr/large_noise_pt_noise_ft_433h  Large, vox, in noise; audio and video, 433h
""",
    "whisper-flamingo": """
en_large_vc2_noisy      *  large-v2, English, vox, in noise
en_large_vc2_clean      *  large-v2, English, vox, without noise
en_large                *  large-v2, English, LRS3
en-x_large              *  large-v2, English, and from it into 6 languages
lrs2_medium             *  medium, English, LRS2
en-x_medium             *  medium, English, and from it into 6 languages
en-x_small              *  small, English, and from it into 6 languages
avhubert_large_noise_433h  large_noise_pt_noise_ft_433h_only_weights  Large that the authors start from, English
""",
    "mwhisper-flamingo": """
multi-all_medium  *  medium, 9 languages, MuAViC
multi-all_small   *  small, 9 languages, MuAViC
mavhubert         mavhubert_only_weights  Large that the authors start from, multilingual; features
""",
}  # fmt: skip


@dataclass(frozen=True)
class Release:
    """A published checkpoint: its size, data and task in words, and the licence that a download shows."""

    address: str
    what: str
    notice: str


def _releases(family: str) -> dict[str, Release]:
    found: dict[str, tuple[str, str, str]] = {}
    for line in _TABLES[family].strip().splitlines():
        name, file, what = line.split(maxsplit=2)
        for short, full in _SHORT.items():
            what = what.replace(short, full)
        if file == "*":
            notice = f"{_FLAMINGO_NOTICE}; its video encoder is AV-HuBERT's. {AVHUBERT_NOTICE}"
            found[name] = f"whisper-flamingo_{name}", f"Whisper with video, {what}", notice
            found[f"whisper_{name}"] = f"whisper_{name}", f"Whisper of audio alone, {what}", _FLAMINGO_NOTICE
        else:
            found[name] = file, f"AV-HuBERT {what}", AVHUBERT_NOTICE
    address = _ADDRESSES[family]
    return {f"{family}/{name}": Release(f"{address}{file}.pt", *rest) for name, (file, *rest) in found.items()}


RELEASES = {name: release for family in FAMILIES for name, release in _releases(family).items()}
"""Name -> release, without OpenAI's."""


def fetch_official(name: str) -> Path:
    """Return the file of a name in ``RELEASES`` or ``OPENAI``, downloaded once; each call hashes it, a second per GB.

    A file saved there by hand is pinned too. Raises ModelFileError if the name is unknown, the network is down, or the
    file is broken or changed.
    """
    if name in OPENAI:
        return download_whisper(ALIASES.get(name, name))
    if name not in RELEASES:
        family = [other for other in RELEASES if other.split("/")[0] == name.split("/")[0]]
        close = difflib.get_close_matches(name, RELEASES, n=3, cutoff=0.5) or family[:3]
        raise ModelFileError(
            f"{name} is no published model; near it are {', '.join(close)}; python -m avspeech.hub lists all"
        )
    release, path = RELEASES[name], cache_folder() / "official" / f"{name}.pt"
    pin = path.with_name(path.name + ".sha256")
    pinned = pin.read_text().strip() if pin.is_file() else None
    if path.is_file():
        got = file_sha256(path)
        if got == pinned:
            return path
        if pinned is None:  # saved there by hand, or a download that was killed before it was pinned
            _check(path, path)
            write_text(pin, got + "\n")
            return path
        log.warning("%s is not what was downloaded first; it is downloaded anew", path)
    log.warning("%s", release.notice)
    try:
        got = fetch(release.address, path, pinned, check=lambda part: _check(part, release.address))
    except DownloadError as error:
        changed = f"; if its authors replaced it, delete {pin}" if pinned else ""
        raise ModelFileError(f"{name} could not be downloaded: {error}{changed}") from error
    except OSError as error:
        raise ModelFileError(
            f"{name} is not in the cache and its download from {release.address} failed ({error}); fetch that address "
            f"on another machine and save it as {path}, or give a path in place of the name"
        ) from error
    write_text(pin, got + "\n")
    return path


def _check(path: Path, origin: Path | str) -> None:
    try:
        read_checkpoint(path)
    except ModelFileError as error:
        reason = str(error).removeprefix(f"{path} ")
        raise ModelFileError(f"{origin} gave no checkpoint: the file {reason}") from error
