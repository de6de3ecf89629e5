"""Transcribe videos and sound files.

    python -m avspeech.transcribe talks/ 'more/*.mkv' --model runs/flamingo/model.safetensors --language en \
        --format srt,json --out_dir transcripts --decoding.beam_size 5

Texts go to the terminal, with --format also to files; finished files and segments are kept in the user's cache. Exit
status: 0, 1 (some files failed), 2 (bad usage), 130 (interrupted).
"""

import os
import sys
import unicodedata
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

from jsonargparse import ActionYesNo, ArgumentParser, Namespace, set_parsing_settings
from tqdm import tqdm

from avspeech.decoding.config import DecodingConfig
from avspeech.files import make_folder
from avspeech.inputs import MODALITIES
from avspeech.media.errors import MediaError
from avspeech.media.reading import find_tracks, safe_decoding
from avspeech.models.files import ModelFileError, check_device
from avspeech.roi.face_model import FaceModelError
from avspeech.transcription.face_choice import check_face
from avspeech.transcription.formats import FORMATS, check_formats, write_transcript
from avspeech.transcription.kept import Kept
from avspeech.transcription.paths import find_media, output_stems
from avspeech.transcription.preview import check_preview, write_preview
from avspeech.transcription.reading import Progress
from avspeech.transcription.result import Segment, Transcript
from avspeech.transcription.speech_activity import VoiceDetectorError
from avspeech.transcription.speech_model import SpeechModel, load_model
from avspeech.transcription.streams import Streams
from avspeech.transcription.who_speaks import CORRELATION, SYNCHRONY, load_watcher

UNKNOWN_S = 10.0  # length for the progress bar of a file that states none
WATCHING = ("face", "who_speaks", "repair_sync", "audio_track")  # options that choose and mend what is read
RENAMED = {"--method": "--decoding.method", "--beam_size": "--decoding.beam_size"}  # old flags -> new flags


def make_parser() -> ArgumentParser:
    """Return the command line's parser."""
    set_parsing_settings(docstring_parse_attribute_docstrings=True)
    parser = ArgumentParser(prog="avspeech transcribe", description="Transcribe videos and sound files.")
    add = parser.add_argument
    add("videos", nargs="+", metavar="VIDEO", help="files, folders (with their subfolders) or patterns")
    add("--model", required=True, help="a path, demo, a name on the Hugging Face hub, or an official model's name")
    add("--language", help="language code such as en; null: detected, where the model knows languages")
    add("--modality", choices=MODALITIES, help="streams to use; null: all that the model was trained on")
    add(
        "--face",
        default="speaking",
        help="face to transcribe if there are several: speaking, largest, a number from 1, or all",
    )
    add(
        "--who_speaks",
        default=SYNCHRONY,
        metavar="HOW",
        help=f"how the speaking face is found: {SYNCHRONY}, {CORRELATION}, or a file of LR-ASD or of a synchrony model",
    )
    repair = "shift the sound onto the picture where their offset is sure, instead of leaving the lips out"
    add("--repair_sync", action=ActionYesNo(no_prefix="no_"), default=True, help=repair)
    add("--audio_track", type=int | None, metavar="N", help="sound track, from 1; null: the one that fits the lips")
    add("--format", default="", metavar="FORMATS", help=f"files to write: {','.join(FORMATS)}")
    add("--out_dir", type=Path, default=Path(), metavar="FOLDER", help="folder of those files")
    add("--preview", type=Path | None, metavar="OUT.mp4", help="video of one file with its face, lips and words")
    add("--longest", type=float | None, metavar="S", help="longest segment in seconds; null: the model's limit")
    add("--min_pause", type=float | None, metavar="S", help="shortest pause that ends a segment, in seconds")
    add("--batch_frames", type=int, default=3000, metavar="N", help="frames (1/25 s) that are decoded at once")
    add("--device", default="cpu", help="cpu, cuda, cuda:1, ...")
    add("--safe_decoding", type=bool, default=True, help="decode in a process that can do nothing else; common formats")
    add("--fresh", action="store_true", help="ignore cached transcripts")
    add("--quiet", action="store_true", help="show no progress bar")
    unused: set[str | int] = {"language", "detect_language", "num_best", "lm_weight"}
    parser.add_class_arguments(DecodingConfig, "decoding", skip=unused)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Transcribe the files of the command line; return the exit status."""
    arguments = sys.argv[1:] if arguments is None else arguments
    parser = make_parser()
    for one in arguments:
        if (old := one.partition("=")[0]) in RENAMED:
            parser.error(f"{old} is now {RENAMED[old]}")
    given = parser.parse_args(arguments)
    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(errors="replace")  # type: ignore[union-attr]  # terminals without Unicode
    try:
        given = parser.instantiate(given)
        given.formats = tuple(part.strip() for part in given.format.split(",") if part.strip())
        if given.format:
            check_formats(given.formats)
        given.face = int(given.face) if given.face.isdecimal() else given.face
        check_face(given.face)
        load_watcher(given.who_speaks)
        paths, failures = find_media(given.videos)
        check_outputs(given, paths)
        model = load(given)
    except (ValueError, OSError) as error:
        return _stop(error, 2)
    except KeyboardInterrupt:
        print("\nstopped before the first file", file=sys.stderr)
        return 130
    with safe_decoding(given.safe_decoding):
        return transcribe_files(model, paths, given, failures)


def load(given: Namespace) -> SpeechModel:
    """Return the model of the command line; ValueError if there is none, or it cannot do what is asked."""
    check_device(given.device)
    model = load_model(given.model, given.device, given.decoding, batch_frames=given.batch_frames)
    asked = {"longest_s": given.longest, "min_pause_s": given.min_pause}
    if asked := {name: value for name, value in asked.items() if value is not None}:
        cutting = replace(model.cutting, **asked)
        model = SpeechModel(model.network, model.name, model.path, given.decoding, cutting, given.batch_frames)
    _ = model.cutting  # raises if it is too long for the model
    given.modality = model.modality(given.modality)
    model.check_language(given.language)
    return model


def check_outputs(given: Namespace, paths: Sequence[Path]) -> None:
    """Create the output folder; ValueError if an output cannot be made or would replace an input."""
    if given.preview is not None:
        if len(paths) != 1:
            raise ValueError(f"--preview makes a video of one file, {len(paths)} came; name one, or leave it out")
        check_preview(given.preview, paths[0])
    if not given.formats:
        return
    make_folder(given.out_dir, "--out_dir")
    inputs = {os.path.realpath(path) for path in paths}
    for name in (f"{stem}.{ending}" for stem in output_stems(paths).values() for ending in given.formats):
        if os.path.realpath(given.out_dir / name) in inputs:
            raise ValueError(f"{name} in {given.out_dir} is an input; choose another --out_dir")


def transcribe_files(model: SpeechModel, paths: Sequence[Path], given: Namespace, failures: dict[str, str]) -> int:
    """Transcribe files, print and write their outputs, add to ``failures`` (name -> reason); return the exit status."""
    kept, stems, finished, total = Kept(), output_stems(paths), 0, len(paths) + len(failures)
    seconds: dict[Path, float] = {}
    for path in paths:
        try:
            seconds[path] = find_tracks(path).duration_s or UNKNOWN_S
        except MediaError as error:
            failures[str(path)] = error.reason
    asked = {name: given[name] for name in ("language", "longest", "min_pause", "modality", *WATCHING)}
    options = asked | {"decoding": asdict(given.decoding)}
    form = "{l_bar}{bar}| {n:.0f}/{total:.0f} s of video [{elapsed}<{remaining}]"
    hidden = given.quiet or None  # None: hidden where there is no terminal
    try:
        with tqdm(total=sum(seconds.values()), unit="s", disable=hidden, bar_format=form) as bar:
            done_s = 0.0
            for path, length_s in seconds.items():
                bar.set_description(on_one_line(path.name)[-30:])

                def show(share: float, start_s: float = done_s, length_s: float = length_s) -> None:
                    bar.n = min(start_s + share * length_s, bar.total)
                    bar.refresh()

                try:
                    transcript, streams = transcribe_one(model, path, given, kept, show)
                    if given.formats:
                        write_transcript(transcript, given.out_dir / stems[path], given.formats, options)
                    print_transcript(path, transcript, len(paths) > 1)
                    if streams is not None and given.preview is not None:  # last, as the text matters more
                        write_preview(given.preview, transcript, streams)
                    finished += 1
                except MediaError as error:  # a bad file is data; a bug still raises
                    failures[str(path)] = error.reason
                except BrokenPipeError:
                    raise
                except OSError as error:
                    failures[str(path)] = f"its output cannot be written: {error}"
                show(1.0)
                done_s += length_s
    except KeyboardInterrupt:
        print(f"\nstopped; {finished} of {len(paths)} files are finished", file=sys.stderr)
        return 130
    except BrokenPipeError:  # as of `| head`; Python flushes again at exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return _stop(f"the output was closed after {finished} files", 1)
    except (FaceModelError, VoiceDetectorError, ModelFileError, ImportError) as error:  # every file would fail
        return _stop(error, 2)
    if failures:
        print(f"{len(failures)} of {total} failed:", file=sys.stderr)
        for name, reason in failures.items():
            print(f"  {on_one_line(name)}: {on_one_line(reason)}", file=sys.stderr)
    return 1 if failures else 0


def transcribe_one(
    model: SpeechModel, path: Path, given: Namespace, kept: Kept, progress: Progress
) -> tuple[Transcript, Streams | None]:
    """Return a file's transcript, cached or new, and its streams if needed."""
    settings = {name: given[name] for name in ("language", "modality", *WATCHING)}
    settings |= {"cutting": asdict(model.cutting), "decoding": asdict(model.decoding)}
    settings["tokenizer"] = model.network.to_config().get("tokenizer")  # an official checkpoint does not hold it
    try:
        key = kept.key(path, model.sha256 or model.name, settings)
    except OSError as error:
        raise MediaError(path, f"cannot be read: {error.strerror}") from error
    transcript = None if given.fresh else kept.load(key)
    if transcript is not None:
        transcript = replace(transcript, source=str(path), model=model.name)
        if given.preview is None:
            return transcript, None
    preparing, decoding = model.stages(given.modality, progress)
    decoded: list[Segment] = [] if given.fresh else kept.segments(key)

    def keep(segment: Segment) -> None:
        kept.append_segment(key, segment)
        decoded.append(segment)

    try:
        watching = {name: given[name] for name in WATCHING}
        streams = model.prepare(path, modality=given.modality, progress=preparing, **watching)
        if transcript is None:
            transcript = model.transcribe_streams(
                streams, language=given.language, progress=decoding, finished=tuple(decoded), on_segment=keep
            )
            kept.save(key, transcript)
    except KeyboardInterrupt:
        if kept.works and decoded:
            name = on_one_line(path)
            print(f"\n{len(decoded)} segments of {name} are kept; the same command continues there", file=sys.stderr)
        raise
    return transcript, streams


def print_transcript(path: Path, transcript: Transcript, several: bool) -> None:
    name = on_one_line(path)
    lines = [f"{name}:"] if several else []
    lines += [segment.labelled for segment in transcript.segments if segment.text]
    if lines:
        tqdm.write("\n".join(lines))
        sys.stdout.flush()  # a pipe may be followed, too
    for note in transcript.notes:
        tqdm.write(f"{name}: {note}", file=sys.stderr)


def on_one_line(text: str | Path) -> str:
    """Return a name with line breaks and control characters escaped."""
    return "".join(
        one if one.isprintable() or unicodedata.category(one) == "Zs" else ascii(one)[1:-1] for one in str(text)
    )


def _stop(reason: object, status: int) -> int:
    print(f"avspeech transcribe: {reason}", file=sys.stderr)
    return status


if __name__ == "__main__":
    sys.exit(main())
