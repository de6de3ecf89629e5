"""Face and lips: frames at 25 fps as they come -> ``mouth_THW`` uint8, 96x96, aligned, and how each frame was found."""
