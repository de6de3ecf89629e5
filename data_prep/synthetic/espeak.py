"""Speech with phone and word events from espeak-ng in a child process (``espeak_child.py``).

The same request gives the same samples and events, whatever came before.
"""

import atexit
import importlib.util
import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np


@dataclass(frozen=True)
class Voice:
    """An espeak-ng variant and its settings."""

    variant: str
    """Variant in espeak-ng's ``voices/!v``, such as "m3"."""
    rate: int = 165
    """Words per minute."""
    pitch: int = 50
    """0 to 99."""
    pitch_range: int = 50
    """0 to 99; 0 is monotone."""


@dataclass(frozen=True)
class Event:
    """A word or phone event of espeak-ng."""

    kind: str
    """"word" or "phone"."""
    start_s: float
    """Start sample; for a stop consonant, its burst."""
    ipa: str
    """The phone; "" for a pause or a word."""
    text_position: int
    """Character position in the text, from 0."""


@dataclass(frozen=True)
class Synthesis:
    """Audio and events of one text."""

    pcm: np.ndarray
    """int16, mono, at ``rate``."""
    rate: int
    events: tuple[Event, ...]


class Espeak:
    """One espeak-ng process, a context manager for one thread at a time. ImportError without ``espeakng-loader``."""

    def __init__(self) -> None:
        if importlib.util.find_spec("espeakng_loader") is None:
            mend = "run: pip install 'avspeech[synthetic]'"
            raise ImportError(f"espeak-ng's package espeakng-loader is not installed; {mend}")
        program = Path(__file__).with_name("espeak_child.py")
        command = [sys.executable, "-P", str(program)]  # -P: this folder's modules must not shadow the child's imports
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        atexit.register(self.close)

    def __enter__(self) -> "Espeak":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the process; later calls of ``speak`` fail."""
        if self._process.poll() is None:
            self._process.communicate()  # closing stdin ends the loop in the child
        atexit.unregister(self.close)

    def speak(self, text: str, language: str, voice: Voice) -> Synthesis:
        """Return the audio and events of a text; ``language`` is espeak-ng's name or an ISO 639-1 code.

        ValueError for an unknown language or variant or silent output, RuntimeError if the child has died.
        """
        request = {"text": " ".join(text.split()), "voice": f"{language}+{voice.variant}", "rate": voice.rate}
        request |= {"pitch": voice.pitch, "range": voice.pitch_range, "gap": 0}
        assert self._process.stdin is not None and self._process.stdout is not None
        try:
            self._process.stdin.write(json.dumps(request).encode() + b"\n")
            self._process.stdin.flush()
            line = self._process.stdout.readline()
        except (BrokenPipeError, ValueError) as error:
            raise RuntimeError(f"the espeak-ng process is gone (exit status {self._process.poll()})") from error
        if not line:
            status = self._process.wait()
            raise RuntimeError(f"the espeak-ng process ended (exit status {status}); see its message above")
        reply = json.loads(line)
        if "error" in reply:
            raise ValueError(f"{language!r} {text!r}: {reply['error']}")
        pcm = np.frombuffer(self._process.stdout.read(2 * reply["samples"]), np.int16)
        if not pcm.any():
            raise ValueError(f"espeak-ng gives no sound for {language!r} {text!r}; expected a text with letters")
        rate = reply["rate"]
        events = tuple(Event(kind, at / rate, ipa, position - 1) for kind, at, ipa, position in reply["events"])
        return Synthesis(pcm, rate, events)
