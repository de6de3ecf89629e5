"""List the names of models: ``python -m avspeech.hub``."""

from avspeech.hub.names import DEMO_MODELS
from avspeech.hub.official import RELEASES
from avspeech.interop.whisper import ALIASES, SHA256


def main() -> None:
    """Print one line for each name."""
    rows = [(name, f"the model that `make demo` trains ({file})") for name, file in DEMO_MODELS.items()]
    rows += [(name, "OpenAI's Whisper, of audio alone") for name in SHA256]
    rows += [(alias, f"the same as {name}") for alias, name in ALIASES.items()]
    rows += [(name, release.what) for name, release in RELEASES.items()]
    rows += [("owner/name[@revision]", "a model of the Hugging Face hub in our layout")]
    rows += [("path/to/a/file or folder", "a model file, or a checkpoint of AV-HuBERT, Whisper or Whisper-Flamingo")]
    width = max(len(name) for name, _ in rows)
    print("\n".join(f"{name:{width}}  {what}" for name, what in rows))


if __name__ == "__main__":
    main()
