"""Eats feature vectors; gives a k-means codebook, ``units_T`` and how much they tell about words."""
