"""Write a model as ONNX: ``python -m avspeech.export MODEL OUT_DIR [--int8 true]``."""

import sys
from pathlib import Path

from jsonargparse import auto_cli

from avspeech.export.folder import check_target, export_model
from avspeech.hub.names import open_model


def main(model: str, out_dir: Path, int8: bool = False) -> None:
    """Write a model's encoders and one decoder step as ONNX, with a ``config.json``.

    Args:
        model: file or name of a recogniser, a Whisper or a Flamingo; ``python -m avspeech.hub`` lists names.
        out_dir: new folder.
        int8: store the weights of matrix products as 8-bit integers.
    """
    try:
        check_target(out_dir)  # before anything is downloaded
        export_model(open_model(model), out_dir, int8)
    except (ValueError, OSError) as error:
        sys.exit(str(error))
    for path in sorted(out_dir.iterdir()):
        print(f"{path}: {path.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    auto_cli(main)
