"""avspeech: audio-visual speech recognition in noise.

The folders follow the flow of one utterance; each imports only itself and those above it.

    timebase, sequence   clocks; lengths, masks, padding
    files, manifest      files written whole or not at all; the lines of a data set
    media/               a path                   -> frames at 25 fps, ``audio_S`` at 16 kHz in [-1, 1]
    shards/              mouth crops, sound, text -> tar files with an index, on a disk or behind a URL, and back
    roi/                 frames                   -> ``mouth_THW``, 96x96 grey mouth crops
    features/            ``audio_S``, crops       -> ``fbank_TF`` (104 at 25 Hz), ``logmel_AF``, 88x88 video
    noise/               clean speech             -> speech in noise, drawn or from a frozen plan
    faults/              clean video              -> video with a fault of the picture
    text/                a transcript             -> tokens, and text back
    units/               vectors                  -> a k-means codebook, ``units_T``
    inputs               sound, mouth crops       -> ``Sample``, ``AVBatch``, as a model's ``InputSpec`` wants them
    data/                a manifest               -> batches
    models/              a batch                  -> ``memory_BTD``, ``logits_BTK``, ``logits_BLV``
    interop/             an official checkpoint   -> our model with those weights, and back
    hub/                 a name                   -> a model; a model -> a folder to share
    objectives/          logits, targets, masks   -> loss and accuracy
    decoding/            model, memory            -> hypotheses
    transcription/       any video, a model       -> ``Transcript``: segments, words with times, subtitles, preview
    evaluation/          references, hypotheses   -> error rates, intervals, report, comparison, invariants
    training/            everything above         -> a model file
    export/              a model                  -> ONNX graphs and their runtime
    page/                an upload in a browser   -> transcripts
    train, evaluate, transcribe, app, cli
                         commands: ``python -m avspeech.train`` ..., or ``avspeech train`` ...

Tensors carry their axes as a suffix: B utterance, S sample at 16 kHz, A acoustic frame at 100 Hz, T frame at 25 Hz,
F feature, H W pixels, P Whisper position at 50 Hz, D width, N head, L text token, V vocabulary, K unit, J unit set,
M selected positions.
"""

from importlib import import_module
from typing import Any

__version__ = "0.1.0"

_HOME = {
    "read_frames": "avspeech.media.video",
    "read_audio": "avspeech.media.audio",
    "extract_mouth": "avspeech.roi.lips",
    "extract_lips": "avspeech.roi.lips",
    "fbank_TF": "avspeech.features.logfbank",
    "mix_at_snr": "avspeech.noise.mixing",
    "NoisePlan": "avspeech.noise.plan",
    "PlanMixer": "avspeech.noise.plan",
    "degrade_clip": "avspeech.faults.visual",
    "parse_fault": "avspeech.faults.visual",
    "Utterance": "avspeech.manifest",
    "read_manifest": "avspeech.manifest",
    "write_manifest": "avspeech.manifest",
    "load_model": "avspeech.transcription.speech_model",
    "save_model": "avspeech.models.files",
    "SpeechModel": "avspeech.transcription.speech_model",
    "Transcript": "avspeech.transcription.result",
    "push_to_hub": "avspeech.hub.remote",
    "load_official": "avspeech.interop.avhubert",
    "load_whisper": "avspeech.interop.whisper",
    "load_flamingo": "avspeech.interop.whisper_flamingo",
    "DecodingConfig": "avspeech.decoding.config",
    "transcribe_batch": "avspeech.decoding.transcribe",
    "transcribe_whisper": "avspeech.decoding.transcribe",
    "word_times": "avspeech.decoding.word_times",
}


def __getattr__(name: str) -> Any:
    """Import a public function on first use, so that importing the package is cheap."""
    if name in _HOME:
        return getattr(import_module(_HOME[name]), name)
    raise AttributeError(f"module 'avspeech' has no attribute {name!r}")
