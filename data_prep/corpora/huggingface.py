"""Manifests of a Hugging Face data set in parquet with video, sound and text in its rows.

    hf download --repo-type dataset nguyenvulebinh/av-vox2 --local-dir data/av-vox2
    python -m data_prep.corpora.huggingface data/av-vox2 data/vox2 --untranscribed true

The columns by default are those of nguyenvulebinh/av-vox2, mouth clips of VoxCeleb2 (Chung, Nagrani and Zisserman,
Interspeech 2018, arXiv:1806.05622) with texts by a recogniser, empty in places.

Reads   *.parquet anywhere below the root. Their names tell the split: dev-00003-of-00109.parquet, dev/0003.parquet or
        dev.parquet. Video and sound are bytes, or {bytes, path} as ``datasets`` writes them; without bytes, ``path``
        is a file below the root.
Writes  <split>.jsonl, losses.jsonl and the media as files: media/video/<id>.mp4, media/audio/<id>.wav, with the endings
        of what they hold.
A restart keeps media files that are the same. Memory: one group of rows of a file, and about 1 kB for each utterance.
"""

import errno
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
from jsonargparse import auto_cli
from pyarrow import parquet

from avspeech.files import written_whole
from avspeech.manifest import Utterance
from data_prep.corpora.reader import Corpus, run
from data_prep.corpora.tree import BAD_TEXT, NO_TEXT, SOUNDS, TWICE, UNREADABLE, VIDEOS, Lost, Tree

LICENCE = "that of the data set's card; av-vox2 is VoxCeleb2's, and the videos belong to those who published them"
ROWS_AT_ONCE = 8
MISSING_MEDIA, BAD_ID = "no bytes and no file", "not usable as an id"
HEADS = {
    b"....ftyp": ".mp4", b"RIFF....WAVE": ".wav", b"RIFF....AVI ": ".avi", b"fLaC": ".flac", b"OggS": ".ogg",
    rb"\x1a\x45\xdf\xa3": ".mkv", b"ID3|\xff[\xe0-\xff]": ".mp3",
}  # fmt: skip
"""How files begin, as regular expressions."""


@dataclass(frozen=True)
class Columns:
    """Names of columns; null: there is none."""

    video: str = "lip_video"
    audio: str | None = "audio"
    """Null: the sound is in the video."""
    text: str | None = "text"
    language: str | None = "text_lang"
    speaker: str | None = "spk_id"
    id: tuple[str, ...] = ("spk_id", "video_id", "part_id")
    """Joined by "/"; none: file and row."""

    def needed(self) -> list[str]:
        ones = (self.video, self.audio, self.text, self.language, self.speaker)
        return list(dict.fromkeys([*filter(None, ones), *self.id]))


def read(
    root: Path,
    media_dir: Path,
    columns: Columns = Columns(),
    name: str | None = None,
    cropped: bool = True,
    crop: str | None = None,
    language: str | None = None,
    untranscribed: bool = False,
) -> Corpus:
    """Write the media of a data set to ``media_dir`` and return its utterances; arguments as of ``main``."""
    corpus = name or root.resolve().name
    tree = Tree(corpus, LICENCE, root)
    reader = _Rows(corpus, root, media_dir, columns, language, untranscribed, cropped, crop)
    seen: set[str] = set()
    for file in tree.of([".parquet"]):
        for source, row in _rows(tree, file, columns):
            own = "/".join(str(row[one]) for one in columns.id) or f"{'/'.join(tree.parts(file))}/{row['row']:06}"
            with tree.losing(source, BAD_ID):
                if own in seen:
                    raise Lost(TWICE, own)
                seen.add(own)
                tree.add(split_of(file), reader.utterance(own, row))
    return tree.finish("a column of a parquet file")


def split_of(file: Path) -> str:
    """Return the split by a file's name."""
    stem = re.sub(r"-\d+(-of-\d+)?(-[0-9a-f]+)?$", "", file.stem)
    return file.parent.name if stem.isdigit() else stem


def _rows(tree: Tree, file: Path, columns: Columns) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield "FILE, row N" and the row; rows that cannot be read are lost. ValueError if a column is missing."""
    source, number, total = file.relative_to(tree.root).as_posix(), 0, 0
    try:
        with parquet.ParquetFile(file, pre_buffer=False, buffer_size=1 << 20) as opened:
            total = opened.metadata.num_rows
            _check_columns(file, opened.schema_arrow, columns)
            for batch in opened.iter_batches(ROWS_AT_ONCE, columns=columns.needed(), use_threads=False):
                for row in batch.to_pylist():
                    yield f"{source}, row {number}", row | {"row": number}
                    number += 1
    except (pa.ArrowException, OSError) as error:
        if not total:
            tree.lose(file, UNREADABLE, str(error))
        for lost in range(number, total):
            tree.lose(f"{source}, row {lost}", UNREADABLE, str(error))


def _check_columns(file: Path, schema: pa.Schema, columns: Columns) -> None:
    """Raise ValueError if a column is missing or holds no media."""
    if missing := [one for one in columns.needed() if one not in schema.names]:
        had = f"{file} has columns {', '.join(schema.names)}, wanted {', '.join(missing)}"
        raise ValueError(f"{had}; name what there is by --columns.video, .audio, .text, .language, .speaker, .id")
    for one in filter(None, (columns.video, columns.audio)):
        kind = schema.field(one).type
        fields = {field.name for field in kind} if pa.types.is_struct(kind) else set()
        if not ({"bytes", "path"} & fields or pa.types.is_binary(kind) or pa.types.is_large_binary(kind)):
            raise ValueError(f"{file}, column {one}: {kind} came, wanted bytes, or a struct of bytes and path")


@dataclass(frozen=True)
class _Rows:
    """How rows become utterances."""

    corpus: str
    root: Path
    media_dir: Path
    columns: Columns
    language: str | None
    untranscribed: bool
    cropped: bool
    crop: str | None

    def utterance(self, own: str, row: dict[str, Any]) -> Utterance:
        """Write a row's media and return its utterance. Lost or ValueError if it is none."""
        columns = self.columns
        text = _text(row[columns.text]) if columns.text else ""
        if not text and not self.untranscribed:
            raise Lost(NO_TEXT, f"column {columns.text}; --untranscribed true takes it for pre-training")
        facts: dict[str, Any] = {"language": self.language, "corpus": self.corpus}
        for name, column in (("language", columns.language), ("speaker", columns.speaker)):
            if column and row[column] not in (None, ""):
                facts[name] = str(row[column])
        Utterance(own)  # a name that leads elsewhere is refused before anything is written
        video, clip = self.placed("video", own, row[columns.video], columns.video)
        audio, sound = (video, None)
        if columns.audio:
            audio, sound = self.placed("audio", own, row[columns.audio], columns.audio)
        _write(video, clip)
        _write(audio, sound)
        if self.cropped:
            facts |= {"mouth": video, "crop": self.crop}
        return Utterance(own, video, audio, text=text or None, **facts)

    def placed(self, kind: str, own: str, value: Any, column: str) -> tuple[Path, bytes | None]:
        """Return the file of a media value, and its content unless it is there. Lost if there is none."""
        content, path = (value.get("bytes"), value.get("path")) if isinstance(value, dict) else (value, None)
        if content:
            ending = Path(path or "").suffix.lower()
            return self.media_dir / kind / f"{own}{ending if ending in VIDEOS | SOUNDS else _ending(content)}", content
        if path and ".." not in Path(path).parts and not Path(path).is_absolute() and (self.root / path).is_file():
            return self.root / path, None
        raise Lost(MISSING_MEDIA, f"column {column}" + (f": {path}" if path else ""))


def _text(value: Any) -> str:
    """Return a value as text on one line, also from bytes in UTF-8. Lost if these are not."""
    try:
        return " ".join((value.decode() if isinstance(value, bytes) else str(value or "")).split())
    except UnicodeDecodeError as error:
        raise Lost(BAD_TEXT, str(error)) from error


def _ending(content: bytes) -> str:
    return next((ending for head, ending in HEADS.items() if re.match(head, content, re.DOTALL)), ".bin")


def _write(target: Path, content: bytes | None) -> None:
    """Write a file if there is a content, and none with this content. Lost if its name cannot be one."""
    try:
        if content is None or (
            target.is_file() and target.stat().st_size == len(content) and target.read_bytes() == content
        ):
            return
        with written_whole(target) as unfinished:
            unfinished.write_bytes(content)
    except OSError as error:
        if error.errno not in (errno.ENAMETOOLONG, errno.EINVAL):
            raise RuntimeError(f"{target} cannot be written: {error}") from error  # such as a full disk; no row's fault
        raise Lost(BAD_ID, str(error)) from error


def main(
    root: Path,
    out_dir: Path,
    columns: Columns = Columns(),
    name: str | None = None,
    cropped: bool = True,
    crop: str | None = None,
    language: str | None = None,
    untranscribed: bool = False,
) -> None:
    """Write the manifests and the media of a data set in parquet.

    Args:
        root: folder of the parquet files.
        out_dir: folder of the manifests and of media/.
        columns: names of columns.
        name: name of the corpus; null is the folder's.
        cropped: the videos are mouth clips already.
        crop: how these were cut, a name of avspeech.roi.mouth.CROPS; null is unknown.
        language: ISO 639-1 code of rows that name none.
        untranscribed: also take rows without a text, for pre-training.
    """
    options = (columns, name, cropped, crop, language, untranscribed)
    run(lambda: read(root, out_dir / "media", *options), root, out_dir)


if __name__ == "__main__":
    auto_cli(main)
