"""Eats clean audio and a condition; gives the same audio with noise at a signal-to-noise ratio."""
