"""Eats transcripts; gives token numbers, the text back, and the form in which texts are compared."""
