"""An exported folder -> text by greedy decoding with onnxruntime and numpy, without torch.

    model = OnnxModel.open("exported")
    texts = model.transcribe(logmel_BAF=..., valid_BA=..., video_BTHW=..., valid_BT=..., languages=["en"])

``config.json`` lists inputs and outputs of the graphs; this file is the example for other programming languages.
"""

import base64
import inspect
import json
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from avspeech.text.tokenizer import Tokenizer

AUDIO, VIDEO = 0, 1  # columns of keep_B2
FORMAT = 1
"""Version of the folder."""
Arrays = dict[str, np.ndarray]


class OnnxModel(ABC):
    """An exported model; ``threads`` is per graph, None: onnxruntime's default.

    Raises ValueError if the folder is no exported model, or onnxruntime is missing.
    """

    def __init__(self, folder: str | Path, threads: int | None = None) -> None:
        try:
            import onnxruntime
        except ImportError as error:
            hint = 'running a graph needs it: pip install "avspeech[export]"'
            raise ValueError(f"onnxruntime is not installed, and {hint}") from error
        self.folder, self.config = Path(folder), read_config(folder)
        self._runtime = onnxruntime
        settings = onnxruntime.SessionOptions()
        settings.intra_op_num_threads = threads or 0
        self.sessions = {
            name: onnxruntime.InferenceSession(self.folder / graph["file"], settings, ["CPUExecutionProvider"])
            for name, graph in self.config["graphs"].items()
        }

    @staticmethod
    def open(folder: str | Path, threads: int | None = None) -> "OnnxModel":
        """Return an ``OnnxWhisper`` or an ``OnnxRecognizer``."""
        kind = OnnxRecognizer if read_config(folder)["kind"] == "recognizer" else OnnxWhisper
        return kind(folder, threads)

    @abstractmethod
    def encode(self, **streams: Any) -> Arrays:
        """Return the memory and its masks by name."""

    @abstractmethod
    def decode(self, memory: Arrays, **options: Any) -> list[list[int]]:
        """Return each utterance's tokens, without prompt and end."""

    @abstractmethod
    def text(self, tokens: Sequence[int]) -> str:
        """Return the text of one utterance's tokens."""

    def transcribe(self, **streams_and_options: Any) -> list[str]:
        """Return each utterance's text; takes arguments of ``encode`` and ``decode``."""
        names = streams_and_options.keys() & inspect.signature(self.decode).parameters.keys()
        options = {name: streams_and_options.pop(name) for name in names}
        return [self.text(tokens) for tokens in self.decode(self.encode(**streams_and_options), **options)]

    def run(self, graph: str, inputs: Mapping[str, Any]) -> dict[str, Any]:
        """Return a graph's outputs by name; ``inputs`` may hold more than it takes."""
        wanted, feeds = self.config["graphs"][graph], {}
        for name, dtype in wanted["inputs"].items():
            feeds[name] = inputs[name]
            if isinstance(feeds[name], np.ndarray):
                feeds[name] = self._runtime.OrtValue.ortvalue_from_numpy(np.ascontiguousarray(feeds[name], dtype))
        outputs = self.sessions[graph].run_with_ort_values(wanted["outputs"], feeds)
        return dict(zip(wanted["outputs"], outputs, strict=True))

    def greedy(
        self,
        decoding: "Decoding",
        prompt_BL: np.ndarray,
        limit_B: np.ndarray,
        banned: Sequence[int],
        banned_at_start: Sequence[int] = (),
    ) -> list[list[int]]:
        """Return each utterance's tokens after ``prompt_BL`` (int64), up to the end token or ``limit_B``."""
        end, fed_BL = self.config["tokens"]["end"], prompt_BL
        rows: list[list[int]] = [[] for _ in prompt_BL]
        done_B = np.zeros(len(rows), bool)
        for step in range(int(limit_B.max())):
            logits_BV = decoding.feed(fed_BL)[:, -1].copy()
            logits_BV[:, list(banned)] = -np.inf
            if step == 0:
                logits_BV[:, list(banned_at_start)] = -np.inf
            next_B = np.where(done_B, end, logits_BV.argmax(axis=1))
            done_B |= (next_B == end) | (step >= limit_B)
            for row in np.flatnonzero(~done_B):
                rows[row].append(int(next_B[row]))
            if done_B.all():
                break
            fed_BL = next_B[:, None]
        return rows

    @staticmethod
    def kept(audio: np.ndarray | None, video: np.ndarray | None, keep_B2: np.ndarray | None) -> np.ndarray:
        """Return ``keep_B2``, False for a stream that is None; ValueError if an utterance has no stream."""
        given = audio if audio is not None else video
        if given is None:
            raise ValueError("audio and video are both None; the model needs at least one stream that it uses")
        keep_B2 = np.ones((len(given), 2), bool) if keep_B2 is None else keep_B2
        keep_B2 = keep_B2 & [audio is not None, video is not None]
        if not keep_B2.any(axis=1).all():
            raise ValueError("an utterance is left without a stream that this model uses; check keep_B2")
        return keep_B2

    def crop(self, video_BTHW: np.ndarray) -> np.ndarray:
        """Return the centre crop of the model's size; ValueError if crops are smaller, or not uint8."""
        size = self.config["sizes"]["video_size"]
        height, width = video_BTHW.shape[2:]
        if video_BTHW.dtype != np.uint8 or min(height, width) < size:
            wanted = f"wanted uint8 of at least {size}x{size}; see avspeech.extract_mouth"
            raise ValueError(f"mouth crops of {video_BTHW.dtype}, {height}x{width} came, {wanted}")
        top, left = (height - size) // 2, (width - size) // 2
        return video_BTHW[:, :, top : top + size, left : left + size]


class Decoding:
    """Keys of the memory and of all tokens so far."""

    def __init__(self, model: OnnxModel, memory: Arrays) -> None:
        self.model, sizes = model, model.config["sizes"]
        self.inputs: dict[str, Any] = memory | model.run("decoder_start", memory)
        self.batch = len(next(iter(memory.values())))
        heads = sizes["text_heads"]
        empty = np.zeros((self.batch, heads, 0, sizes["text_width"] // heads), np.float32)
        names = model.config["graphs"]["decoder_step"]["inputs"]
        self.inputs |= {name: empty for name in names if name.startswith("past_")}

    def feed(self, tokens_BL: np.ndarray) -> np.ndarray:
        """Append tokens; return the logits after each, (B, L, V)."""
        outputs = self.model.run("decoder_step", self.inputs | {"tokens_BL": tokens_BL})
        for name in self.inputs:
            if name.startswith("past_"):
                self.inputs[name] = outputs[name.replace("past_", "all_").replace("BNOE", "BNQE")]
        return outputs["logits_BLV"].numpy()


class OnnxWhisper(OnnxModel):
    """A Whisper or a Flamingo."""

    def __init__(self, folder: str | Path, threads: int | None = None) -> None:
        super().__init__(folder, threads)
        pieces = json.loads((self.folder / "tokens.json").read_text(encoding="utf-8"))
        self.pieces = [base64.b64decode(piece) for piece in pieces]
        self.has_video = self.config["kind"] == "flamingo"

    def encode(
        self,
        logmel_BAF: np.ndarray | None = None,
        valid_BA: np.ndarray | None = None,
        video_BTHW: np.ndarray | None = None,
        valid_BT: np.ndarray | None = None,
        keep_B2: np.ndarray | None = None,
    ) -> Arrays:
        """Return the memory and its masks; ValueError if an utterance has no stream or the crops are too small.

        ``logmel_BAF`` is float32 at 100 Hz (``avspeech.features.logmel``), ``video_BTHW`` uint8 mouth crops at 25 Hz;
        None: no such stream. ``valid_BA`` and ``valid_BT`` are True for real frames, ``keep_B2`` (audio, video) for
        streams to use; None: all.
        """
        keep_B2 = self.kept(logmel_BAF, video_BTHW if self.has_video else None, keep_B2)
        batch, sizes = len(keep_B2), self.config["sizes"]
        audio_B, video_B = keep_B2[:, AUDIO], keep_B2[:, VIDEO]
        if logmel_BAF is not None and audio_B.any():
            valid_BA = np.ones(logmel_BAF.shape[:2], bool) if valid_BA is None else valid_BA
            audio = self.run("audio_encoder", {"logmel_BAF": logmel_BAF, "valid_BA": valid_BA})
            audio_BPD, valid_BP = audio["audio_BPD"].numpy(), audio["valid_BP"].numpy()
        else:  # attention over zeros is the same however many there are
            audio_BPD = np.zeros((batch, 1, sizes["audio_width"]), np.float32)
            valid_BP = np.ones((batch, 1), bool)
        memory = {"audio_BPD": np.where(audio_B[:, None, None], audio_BPD, 0), "valid_BP": valid_BP | ~audio_B[:, None]}
        if not self.has_video:
            return memory
        if video_BTHW is not None and video_B.any():
            valid_BT = np.ones(video_BTHW.shape[:2], bool) if valid_BT is None else valid_BT
            video = self.run("video_encoder", {"video_BTHW": self.crop(video_BTHW), "valid_BT": valid_BT})
            video_BTD = video["video_BTD"].numpy()
        else:
            video_BTD = np.zeros((batch, 1, sizes["text_width"]), np.float32)
            valid_BT = np.ones((batch, 1), bool)
        return memory | {
            "video_BTD": np.where(video_B[:, None, None], video_BTD, 0),
            "valid_BT": valid_BT | sizes["official_padding"],
            "has_video_B": video_B | sizes["zero_dropped_video"],
        }

    def decode(
        self, memory: Arrays, languages: Sequence[str] | None = None, max_tokens: int | None = None
    ) -> list[list[int]]:
        """Return each utterance's tokens by Whisper's rules for untimed text; ValueError for unknown languages.

        ``languages`` are ISO 639-1 codes, None: detected; ``max_tokens`` None is half of the model's text positions.
        """
        tokens, positions = self.config["tokens"], self.config["sizes"]["text_positions"]
        decoding = Decoding(self, memory)
        prompt_BL = self._prompts(decoding, languages)
        fed = prompt_BL.shape[1] + (languages is None and bool(tokens["languages"]))
        limit = max(1, min(max_tokens or positions // 2, positions + 1 - fed))
        limits_B = np.full(decoding.batch, limit)
        return self.greedy(decoding, prompt_BL, limits_B, tokens["suppressed"], tokens["suppressed_at_start"])

    def detect_languages(self, memory: Arrays) -> list[str]:
        """Return each utterance's likeliest language; ``en`` for an English-only model."""
        if not self.config["tokens"]["languages"]:
            return ["en"] * len(memory["audio_BPD"])
        return self._likeliest(Decoding(self, memory))

    def _likeliest(self, decoding: Decoding) -> list[str]:
        names, numbers = zip(*self.config["tokens"]["languages"].items(), strict=True)
        logits_BV = decoding.feed(np.full((decoding.batch, 1), self.config["tokens"]["start"]))[:, -1]
        return [names[best] for best in logits_BV[:, numbers].argmax(axis=1)]

    def _prompts(self, decoding: Decoding, languages: Sequence[str] | None) -> np.ndarray:
        """Return the prompt; for detected languages, without the start token, which is fed here."""
        tokens = self.config["tokens"]
        if not tokens["languages"]:
            return np.tile([tokens["start"], tokens["no_timestamps"]], (decoding.batch, 1))
        first = [] if languages is None else [tokens["start"]]
        languages = self._likeliest(decoding) if languages is None else languages
        if unknown := sorted(set(languages) - set(tokens["languages"])):
            raise ValueError(
                f"languages {', '.join(unknown)} are not this model's; see tokens.languages in config.json"
            )
        rest = (tokens["transcribe"], tokens["no_timestamps"])
        return np.array([[*first, tokens["languages"][language], *rest] for language in languages])

    def text(self, tokens: Sequence[int]) -> str:
        """Return the text without prompt, end and times."""
        found = b"".join(self.pieces[token] for token in tokens if token < len(self.pieces))
        return found.decode("utf-8", errors="replace").strip()


class OnnxRecognizer(OnnxModel):
    """A recogniser: CTC, a text decoder, or both."""

    def encode(
        self,
        audio_BTF: np.ndarray | None = None,
        video_BTHW: np.ndarray | None = None,
        valid_BT: np.ndarray | None = None,
        keep_B2: np.ndarray | None = None,
    ) -> Arrays:
        """Return the memory, its mask and any CTC logits; ValueError if an utterance has no stream.

        ``audio_BTF`` are float32 stacked filterbanks (``avspeech.features.logfbank``), ``video_BTHW`` uint8 mouth
        crops, as many frames; None: no such stream. ``valid_BT`` and ``keep_B2`` are those of ``OnnxWhisper.encode``.
        """
        keep_B2 = self.kept(audio_BTF, video_BTHW, keep_B2)
        shape = next(stream.shape[:2] for stream in (audio_BTF, video_BTHW) if stream is not None)
        sizes, size = self.config["sizes"], self.config["sizes"]["video_size"]
        streams = {
            "audio_BTF": np.zeros((*shape, sizes["audio_features"])) if audio_BTF is None else audio_BTF,
            "video_BTHW": np.zeros((*shape, size, size), np.uint8) if video_BTHW is None else self.crop(video_BTHW),
            "valid_BT": np.ones(shape, bool) if valid_BT is None else valid_BT,
            "keep_B2": keep_B2,
        }
        outputs = {name: value.numpy() for name, value in self.run("encoder", streams).items()}
        return outputs | {"valid_BT": streams["valid_BT"]}

    def decode(self, memory: Arrays, method: str | None = None, max_tokens: int | None = None) -> list[list[int]]:
        """Return each utterance's tokens; ValueError if the model lacks the method's head.

        ``method`` is ``ctc`` (best path) or ``attention`` (text decoder, the default if there is one);
        ``max_tokens`` is of ``attention``, None: one per frame, at least 10.
        """
        can = {"attention": "decoder_step" in self.sessions, "ctc": "ctc_logits_BUV" in memory}
        method = method or next(name for name, possible in can.items() if possible)
        if not can.get(method):
            known = ", ".join(name for name, possible in can.items() if possible)
            raise ValueError(f"method {method!r} came, this model decodes with {known}")
        return self._best_path(memory) if method == "ctc" else self._next_tokens(memory, max_tokens)

    def _best_path(self, memory: Arrays) -> list[list[int]]:
        blank = self.config["tokens"]["blank"]
        valid_BU = memory["valid_BT"].repeat(self.config["sizes"]["ctc_upsample"], axis=1)
        labels_BU = np.where(valid_BU, memory["ctc_logits_BUV"].argmax(axis=2), blank)
        changes_BU = np.diff(labels_BU, axis=1, prepend=blank) != 0
        rows = zip(labels_BU, changes_BU & (labels_BU != blank), strict=True)
        return [labels_U[chosen_U].tolist() for labels_U, chosen_U in rows]

    def _next_tokens(self, memory: Arrays, max_tokens: int | None) -> list[list[int]]:
        tokens, decoding = self.config["tokens"], Decoding(self, memory)
        frames_B = memory["valid_BT"].sum(axis=1)
        limit_B = np.maximum(10, frames_B) if max_tokens is None else np.full(decoding.batch, max_tokens)
        return self.greedy(decoding, np.full((decoding.batch, 1), tokens["begin"]), limit_B, [tokens["pad"]])

    def text(self, tokens: Sequence[int]) -> str:
        """Return the text; ValueError without a tokenizer."""
        if self.config["tokenizer"] is None:
            raise ValueError(f"{self.folder} carries no tokenizer, so it gives tokens and no text; see decode")
        return Tokenizer.from_config(self.config["tokenizer"]).decode(tokens)


def read_config(folder: str | Path) -> dict[str, Any]:
    """Return a folder's ``config.json``; ValueError if it is no export, or of a later format."""
    path = Path(folder) / "config.json"
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
        found = config["format"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{folder} is no exported model ({error}); make one with python -m avspeech.export") from error
    if found != FORMAT:
        raise ValueError(f"{folder} has format {found}, this version reads {FORMAT}; update avspeech")
    return config
