"""Decode and encode: a path -> uint8 frames at 25 fps, and ``audio_S``, float32 mono at 16 kHz."""
