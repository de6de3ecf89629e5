"""Sides of the crops in pixels, apart from the code that cuts them: models may not load OpenCV."""

MOUTH_SIZE = 96
FACE_SIZE = 112
"""Of the whole faces that published detectors of active speakers take."""
