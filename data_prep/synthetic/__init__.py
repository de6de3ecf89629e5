"""Synthetic talking faces: text, language and seed to synchronous frames and speech (see ``clip.py``)."""
