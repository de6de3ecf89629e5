"""Eats ``audio_S`` and lip clips; gives filterbanks, MFCCs and normalised 88x88 clips."""
