"""What a model is, in lines, and whether it gives text."""

from avspeech.interop import avhubert, whisper_flamingo
from avspeech.models.cluster_predictor import ClusterPredictor
from avspeech.models.files import Model
from avspeech.models.flamingo import Flamingo
from avspeech.models.recognizer import Recognizer
from avspeech.models.whisper import Whisper

LICENSED_SOURCES = ("av_hubert", "av_hubert_seq2seq")
"""``source['model']`` of weights that AV-HuBERT's licence covers."""


def title(network: Model) -> str:
    """Return what a model is, in a few words."""
    if isinstance(network, Flamingo):
        return "Whisper that reads lips (Whisper-Flamingo)"
    if isinstance(network, Whisper):
        return "Whisper, which hears and does not see"
    if isinstance(network, Recognizer):
        return "Audio-visual speech recogniser (AV-HuBERT's encoder)"
    if isinstance(network, ClusterPredictor):
        return "Pre-trained audio-visual encoder (AV-HuBERT), features only"
    return network.kind


def describe(network: Model, training: bool = True) -> list[str]:
    """Return lines about a model: sizes, parameters and, if wanted, the training configuration of an imported file."""
    if isinstance(network, Recognizer | ClusterPredictor):
        return avhubert.describe_model(network) if training else avhubert.describe_sizes(network)
    return whisper_flamingo.describe_model(network) if isinstance(network, Whisper) else [network.kind]


def why_no_text(network: Model) -> str | None:
    """Return why a model gives features but no text, and what to do, in one line; None: it gives text."""
    if isinstance(network, ClusterPredictor):
        return (
            "it was pre-trained to predict units and knows no words: it gives features; fine-tune it with "
            "python -m avspeech.train, or take a fine-tuned one such as avhubert/large_noise_pt_noise_ft_433h"
        )
    if isinstance(network, Recognizer) and not network.gives_text:
        return (
            "its checkpoint came without the dictionary that turns numbers into text: put dict.wrd.txt beside it, or "
            "import it with python -m avspeech.interop.avhubert CHECKPOINT OUT --dictionary dict.wrd.txt"
        )
    return None


def holds_avhubert(network: Model) -> bool:
    """Return whether the weights were imported from AV-HuBERT, wholly or as an encoder of lips."""
    source = network.source or {}
    return source.get("model") in LICENSED_SOURCES or source.get("video_model") is not None
