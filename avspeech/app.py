"""Serve a page that transcribes videos with and without their picture, in added noise.

    python -m avspeech.app --models demo

Needs ``pip install "avspeech[app]"``. The page loads nothing from other servers, and deletes uploads when their tab is
closed.
"""

import logging
import sys
from pathlib import Path

from jsonargparse import auto_cli

from avspeech.hub.names import demo_run
from avspeech.noise.spec import NoiseSpec
from avspeech.page.job import Limits
from avspeech.page.layout import Shelf, choose_examples
from avspeech.page.noises import Noises
from avspeech.page.serving import serve
from avspeech.transcription.speech_model import load_model


def main(
    models: str = "demo",
    host: str = "127.0.0.1",
    port: int = 7860,
    max_mb: float = 200.0,
    max_seconds: float = 120.0,
    device: str = "cpu",
    noise_manifest: Path | None = None,
    noises: dict[str, NoiseSpec] | None = None,
    examples: Path | None = None,
) -> None:
    """Serve the page until Ctrl-C.

    Args:
        models: names or paths of models to choose from, separated by commas.
        host: address to listen at; 0.0.0.0 opens the page to the network.
        port: TCP port.
        max_mb: largest upload in millions of bytes.
        max_seconds: longest video in seconds.
        device: device of the models.
        noise_manifest: manifest of voices for babble; null: the demo's, if it exists.
        noises: other noises by name, as in a conditions YAML.
        examples: manifest of example clips; null: the demo's, if it exists.
    """
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    try:
        limits = Limits(max_mb, max_seconds)
        noise_manifest = noise_manifest or _of_demo("corpus/babble_test.jsonl")
        examples = examples or _of_demo("test.jsonl")
        babble = {"babble": NoiseSpec("babble", noise_manifest)} if noise_manifest else {}
        offered = Noises(babble | (noises or {}))
        clips = choose_examples(examples) if examples else ()
        names = [name.strip() for name in models.split(",") if name.strip()]
        shelf = Shelf(names, lambda name: load_model(name, device))
        serve(shelf, offered, limits, host, port, clips, _announce)
    except (ValueError, ImportError, OSError) as error:
        print(error, file=sys.stderr)
        sys.exit(2)


def _of_demo(name: str) -> Path | None:
    path = demo_run() / name
    return path if path.is_file() else None


def _announce(address: str) -> None:
    print(f"the page is at {address} (Ctrl-C ends it)", flush=True)


if __name__ == "__main__":
    auto_cli(main, as_positional=False)
