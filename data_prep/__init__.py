"""Scripts that turn raw media into what training eats: corpora and manifests, lip clips, features, units, tokens."""
