"""One module per corpus: eats its files as they are published (or a seed), gives manifests."""
