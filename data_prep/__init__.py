"""Scripts that make training data from raw media: manifests, mouth clips, features, units, tokenizers."""
