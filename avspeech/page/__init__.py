"""The page in a browser: an upload and its settings -> a job -> transcripts, videos and scores as HTML; with limits."""
