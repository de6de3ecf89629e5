"""Eats clean streams and a condition; gives the same with noise at a signal-to-noise ratio, or a faulty picture."""
