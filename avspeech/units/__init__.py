"""Feature vectors -> a k-means codebook, ``units_T`` and their quality."""
