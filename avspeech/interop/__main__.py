"""Official checkpoint -> model file, and back.

python -m avspeech.interop base_vox_iter5.pt base_vox_iter5.safetensors
python -m avspeech.interop small.safetensors back.pt
"""

import sys
from pathlib import Path

from jsonargparse import auto_cli

from avspeech.interop.official_files import WhisperLayout, export_official, import_official
from avspeech.interop.whisper import ALIASES, SHA256, download_whisper
from avspeech.interop.whisper_flamingo_keys import Variant
from avspeech.models.files import load_model, save_model


def main(
    source: str,
    target: Path,
    dictionary: Path | None = None,
    sentencepiece: Path | None = None,
    official_padding: bool | None = None,
    audio_heads: int | None = None,
    text_heads: int | None = None,
    video_heads: int | None = None,
    layout: WhisperLayout | None = None,
    variant: Variant | None = None,
    half: bool | None = None,
) -> None:
    """Convert a model to its project's layout or ours, by the target's ending.

    Args:
        source: an official checkpoint, OpenAI's name of a Whisper (tiny ... large-v3, turbo), or a model file.
        target: .safetensors for a model file, .pt for an official checkpoint.
        dictionary: dict.wrd.txt of a fine-tuned AV-HuBERT; null: in the file or beside it.
        sentencepiece: sentencepiece model of a fine-tuned AV-HuBERT.
        official_padding: let a Whisper attend to batch padding, as OpenAI's code does.
        audio_heads: attention heads of a Whisper-Flamingo's audio encoder; null: by width, as in the released models.
        text_heads: attention heads of its decoder; null: by width.
        video_heads: attention heads of its video encoder; null: by width.
        layout: of the .pt file; null: Whisper-Flamingo's for a Flamingo or its weights, else OpenAI's (no video).
        variant: kind of AV-HuBERT in a Whisper-Flamingo checkpoint; null: as in the imported file.
        half: write float16 weights to the .pt file; null: for OpenAI's layout only.
    """
    reading = {"dictionary": dictionary, "sentencepiece": sentencepiece, "official_padding": official_padding}
    reading |= {"audio_heads": audio_heads, "text_heads": text_heads, "video_heads": video_heads}
    try:
        if target.suffix not in (".safetensors", ".pt"):
            raise ValueError(f"{target} must end in .safetensors (our model file) or .pt (an official checkpoint)")
        if source.endswith(".safetensors"):
            if target.suffix != ".pt" or any(value is not None for value in reading.values()):
                raise ValueError(f"{source} is a model file; wanted a .pt target and no option of reading a checkpoint")
            export_official(load_model(source), target, layout, variant, half)
            print(f"official checkpoint: {target}")
            return
        if target.suffix != ".safetensors" or any(value is not None for value in (layout, variant, half)):
            raise ValueError(f"{source} is no model file; wanted a .safetensors target and no option of writing a .pt")
        name = ALIASES.get(source, source)
        path = download_whisper(name) if name in SHA256 else Path(source)
        imported = import_official(path, name=name if name in SHA256 else None, **reading)
        save_model(target, imported.model)
    except (ValueError, OSError) as error:
        sys.exit(str(error))
    print("\n".join(imported.model.describe()))
    for key, fate in imported.dropped.items():
        print(f"{key}: {fate}")
    print(f"model file: {target}")


if __name__ == "__main__":
    auto_cli(main)
