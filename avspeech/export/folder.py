"""A model -> a folder of ONNX files and ``config.json``, which decodes without torch."""

from importlib import import_module
from pathlib import Path

from avspeech.export.graph import VARYING, quantize_file, write_graph
from avspeech.export.models import EXPORTS
from avspeech.export.runtime import FORMAT
from avspeech.files import write_json, written_whole
from avspeech.models.base import Model


def export_model(model: Model, folder: str | Path, int8: bool = False) -> None:
    """Write a model (on the CPU, in evaluation mode) to a new or empty folder, whole or not at all.

    Raises ValueError if the model gives no text, the folder holds something, or a package is missing.
    """
    folder = Path(folder)
    if model.kind not in EXPORTS:
        wanted = f"wanted a model that gives text ({', '.join(EXPORTS)}); fine-tune it with avspeech.train"
        raise ValueError(f"a {type(model).__name__} came, {wanted}")
    for package in ("onnx", "onnxscript", *(["onnxruntime"] if int8 else [])):
        try:
            import_module(package)
        except ImportError as error:
            hint = 'the export to ONNX needs it: pip install "avspeech[export]"'
            raise ValueError(f"{package} is not installed, and {hint}") from error
    check_target(folder)
    export = EXPORTS[model.kind](model)
    graphs = {graph.name: graph.describe() for graph in export.graphs}
    config = {"format": FORMAT, "kind": model.kind, "axes": VARYING, "graphs": graphs, **export.config}
    try:
        with written_whole(folder) as unfinished:
            unfinished.mkdir()
            for graph in export.graphs:
                write_graph(graph, unfinished)
                if int8:
                    quantize_file(unfinished / f"{graph.name}.onnx")
            write_json(unfinished / "config.json", config | {"weights": "int8" if int8 else "float32"})
            if export.pieces is not None:
                write_json(unfinished / "tokens.json", export.pieces, indent=None)
    except OSError as error:
        raise ValueError(f"{folder} cannot be written ({error.strerror}); name another folder") from error


def check_target(folder: Path) -> None:
    """Raise ValueError if a file or a non-empty folder is there."""
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ValueError(f"{folder} is there already, wanted a new or empty folder; delete it or name another")
