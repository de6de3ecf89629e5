"""The process that holds espeak-ng; ``espeak.py`` starts it by its path and talks to it through pipes.

espeak-ng is GPL-3, so it is never loaded into a process of ours: this program needs only the standard library and
the optional wheel ``espeakng-loader``. espeak-ng is also neither thread-safe nor repeatable: wave state leaks into the
next utterance, and some variants draw noise from a generator seeded by the clock. So this process initialises the
library but never speaks: a fork with a fixed seed answers each request, so the same request gives the same bytes.

Request, one JSON line on stdin: ``{"text", "voice", "rate", "pitch", "range", "gap"}``. Answer on stdout: one JSON
line ``{"rate", "samples", "events"}`` (or ``{"error"}``), then ``samples`` int16 values in native byte order.
``events`` are ``[kind, sample, ipa, text_position]``, kind "word" or "phone"; positions count characters from 1.
"""

import ctypes
import json
import os
import sys
from pathlib import Path
from typing import Any

WORD, PHONEME = 1, 7  # espeak_EVENT_TYPE
SYNCHRONOUS = 2  # AUDIO_OUTPUT_SYNCHRONOUS: no audio device, no thread
PHONEME_EVENTS, PHONEME_IPA, DONT_EXIT = 0x1, 0x2, 0x8000  # espeak_Initialize options
RATE, PITCH, RANGE, WORDGAP = 1, 3, 4, 7  # espeak_PARAMETER
POS_CHARACTER, CHARS_UTF8 = 1, 1


class Event(ctypes.Structure):
    """``espeak_EVENT`` on a 64-bit system, 40 bytes."""

    _fields_ = (
        ("type", ctypes.c_int),
        ("unique_identifier", ctypes.c_uint),
        ("text_position", ctypes.c_int),
        ("length", ctypes.c_int),
        ("audio_position", ctypes.c_int),
        ("sample", ctypes.c_int),
        ("user_data", ctypes.c_void_p),
        ("string", ctypes.c_ubyte * 8),  # a union; eight bytes of IPA without a closing zero when all are used
    )


Callback = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.POINTER(Event))


def load_library() -> tuple[ctypes.CDLL, int, Path]:
    """Return the initialised library, its sample rate and its data folder. RuntimeError if it refuses its data."""
    import espeakng_loader

    library = ctypes.CDLL(espeakng_loader.get_library_path())
    data = Path(espeakng_loader.get_data_path())
    rate = library.espeak_Initialize(SYNCHRONOUS, 0, str(data).encode(), PHONEME_EVENTS | PHONEME_IPA | DONT_EXIT)
    if rate <= 0:
        raise RuntimeError(f"espeak_Initialize gave {rate} for the data folder {data}; reinstall espeakng-loader")
    return library, rate, data


def synthesise(library: ctypes.CDLL, request: dict[str, Any]) -> tuple[list[list], bytes]:
    """Return the events and the int16 samples of one text. Call it once per process."""
    pcm: list[bytes] = []
    events: list[list] = []

    def receive(wave: Any, count: int, list_of_events: Any) -> int:
        if count > 0:
            pcm.append(ctypes.string_at(wave, 2 * count))
        index = 0
        while (event := list_of_events[index]).type != 0:
            if event.type == PHONEME:
                ipa = bytes(event.string).split(b"\0")[0].decode("utf-8", "replace")
                events.append(["phone", event.sample, ipa, event.text_position])
            elif event.type == WORD:
                events.append(["word", event.sample, "", event.text_position])
            index += 1
        return 0

    library.espeak_ng_SetRandSeed(ctypes.c_long(1))  # breath noise of some variants; else seeded by the clock
    callback = Callback(receive)
    library.espeak_SetSynthCallback(callback)
    if status := library.espeak_SetVoiceByName(request["voice"].encode()):
        raise ValueError(f"espeak-ng has no voice {request['voice']!r} (status {status})")
    for parameter, name in ((RATE, "rate"), (PITCH, "pitch"), (RANGE, "range"), (WORDGAP, "gap")):
        library.espeak_SetParameter(parameter, int(request[name]), 0)
    text = request["text"].encode()
    library.espeak_Synth(text, len(text) + 1, 0, POS_CHARACTER, 0, CHARS_UTF8, None, None)
    return events, b"".join(pcm)


def answer(library: ctypes.CDLL, rate: int, data: Path, request: dict[str, Any]) -> bytes:
    """Fork, synthesise in the fork, return its answer; a crash of the library becomes an error answer."""
    read_end, write_end = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(read_end)
        try:
            variant = request["voice"].partition("+")[2]
            if variant and not (data / "voices" / "!v" / variant).is_file():  # espeak itself would fall back silently
                raise ValueError(f"espeak-ng has no variant {variant!r} in {data / 'voices' / '!v'}")
            events, pcm = synthesise(library, request)
            reply = json.dumps({"rate": rate, "samples": len(pcm) // 2, "events": events}).encode() + b"\n" + pcm
        except Exception as error:
            reply = json.dumps({"error": str(error)}).encode() + b"\n"
        with os.fdopen(write_end, "wb") as pipe:
            pipe.write(reply)
        os._exit(0)
    os.close(write_end)
    with os.fdopen(read_end, "rb") as pipe:
        reply = pipe.read()
    _, status = os.waitpid(child, 0)
    if status != 0:
        return json.dumps({"error": f"espeak-ng died with wait status {status}"}).encode() + b"\n"
    return reply


if __name__ == "__main__":
    loaded = load_library()
    for line in sys.stdin.buffer:
        sys.stdout.buffer.write(answer(*loaded, json.loads(line)))
        sys.stdout.buffer.flush()
