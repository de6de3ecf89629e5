"""One module per corpus: published files (or a seed) to manifests."""
