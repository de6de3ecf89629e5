"""A model -> a folder of ONNX files and ``config.json``, which together decode without torch."""

import base64
import json
import shutil
from pathlib import Path
from typing import Any

from avspeech.decoding.greedy import BEGIN, END, PAD
from avspeech.decoding.whisper_rules import token_rules
from avspeech.export.graph import VARYING, Graph, require, write_graph
from avspeech.export.int8 import quantize_file
from avspeech.export.recognizer_graphs import recognizer_graphs
from avspeech.export.runtime import FORMAT
from avspeech.export.whisper_graphs import whisper_graphs
from avspeech.models.files import Model
from avspeech.models.flamingo import Flamingo
from avspeech.models.recognizer import Recognizer
from avspeech.models.whisper import Whisper
from avspeech.objectives.text_loss import BLANK
from avspeech.text.whisper_tokens import WhisperTokenizer


def export_model(model: Model, folder: str | Path, int8: bool = False) -> None:
    """Write ``folder``; it appears only when whole.

    Args:
        model: in evaluation mode, on the CPU.
        folder: must not exist, or be empty.
        int8: keep the weights of matrix products as 8-bit integers.

    Raises:
        ValueError: the model gives no text, the folder holds something, or a package is missing.
    """
    folder = Path(folder)
    if not isinstance(model, Recognizer | Whisper):
        raise ValueError(
            f"a {type(model).__name__} came, wanted a model that gives text (Recognizer, Whisper, Flamingo); fine-tune "
            "it with avspeech.train"
        )
    require("onnx", "onnxscript", *(["onnxruntime"] if int8 else []))
    check_target(folder)
    graphs = whisper_graphs(model) if isinstance(model, Whisper) else recognizer_graphs(model)
    config = describe(model, graphs) | {"weights": "int8" if int8 else "float32"}
    unfinished = folder.with_name(folder.name + ".part")
    try:
        if unfinished.exists():  # of a run that was stopped
            shutil.rmtree(unfinished)
        unfinished.mkdir(parents=True)
    except OSError as error:
        raise ValueError(f"{folder} cannot be written ({error.strerror}); name another folder") from error
    for graph in graphs:
        write_graph(graph, unfinished)
        if int8:
            quantize_file(unfinished / f"{graph.name}.onnx")
    _write_json(unfinished / "config.json", config, indent=1)
    if isinstance(model, Whisper):
        _write_json(unfinished / "tokens.json", _pieces(WhisperTokenizer(model.sizes.vocab_size)))
    if folder.exists():
        folder.rmdir()
    unfinished.rename(folder)


def check_target(folder: Path) -> None:
    """Check that an export may take this place.

    Raises:
        ValueError: a file or a folder that holds something is there.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ValueError(f"{folder} is there already, wanted a new or empty folder; delete it or name another")


def describe(model: Recognizer | Whisper, graphs: list[Graph]) -> dict[str, Any]:
    """Return what one must know to run the graphs, ready for JSON."""
    common = {"format": FORMAT, "axes": VARYING, "graphs": {graph.name: graph.describe() for graph in graphs}}
    if isinstance(model, Whisper):
        kind = "flamingo" if isinstance(model, Flamingo) else "whisper"
        return common | {"kind": kind, "sizes": _whisper_sizes(model), "tokens": _whisper_tokens(model)}
    encoder, decoder = model.av_encoder.config, model.config.decoder
    sizes: dict[str, Any] = {
        "audio_features": encoder.audio_features,
        "video_size": encoder.video.input_size,
        "width": encoder.width,
        "vocab_size": model.vocab_size,
        "ctc_upsample": model.config.ctc_upsample,
    }
    if decoder is not None:
        sizes |= {"text_depth": decoder.depth, "text_heads": decoder.num_heads, "text_width": decoder.width}
    tokens = {"blank": BLANK, "begin": BEGIN, "end": END, "pad": PAD}
    tokenizer = model.to_config()["tokenizer"]
    return common | {"kind": "recognizer", "sizes": sizes, "tokens": tokens, "tokenizer": tokenizer}


def _whisper_sizes(model: Whisper) -> dict[str, Any]:
    names = (
        *("mel_bins", "audio_positions", "audio_width", "vocab_size", "text_positions", "text_width", "text_heads"),
        *("text_depth", "official_padding"),
    )
    sizes = {name: getattr(model.sizes, name) for name in names}
    if isinstance(model, Flamingo):
        sizes["video_size"] = model.config.video.video.input_size
        sizes["zero_dropped_video"] = model.config.zero_dropped_video
    return sizes


def _whisper_tokens(model: Whisper) -> dict[str, Any]:
    tokenizer = WhisperTokenizer(model.sizes.vocab_size)
    library, rules = tokenizer.library, token_rules(tokenizer)
    languages = dict(zip(tokenizer.languages, tokenizer.language_tokens, strict=False))  # no tokens: English only
    return {
        "start": tokenizer.start,
        "end": tokenizer.end,
        "first_time": tokenizer.first_time,
        "no_timestamps": library.no_timestamps,
        "no_speech": library.no_speech,
        "transcribe": library.transcribe,
        "translate": library.translate,
        "languages": languages,
        "suppressed": rules.suppressed.tolist(),
        "suppressed_at_start": rules.suppressed_at_start.tolist(),
    }


def _pieces(tokenizer: WhisperTokenizer) -> list[str]:
    """Return the bytes of every text token, in base64: some are half a character."""
    encoding = tokenizer.library.encoding
    return [base64.b64encode(encoding.decode_single_token_bytes(n)).decode("ascii") for n in range(tokenizer.end)]


def _write_json(path: Path, content: Any, indent: int | None = None) -> None:
    path.write_text(json.dumps(content, ensure_ascii=False, indent=indent), encoding="utf-8")
