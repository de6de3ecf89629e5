"""Synthetic talking faces: eats a text, a language and a seed, gives frames and speech in sync (see ``clip.py``)."""
