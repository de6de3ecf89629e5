"""How many clean clips carry a note? It should be at most one of a hundred."""

from pathlib import Path

import numpy as np
from jsonargparse import auto_cli

from avspeech import load_model
from avspeech.media.reading import safe_decoding


def main(model: str, folders: list[Path], clips: int = 200, seed: int = 0) -> None:
    """Print the notes of clips of talking faces, drawn evenly from the folders.

    Args:
        model: any that transcribes.
        folders: of clips that have nothing wrong with them.
        clips: how many in all.
        seed: draws them.
    """
    loaded, rng, noted, count = load_model(model), np.random.default_rng(seed), 0, 0
    for folder in folders:
        files = sorted(path for path in folder.rglob("*") if path.suffix in (".mp4", ".mpg", ".mov"))
        for path in rng.choice(np.array(files, object), min(clips // len(folders), len(files)), replace=False):
            with safe_decoding():
                notes = loaded.transcribe(path).notes
            count, noted = count + 1, noted + bool(notes)
            if notes:
                print(path.name, *notes, flush=True)
    print(f"{noted} of {count} clips have a note")


if __name__ == "__main__":
    auto_cli(main)
