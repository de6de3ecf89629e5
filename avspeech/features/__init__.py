"""``audio_S`` and mouth crops -> filterbanks, log-mel, MFCCs and normalised 88x88 crops."""
