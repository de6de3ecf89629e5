"""Turn shards back into a manifest, and files of the same pixels and samples.

    python data_prep/unpack_shards.py data/lrs3/shards/train data/lrs3/unpacked
    python data_prep/unpack_shards.py s3://bucket/lrs3/train lines --files false

Reads   shards (write_shards.py): their index, its folder or URL.
Writes  OUT/manifest.jsonl and OUT/<name>.km with OUT/<name>.km.json; with files OUT/clips/<id>.mp4, lossless H.264, and
        OUT/clips/<id>.wav.
A restart starts over; a file appears only when whole.
"""

from dataclasses import replace
from pathlib import Path

from jsonargparse import auto_cli

from avspeech.files import make_folder, write_json, write_text, written_whole
from avspeech.manifest import Utterance, write_manifest
from avspeech.media.audio import write_wav
from avspeech.media.video import write_video
from avspeech.noise.mixing import to_audio
from avspeech.shards.reading import Shards


def main(shards: str, out: Path, files: bool = True) -> None:
    """Unpack shards.

    Args:
        shards: index of the shards, or the folder or URL that holds it.
        out: folder to write to.
        files: write the streams, too; else only what a manifest says of a clip without files.
    """
    make_folder(out, "out")
    found = Shards(shards)
    stored = {field: found.has(field) for field in ("mouth", "audio")}
    utterances = []
    for index in range(len(found)):
        utterance = found.utterance(index)
        if files:
            utterance = with_files(utterance, found, index, out, *(bool(has_N[index]) for has_N in stored.values()))
        utterances.append(utterance)
    for name, rate in found.facts.units.items():
        rows = found.units(name)
        write_text(out / f"{name}.km", "".join(f"{' '.join(map(str, rows[i].tolist()))}\n" for i in range(len(rows))))
        write_json(out / f"{name}.km.json", {"rate": rate})
    write_manifest(out / "manifest.jsonl", utterances)
    print(f"{len(utterances)} utterances in {out / 'manifest.jsonl'}")


def with_files(utterance: Utterance, shards: Shards, index: int, out: Path, mouth: bool, audio: bool) -> Utterance:
    """Write a clip's streams; return the utterance that names them."""
    clip = out / "clips" / f"{utterance.id}.mp4"
    wav = out / "clips" / f"{utterance.id}.wav"
    if mouth:
        with written_whole(clip) as unfinished:
            write_video(unfinished, shards.mouth(index), crf=0)
    if audio:
        with written_whole(wav) as unfinished:
            write_wav(unfinished, to_audio(shards.sound(index)))
    return replace(utterance, mouth=clip if mouth else None, audio=wav if audio else None)


if __name__ == "__main__":
    auto_cli(main)
