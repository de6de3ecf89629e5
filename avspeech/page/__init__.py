"""The browser page: an upload and its settings -> a job -> transcripts, videos and scores as HTML."""
