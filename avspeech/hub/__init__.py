"""Names of models into models: local files of any kind, official addresses, the Hugging Face hub, the demo."""
