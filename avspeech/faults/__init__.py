"""Picture faults with severities: occlusion, blur, lost frames, delays and others."""
