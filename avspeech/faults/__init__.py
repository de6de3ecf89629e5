"""Faults of the picture: occlusion, blur, lost frames, delays and others, each in several severities."""
