"""Model name -> model: files, official releases, the Hugging Face hub, the demo."""
