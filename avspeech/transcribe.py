"""Write down what is said in videos and sound files.

    python -m avspeech.transcribe clip.mp4 --model demo
    python -m avspeech.transcribe talks/ 'more/*.mkv' --model runs/flamingo/model.safetensors --language en \
        --format srt,json --out_dir transcripts

Reads   any file that FFmpeg reads, of any frame rate, size, rotation and length; folders and patterns.
Writes  the texts to the terminal and, with --format, files of the same name to --out_dir; with --preview a video.
Stop it and start it again: files that are finished, and finished segments of the one it was at, are kept in the user's
cache and not decoded anew. Exit status: 0, 1 (some files failed; they are listed), 2 (bad usage), 130 (stopped).
"""

import argparse
import logging
import os
import sys
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from tqdm import tqdm

from avspeech.files import make_folder
from avspeech.media.container import find_tracks
from avspeech.media.errors import MediaError
from avspeech.models.files import ModelFileError
from avspeech.roi.face_model import FaceModelError
from avspeech.transcription.formats import FORMATS, check_formats, write_transcript
from avspeech.transcription.kept import Kept
from avspeech.transcription.paths import find_media, output_stems
from avspeech.transcription.result import Segment, Transcript
from avspeech.transcription.speech_activity import VoiceDetectorError

GUESS_S = 10.0
"""Length of a file that does not say how long it is, for the progress bar."""


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    made = argparse.ArgumentParser(
        prog="avspeech transcribe", description="Write down what is said in videos and sound files."
    )
    add = made.add_argument
    add("videos", nargs="+", metavar="VIDEO", help="files, folders (with their subfolders) or patterns")
    add("--model", required=True, help="a path, demo, a name on the Hugging Face hub, or an official model's name")
    add("--language", help="of the speech, as a code (en); by default it is detected where the model knows languages")
    add("--modality", choices=["audio+video", "audio", "video"], help="streams to use; by default all that there are")
    add("--face", default="speaking", help="of several: speaking (default), largest, a number from 1, or all")
    add("--format", default="", metavar="F,F", help=f"files to write: {', '.join(FORMATS)}")
    add("--out_dir", type=Path, default=Path(), help="folder of those files; by default the current one")
    add("--preview", type=Path, metavar="OUT.mp4", help="video with the face, the lips and the words; of one file")
    add("--method", choices=["ctc", "attention", "joint"], help="how a recogniser decodes; by default what it has")
    add("--beam_size", type=int, help="hypotheses kept; 1 is greedy")
    add("--longest", type=float, metavar="S", help="longest segment in seconds; by default what the model takes")
    add("--min_pause", type=float, metavar="S", help="shortest silence that ends a segment")
    add("--batch_frames", type=int, default=3000, help="frames (1/25 s) that are decoded at once")
    add("--device", default="cpu", help="cpu, cuda, cuda:1, ...")
    add("--fresh", action="store_true", help="do not use what earlier runs kept")
    add("--quiet", action="store_true", help="no progress bar")
    return made


def main(arguments: Sequence[str] | None = None) -> int:
    """Transcribe the files that the command line names; return the exit status."""
    given = parser().parse_args(arguments)
    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(errors="replace")  # type: ignore[union-attr]  # a terminal that has no Greek
    # Damage of a file comes back in the notes of its transcript; without a handler it would be printed twice.
    logger, nowhere = logging.getLogger("avspeech.media"), logging.NullHandler()
    logger.addHandler(nowhere)
    try:
        return transcribe_all(given)
    finally:
        logger.removeHandler(nowhere)


def transcribe_all(given: argparse.Namespace) -> int:
    """Transcribe what a parsed command line names; return the exit status."""
    try:  # what a user can get wrong ends with its message alone
        formats, face = parse_formats(given.format), parse_face(given.face)
        paths, failures = find_media(given.videos)
        check_preview(given.preview, paths)
        if formats:
            make_folder(given.out_dir, "--out_dir")
            check_outputs(given.out_dir, paths, formats)
        model = load(given)
    except (ValueError, OSError) as error:
        print(f"avspeech transcribe: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("\nstopped before the first file", file=sys.stderr)
        return 130
    run = Run(model, given, face, formats, failures)
    try:
        run.all_files(paths)
    except KeyboardInterrupt:
        print(f"\nstopped; {run.finished} of {len(paths)} files are finished. {run.at}", file=sys.stderr)
        return 130
    except (FaceModelError, VoiceDetectorError, ModelFileError, ImportError) as error:  # with these no file will do
        print(f"avspeech transcribe: {error}", file=sys.stderr)
        return 2
    except BrokenPipeError:  # of `| head`; Python would complain once more when it flushes at its end
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        print(f"avspeech transcribe: the output was closed after {run.finished} files", file=sys.stderr)
        return 1
    if run.failures:
        print(f"{len(run.failures)} of {len(paths) + len(failures)} failed:", file=sys.stderr)
        for name, reason in run.failures.items():
            print(f"  {on_one_line(name)}: {on_one_line(reason)}", file=sys.stderr)
    return 1 if run.failures else 0


class Run:
    """One call of the command: what is wanted, and how far it is.

    Args:
        model: what transcribes.
        given: the command line.
        face: choice of the face.
        formats: of the files to write.
        failures: names that gave no file, with the reason.
    """

    def __init__(
        self,
        model: Any,
        given: argparse.Namespace,
        face: Any,
        formats: Sequence[str],
        failures: dict[str, str],
    ) -> None:
        self.model, self.given, self.face, self.formats = model, given, face, formats
        self.failures = dict(failures)
        self.kept, self.keeps = Kept(), True
        self.finished = 0
        self.at = ""
        """Where it was when it was stopped, for the message."""

    @property
    def options(self) -> dict[str, Any]:
        """What the command line says that decides a transcript beside the file and the model; plain values."""
        names = ("language", "method", "beam_size", "longest", "min_pause")
        told = {name: getattr(self.given, name) for name in names}
        return told | {"modality": self.model.modality(self.given.modality), "face": self.face}

    @property
    def settings(self) -> dict[str, Any]:
        """All that decides a transcript beside the file and the model's file.

        Values that nobody named are among them, so that nothing is kept beyond a change of one, and the tokenizer,
        which lies beside an official checkpoint.
        """
        decoding = {name: value for name, value in asdict(self.model.decoding).items() if not name.startswith("max_")}
        tokenizer = getattr(self.model.network, "tokenizer_config", None)
        return self.options | {"cutting": asdict(self.model.cutting), "decoding": decoding, "tokenizer": tokenizer}

    def all_files(self, paths: Sequence[Path]) -> None:
        """Transcribe the files, print their texts, and write what is wanted of them; collect ``failures``."""
        stems = output_stems(paths)
        seconds = self._lengths(paths)
        bar = tqdm(
            total=sum(seconds.values()),
            unit="s",
            disable=True if self.given.quiet else None,  # None: off a terminal
            bar_format="{l_bar}{bar}| {n:.0f}/{total:.0f} s of video [{elapsed}<{remaining}]",
        )
        with bar:
            done_s = 0.0
            for path, length_s in seconds.items():
                bar.set_description(on_one_line(path.name)[-30:])
                try:
                    transcript, streams = self._one_file(
                        path, lambda share, at=done_s, of=length_s: _move(bar, at + share * of)
                    )
                    if self.formats:
                        write_transcript(transcript, self.given.out_dir / stems[path], self.formats, self.options)
                    self._print(path, transcript, len(paths) > 1)
                    if streams is not None and self.given.preview is not None:  # last: what is said is worth more
                        self._draw(path, transcript, streams)
                    self.finished += 1
                except MediaError as error:  # a bad file is data; a bug still raises
                    self.failures[str(path)] = error.reason
                except BrokenPipeError:
                    raise
                except OSError as error:  # of the outputs
                    self.failures[str(path)] = f"its output cannot be written: {error}"
                done_s += length_s
                _move(bar, done_s)

    def _lengths(self, paths: Sequence[Path]) -> dict[Path, float]:
        """Return the seconds of each file that can be opened, for the progress bar; the others become failures."""
        seconds = {}
        for path in paths:
            try:
                seconds[path] = find_tracks(path).duration_s or GUESS_S
            except MediaError as error:
                self.failures[str(path)] = error.reason
        return seconds

    def _one_file(self, path: Path, progress: Callable[[float], None]) -> tuple[Transcript, Any]:
        """Return the transcript and the streams that it is of; None for these where a kept one needs no preview."""
        self.at = ""
        try:
            key = self.kept.key(path, self.model.sha256 or self.model.name, self.settings)
        except OSError as error:
            raise MediaError(path, f"cannot be read: {error.strerror}") from error
        kept = None if self.given.fresh else self._ask_kept(lambda: self.kept.load(key), None)
        if kept is not None:
            kept = replace(kept, source=str(path), model=self.model.name)
            if self.given.preview is None:
                return kept, None
        decoded: list[Segment] = [] if self.given.fresh else self._ask_kept(lambda: self.kept.segments(key), [])

        def tell_kept() -> None:
            if self.keeps and decoded:
                name = on_one_line(path)
                self.at = f"{len(decoded)} segments of {name} are kept; the same command goes on from there."

        def keep(segment: Segment) -> None:
            self._ask_kept(lambda: self.kept.append_segment(key, segment), None)
            decoded.append(segment)
            tell_kept()

        tell_kept()  # of an earlier run
        language, modality = self.given.language, self.model.modality(self.given.modality)
        prepared = self.model.prepared_share(modality)
        streams = self.model.prepare(
            path, modality=modality, face=self.face, progress=lambda share: progress(prepared * share)
        )
        transcript = kept or self.model.transcribe_streams(
            streams,
            language=language,
            progress=lambda share: progress(prepared + share * (1 - prepared)),
            finished=tuple(decoded),
            on_segment=keep,
        )
        if kept is None:
            self._ask_kept(lambda: self.kept.save(key, transcript), None)
        return transcript, streams

    def _draw(self, path: Path, transcript: Transcript, streams: Any) -> None:
        from avspeech.transcription.preview import face_views, write_preview

        faces = face_views(streams.faces, streams.segments, streams.num_frames)
        write_preview(path, self.given.preview, transcript, faces, streams.audio_S)

    def _ask_kept(self, action: Callable[[], Any], otherwise: Any) -> Any:
        """Return what an action on the kept results gives, or ``otherwise`` where their folder cannot be used.

        The transcript is worth more than the next run's time, so this is said once and the work goes on.
        """
        if not self.keeps:
            return otherwise
        try:
            return action()
        except OSError as error:
            self.keeps = False
            tqdm.write(
                f"nothing is kept for another run in {self.kept.folder}: {error.strerror or error}", file=sys.stderr
            )
            return otherwise

    def _print(self, path: Path, transcript: Transcript, several: bool) -> None:
        """Print a text, a line a segment, to standard output; what went otherwise than asked to standard error."""
        name = on_one_line(path)
        lines = [f"{name}:"] if several else []
        for segment in transcript.segments:
            label = f"{segment.speaker}: " if segment.speaker else ""
            lines += [label + segment.text] if segment.text else []
        if lines:
            tqdm.write("\n".join(lines))
            sys.stdout.flush()  # a long list of files is followed through a pipe, too
        for note in transcript.notes:
            tqdm.write(f"{name}: {note}", file=sys.stderr)


def _move(bar: Any, to: float) -> None:
    bar.n = min(to, bar.total)
    bar.refresh()


def on_one_line(text: str | Path) -> str:
    """Return a name as it can be shown: what would break the line, or command the terminal, is escaped."""
    return "".join(
        one if one.isprintable() or unicodedata.category(one) == "Zs" else ascii(one)[1:-1] for one in str(text)
    )


def load(given: argparse.Namespace) -> Any:
    """Return the model that the command line names, and check that it can do what is wanted.

    Raises:
        ValueError: it cannot, or there is none.
    """
    from avspeech.models.files import check_device
    from avspeech.transcription.cutting import CuttingConfig
    from avspeech.transcription.segment_decoding import DecodingConfig
    from avspeech.transcription.speech_model import SpeechModel, load_model

    check_device(given.device)
    decoding = DecodingConfig(method=given.method, beam_size=given.beam_size, max_frames=given.batch_frames)
    model: SpeechModel = load_model(given.model, given.device, decoding)
    asked = {"longest_s": given.longest, "min_pause_s": given.min_pause}
    asked = {name: value for name, value in asked.items() if value is not None}
    if asked:
        cutting = CuttingConfig(**({"longest_s": model.decoder.longest_s} | asked))
        model = SpeechModel(model.network, model.name, model.path, decoding, cutting)
    _ = model.cutting  # raises where it is longer than the model takes
    model.modality(given.modality)
    model.check_language(given.language)
    return model


def parse_formats(text: str) -> tuple[str, ...]:
    """Return the formats of ``txt,srt``.

    Raises:
        ValueError: one is not known.
    """
    formats = tuple(part.strip() for part in text.split(",") if part.strip())
    if text:
        check_formats(formats)
    return formats


def check_preview(preview: Path | None, paths: Sequence[Path]) -> None:
    """Do nothing if a preview can be made of these files.

    Raises:
        ValueError: it is one of one file, its name is none of a video, or it is the file itself.
    """
    if preview is None:
        return
    if len(paths) != 1:
        raise ValueError(f"--preview makes a video of one file, {len(paths)} came; name one, or leave it out")
    if preview.suffix.lower() != ".mp4":
        raise ValueError(f"--preview {preview} must end in .mp4")
    if preview.exists() and paths[0].exists() and preview.samefile(paths[0]):
        raise ValueError(f"--preview {preview} would replace the video itself; give another name")


def check_outputs(folder: Path, paths: Sequence[Path], formats: Sequence[str]) -> None:
    """Do nothing if no output has the name of an input.

    Raises:
        ValueError: one has, and would replace it.
    """
    inputs = {os.path.realpath(path) for path in paths}
    for stem in output_stems(paths).values():
        for name in formats:
            if os.path.realpath(folder / f"{stem}.{name}") in inputs:
                raise ValueError(f"{stem}.{name} in {folder} is to be read and written; choose another --out_dir")


def parse_face(text: str) -> Any:
    """Return the choice of face of the command line.

    Raises:
        ValueError: it is none.
    """
    if text in ("speaking", "largest", "all"):
        return text
    if not text.isdecimal() or int(text) < 1:
        raise ValueError(f"--face {text!r} must be speaking, largest, all, or a number from 1 (the largest face) on")
    return int(text)


if __name__ == "__main__":
    sys.exit(main())
