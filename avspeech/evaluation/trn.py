"""Write transcripts as trn files of NIST's ``sclite``: one line ``words (speaker-utteranceid)``.

    python -m avspeech.evaluation.trn RESULTS_DIR OUT_DIR --model av --normalized true
    sclite -r OUT_DIR/ref.trn trn -h OUT_DIR/hyp.audio_clean.trn trn -i spu_id -s -e utf-8 -o rsum spk

Reads   hypotheses.jsonl and results.json that ``avspeech.evaluate`` or ``avspeech.evaluation.score`` wrote.
Writes  OUT_DIR/ref.trn and a hyp.<condition>.trn for each condition that was transcribed.

``-i spu_id`` takes the text before the first ``-`` as the speaker. Characters with a meaning to sclite (``{ a / b }``,
``@``, ``;;``, ``**``, parentheses) are percent-encoded, in ids also spaces, slashes and non-ASCII. Error counts do not
change. sclite 2.10 needs a line break after the last line.
"""

import re
import shlex
from collections.abc import Iterable
from pathlib import Path
from urllib.parse import quote

from jsonargparse import auto_cli

from avspeech.evaluation.outside import TRN_HEADER
from avspeech.evaluation.results import ScoredHypothesis, read_results
from avspeech.files import make_folder, write_text
from avspeech.text.normalize import normalize_for_scoring, text_language

NO_SPEAKER = "unknown"
_IN_WORDS = re.compile(r"[%{}()@;*]")


def write_trn(path: str | Path, lines: Iterable[tuple[str, str, str | None]]) -> None:
    """Write text, id and speaker of each line, whole or not at all; ``ValueError`` if an id comes twice."""
    written, seen = [TRN_HEADER], set()
    for text, name, speaker in lines:
        if name in seen:
            raise ValueError(f"{path}: id {name!r} came twice, wanted once a file; sclite would mix them up")
        seen.add(name)
        words = _IN_WORDS.sub(lambda match: f"%{ord(match[0]):02X}", " ".join(text.split()))
        spoken_by = quote(speaker or NO_SPEAKER, safe="").replace("-", "%2D")
        written.append(f"{words} ({spoken_by}-{quote(name, safe='')})")
    write_text(Path(path), "\n".join([*written, ""]))


def export_trn(
    results_dir: str | Path, out_dir: str | Path, model: str | None = None, normalized: bool = False
) -> list[Path]:
    """Write references and hypotheses of each condition as trn; return the paths, ref.trn first."""
    results = read_results(results_dir)
    models = sorted({line.model for line in results.hypotheses})
    if model is None and len(models) != 1:
        raise ValueError(f"{results_dir} holds transcripts of {', '.join(models) or 'no model'}; name one with --model")
    model = model or models[0]
    if model not in models:
        raise ValueError(f"{results_dir} holds no transcripts of {model!r}, only of {', '.join(models) or 'none'}")
    run = results.run_of(model)

    def trn_line(line: ScoredHypothesis, text: str) -> tuple[str, str, str | None]:
        if normalized:
            text = normalize_for_scoring(text, text_language(line.language, run.get("task")), run["normalization"])
        return text, line.id, line.speaker

    references: dict[str, tuple[str, str, str | None]] = {}
    heard: dict[str, list[tuple[str, str, str | None]]] = {}
    for line in results.hypotheses:
        if line.model == model:
            references.setdefault(line.id, trn_line(line, line.reference))
            heard.setdefault(line.condition.file_name, []).append(trn_line(line, line.hypothesis))
    out_dir = Path(out_dir)
    make_folder(out_dir, "out_dir")
    files = {out_dir / "ref.trn": list(references.values())}
    files |= {out_dir / f"hyp.{name}.trn": lines for name, lines in heard.items()}
    for path, lines in files.items():
        write_trn(path, lines)
    return list(files)


def main(results_dir: Path, out_dir: Path, model: str | None = None, normalized: bool = False) -> None:
    """Write the transcripts of an evaluation for sclite.

    Args:
        results_dir: folder with results.json and hypotheses.jsonl.
        out_dir: folder of the trn files.
        model: model of the transcripts, if there are several.
        normalized: write normalised texts.
    """
    try:
        reference, *hypotheses = export_trn(results_dir, out_dir, model, normalized)
    except ValueError as error:
        raise SystemExit(str(error)) from error
    for path in hypotheses:
        options = ["-i", "spu_id", "-s", "-e", "utf-8", "-o", "rsum", "spk"]
        print(shlex.join(["sclite", "-r", str(reference), "trn", "-h", str(path), "trn", *options]))


if __name__ == "__main__":
    auto_cli(main)
