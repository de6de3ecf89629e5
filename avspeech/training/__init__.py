"""Everything above in, a model file out; only this stage and `train.py` know Lightning."""
