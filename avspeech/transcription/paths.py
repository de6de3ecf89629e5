"""Find the media files that a command line names, and name their outputs."""

import glob
import hashlib
import os
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from avspeech.files import walk_files
from avspeech.media.errors import MediaError
from avspeech.media.reading import find_tracks

ENDINGS = (
    "3g2 3gp aac ac3 aif aiff amr asf avi caf flac flv m2ts m4a m4v mka mkv mov mp2 mp3 mp4 mpeg mpg mts mxf oga ogg "
    "ogv opus ts vob wav webm wma wmv"
)
"""Endings of files taken from a folder. Files of other endings are taken if they open as media; named ones always."""
OTHERS = (
    "7z adf ans art asc ass avif bin bmp bz2 cfg ckpt css csv diz dpx exr gif gz heic htm html ice ico idf ini jp2 "
    "jpeg jpg js json jsonl km log md nfo npy npz part pbm pdf pgm pkl png ppm psd pt py rar safetensors srt sub "
    "svg tar tga tif tiff toml tsv txt vt vtt webp wrd xb xbin xcf xml xz yaml yml zip"
)
"""Endings of files in a folder that are not tried: FFmpeg takes some of them for pictures or drawings of text."""


def find_media(names: Sequence[str]) -> tuple[list[Path], dict[str, str]]:
    """Return the named files, each once and in order, and why each other name gives none.

    Names are files, folders (searched with subfolders and linked ones, without hidden files) or ``glob`` patterns.
    """
    found: dict[str, Path] = {}
    reasons: dict[str, str] = {}
    for name in names:
        path, files = Path(name), []
        try:
            is_folder, exists = path.is_dir(), path.exists()
        except OSError:  # too long or not readable: reported when the file is opened
            is_folder, exists = False, False
        if not name:
            reasons["''"] = "is an empty name; name a file, a folder or a pattern"
        elif is_folder and not os.access(path, os.R_OK | os.X_OK):
            reasons[name] = "is a folder that may not be read; change its permissions"
        elif is_folder:
            files = [file for file in walk_files(path, reasons.setdefault) if _is_media(file)]
            if not files:
                reasons[name] = "is a folder without media files (none ends in .mp4, .mkv, .wav or opens as one)"
        elif exists or not glob.has_magic(name):
            files = [path]  # a missing file is reported when it is opened
        else:
            matches = sorted(glob.glob(name, recursive=True))  # noqa: PTH207 - may be absolute
            files = [Path(match) for match in matches if not os.path.isdir(match)]  # noqa: PTH112 - raises nothing
            if not files:
                reasons[name] = "no file matches this pattern"
        for file in files:
            found.setdefault(os.path.join(os.path.realpath(file.parent), file.name), file)  # noqa: PTH118
    return list(found.values()), reasons


def _is_media(file: Path) -> bool:
    ending = file.suffix.lower()[1:]
    if ending in ENDINGS.split() or ending in OTHERS.split():
        return ending in ENDINGS.split()
    try:
        tracks = find_tracks(file)
    except MediaError:
        return False
    return tracks.has_video or tracks.has_audio


def output_stems(paths: Iterable[str | Path]) -> dict[Path, str]:
    """Return for each input a unique name of its outputs in one folder, without ending, whatever the order of inputs.

    It is the stem, else the full name (clip.mp4, clip.mkv), else with folders (a_clip, b_clip); case is ignored.
    """
    whole = {Path(path): Path(os.path.normpath(Path(path).absolute())) for path in paths}
    names = {file: _names(file) for file in set(whole.values())}
    while True:
        alike = {file: unicodedata.normalize("NFC", ways[0]).casefold() for file, ways in names.items()}
        count = Counter(alike.values())
        twins = [file for file, name in alike.items() if count[name] > 1]
        if not twins:
            return {path: names[file][0] for path, file in whole.items()}
        for file in twins:
            del names[file][0]


def _names(file: Path) -> list[str]:
    """Return possible names of a file's outputs, shortest first; the last is unique."""
    folders = [part for part in file.parent.parts if part != file.anchor]
    ways = ["_".join([*folders[len(folders) - depth :], ""]) for depth in range(len(folders) + 1)]
    mark = hashlib.sha256(os.fsencode(file)).hexdigest()
    return [way + last for way in ways for last in (file.stem, file.name)] + [f"{file.stem}_{mark}"]
