"""Show a page on which videos are transcribed, with and without their picture, in noise of choice.

    python -m avspeech.app --models demo

Needs the extra ``app`` (``pip install "avspeech[app]"``). The page is served to this computer alone unless ``--host``
says otherwise; it asks nothing of a network, and whatever is uploaded is deleted when its tab is closed.
"""

import logging
import sys
from pathlib import Path

from jsonargparse import auto_cli

from avspeech.page.choices import Shelf, choose_examples
from avspeech.page.limits import Limits
from avspeech.page.noises import Noises, read_voices
from avspeech.page.serving import Address, serve
from avspeech.transcription.speech_model import load_model

DEMO_EXAMPLES = Path("runs/demo/test.jsonl")
DEMO_VOICES = Path("runs/demo/corpus/babble_test.jsonl")


def main(
    models: str = "demo",
    host: str = "127.0.0.1",
    port: int = 7860,
    max_mb: float = 200.0,
    max_seconds: float = 120.0,
    device: str = "cpu",
    noise_manifest: Path | None = None,
    examples: Path | None = None,
) -> None:
    """Serve the page until Ctrl-C.

    Args:
        models: names or paths that visitors can choose from, parted by commas; see ``avspeech.load_model``.
        host: address to listen at; 0.0.0.0 opens the page to the whole network.
        port: TCP port.
        max_mb: largest upload, in millions of bytes.
        max_seconds: longest video.
        device: where the models run.
        noise_manifest: JSON lines of voices for babble; by default those of the demo, where it was made.
        examples: JSON lines of clips to try; by default those of the demo, where it was made.
    """
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    try:  # what a user can get wrong ends with its message alone
        limits, address = Limits(max_mb, max_seconds), Address(host, port)
        noise_manifest = noise_manifest or (DEMO_VOICES if DEMO_VOICES.is_file() else None)
        examples = examples or (DEMO_EXAMPLES if DEMO_EXAMPLES.is_file() else None)
        noises = Noises(read_voices(noise_manifest) if noise_manifest else ())
        clips = choose_examples(examples) if examples else ()
        names = [name.strip() for name in models.split(",") if name.strip()]
        shelf = Shelf(names, lambda name: load_model(name, device))
        serve(shelf, noises, limits, address, clips, _announce)
    except (ValueError, ImportError, OSError) as error:
        print(error, file=sys.stderr)
        sys.exit(2)


def _announce(address: str) -> None:
    print(f"the page is at {address} (Ctrl-C ends it)", flush=True)


if __name__ == "__main__":
    auto_cli(main, as_positional=False)
