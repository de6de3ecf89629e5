"""Checkpoints that their authors published, by short names; downloaded on first use and imported as they are.

OpenAI's Whisper comes with published SHA-256 sums (``avspeech.interop.whisper``). AV-HuBERT's and Whisper-Flamingo's
pages give none. So a first download is checked against the size that the server names and must open as a whole
checkpoint; its SHA-256 is then pinned in a file beside it, and from then on the cached file and any later download must
have it. That guards against damage and against a file that changes later, not against a wrong first one.

The addresses are those of the authors' pages: facebookresearch.github.io/av_hubert (Shi et al. 2022, arXiv:2201.02184,
arXiv:2201.01763) and github.com/roudimit/whisper-flamingo (Rouditchenko et al. 2024 and 2025, arXiv:2406.10082,
arXiv:2502.01547). Names before the slash (``avhubert/``, ``whisper-flamingo/``, ``mwhisper-flamingo/``) never mean the
Hugging Face hub.
"""

import difflib
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from avspeech.files import DownloadError, cache_folder, fetch, file_sha256
from avspeech.interop.restricted import read_checkpoint
from avspeech.interop.whisper import ALIASES, SHA256, download_whisper
from avspeech.models.files import ModelFileError

log = logging.getLogger(__name__)

_AVHUBERT = "https://dl.fbaipublicfiles.com/avhubert/model/"
_FLAMINGO = "https://data.csail.mit.edu/public-release-sls/whisper-flamingo/models/"
_MFLAMINGO = "https://data.csail.mit.edu/public-release-sls/mwhisper-flamingo/models/"
AVHUBERT_NOTICE = (
    "AV-HuBERT is licensed under the AV-HuBERT license, Copyright (c) Meta Platforms, Inc. All Rights Reserved. "
    "It allows non-commercial research only: github.com/facebookresearch/av_hubert/blob/main/LICENSE"
)
"""Its first sentence must stand wherever the weights go (section 3 of the licence)."""
_FLAMINGO_NOTICE = "Whisper-Flamingo is under BSD-3-Clause"
_FLAMINGO_VIDEO_NOTICE = f"{_FLAMINGO_NOTICE}; its encoder of lips is AV-HuBERT's. {AVHUBERT_NOTICE}"


@dataclass(frozen=True)
class Release:
    """A published checkpoint."""

    address: str
    what: str
    """Size, data and task, in a few words."""
    notice: str
    """Whose licence it is under; said once, when it is downloaded."""


def _avhubert() -> Iterator[tuple[str, Release]]:
    lrs3, vox = "LRS3", "LRS3 + VoxCeleb2"
    rows = [
        ("base_lrs3_iter4", "lrs3/clean-pretrain/base_lrs3_iter4", f"Base, {lrs3}, last but one iteration"),
        ("base_lrs3_iter5", "lrs3/clean-pretrain/base_lrs3_iter5", f"Base, {lrs3}"),
        ("large_lrs3_iter5", "lrs3/clean-pretrain/large_lrs3_iter5", f"Large, {lrs3}"),
        ("base_vox_iter4", "lrs3_vox/clean-pretrain/base_vox_iter4", f"Base, {vox}, last but one iteration"),
        ("base_vox_iter5", "lrs3_vox/clean-pretrain/base_vox_iter5", f"Base, {vox}"),
        ("large_vox_iter5", "lrs3_vox/clean-pretrain/large_vox_iter5", f"Large, {vox}"),
        ("base_noise_vox_iter5", "lrs3_vox/noise-pretrain/base_vox_iter5", f"Base, {vox}, in noise"),
        ("large_noise_vox_iter5", "lrs3_vox/noise-pretrain/large_vox_iter5", f"Large, {vox}, in noise"),
    ]
    rows = [(name, file, f"{what}; features only") for name, file, what in rows]
    for size in ("base", "large"):
        for hours in ("30h", "433h"):
            what = f"{size.title()}, {lrs3}; reads lips, fine-tuned on {hours}"
            # The published file of 433 h is spelt so.
            file = "large_lrs5_433h" if (size, hours) == ("large", "433h") else f"{size}_lrs3_{hours}"
            rows.append((f"{size}_lrs3_{hours}", f"lrs3/vsr/{file}", what))
    for kind in ("base", "large", "self_large"):
        for hours in ("30h", "433h"):
            size = kind.removeprefix("self_").title() + (" + self-training" if kind.startswith("self") else "")
            what = f"{size}, {vox}; reads lips, fine-tuned on {hours}"
            rows.append((f"{kind}_vox_{hours}", f"lrs3_vox/vsr/{kind}_vox_{hours}", what))
    for size in ("base", "large"):
        for hours in ("30h", "433h"):
            file = f"{size}_noise_pt_noise_ft_{hours}"
            what = f"{size.title()}, {vox}, in noise; sound and lips, fine-tuned on {hours}"
            rows.append((file, f"lrs3_vox/avsr/{file}", what))
    for name, file, what in rows:
        yield f"avhubert/{name}", Release(f"{_AVHUBERT}{file}.pt", f"AV-HuBERT {what}", AVHUBERT_NOTICE)


def _flamingos() -> Iterator[tuple[str, Release]]:
    english = {
        "en_large_vc2_noisy": "large-v2, English, LRS3 + VoxCeleb2, in noise",
        "en_large_vc2_clean": "large-v2, English, LRS3 + VoxCeleb2, without noise",
        "en_large": "large-v2, English, LRS3",
        "en-x_large": "large-v2, English, and from it into 6 languages",
        "lrs2_medium": "medium, English, LRS2",
        "en-x_medium": "medium, English, and from it into 6 languages",
        "en-x_small": "small, English, and from it into 6 languages",
    }
    many = {
        "multi-all_medium": "medium, 9 languages, MuAViC",
        "multi-all_small": "small, 9 languages, MuAViC",
    }
    for family, base, models in (("whisper-flamingo", _FLAMINGO, english), ("mwhisper-flamingo", _MFLAMINGO, many)):
        for name, what in models.items():
            address = f"{base}whisper-flamingo_{name}.pt"
            yield f"{family}/{name}", Release(address, f"Whisper with lips, {what}", _FLAMINGO_VIDEO_NOTICE)
        for name, what in models.items():
            address = f"{base}whisper_{name}.pt"
            yield (
                f"{family}/whisper_{name}",
                Release(address, f"Whisper fine-tuned on sound alone, {what}", _FLAMINGO_NOTICE),
            )
    lips = "AV-HuBERT Large that the authors start from"
    address, what = f"{_FLAMINGO}large_noise_pt_noise_ft_433h_only_weights.pt", f"{lips}, English; sound and lips"
    yield "whisper-flamingo/avhubert_large_noise_433h", Release(address, what, AVHUBERT_NOTICE)
    address, what = f"{_MFLAMINGO}mavhubert_only_weights.pt", f"{lips}, multilingual; features only"
    yield "mwhisper-flamingo/mavhubert", Release(address, what, AVHUBERT_NOTICE)


RELEASES: dict[str, Release] = {**dict(_avhubert()), **dict(_flamingos())}
"""All but OpenAI's, by name."""
FAMILIES = tuple(dict.fromkeys(name.split("/")[0] for name in RELEASES))
OPENAI = (*SHA256, *ALIASES)
"""OpenAI's names of Whisper: tiny ... large-v3, turbo."""


def fetch_official(name: str, timeout_s: float = 30.0) -> Path:
    """Return the file of a published checkpoint, downloaded into the user's cache unless it is there.

    A file that somebody saved under that path is taken too, and pinned. The cached file is hashed on every call, a
    second for each GB.

    Args:
        name: a key of ``RELEASES`` or one of ``OPENAI``.
        timeout_s: how long the network may stay silent.

    Raises:
        ModelFileError: no such name; no network; or what came is broken or not what it was the first time.
    """
    if name in OPENAI:
        try:
            return download_whisper(ALIASES.get(name, name), timeout_s=timeout_s)
        except ModelFileError as error:
            raise ModelFileError(error) from error
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
            _write_pin(pin, got)
            return path
        log.warning("%s is not what was downloaded first; it is downloaded anew", path)
    log.warning("%s", release.notice)
    try:
        got = fetch(release.address, path, pinned, timeout_s, check=lambda part: _check(part, release.address))
    except DownloadError as error:
        changed = f"; if its authors replaced it, delete {pin}" if pinned else ""
        raise ModelFileError(f"{name} could not be downloaded: {error}{changed}") from error
    except OSError as error:
        raise ModelFileError(
            f"{name} is not in the cache and its download from {release.address} failed ({error}); fetch that address "
            f"on another machine and save it as {path}, or give a path in place of the name"
        ) from error
    _write_pin(pin, got)
    return path


def _check(path: Path, origin: Path | str) -> None:
    try:
        read_checkpoint(path)
    except ModelFileError as error:
        reason = str(error).removeprefix(f"{path} ")
        raise ModelFileError(f"{origin} gave no checkpoint: the file {reason}") from error


def _write_pin(pin: Path, sha256: str) -> None:
    unfinished = pin.with_name(pin.name + ".part")
    unfinished.write_text(sha256 + "\n")
    unfinished.rename(pin)


def listing() -> list[tuple[str, str]]:
    """Return (name, what it is) of every published model, in the order of the table."""
    rows = [(name, "OpenAI's Whisper, sound alone") for name in SHA256]
    rows += [(alias, f"the same as {name}") for alias, name in ALIASES.items()]
    return rows + [(name, release.what) for name, release in RELEASES.items()]
