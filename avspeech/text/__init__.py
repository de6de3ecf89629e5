"""Transcripts -> token numbers, and back; normalisation for scoring."""
