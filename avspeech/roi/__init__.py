"""Faces and mouth crops: frames at 25 fps -> ``mouth_THW`` uint8, 96x96, aligned, and a status per frame."""
