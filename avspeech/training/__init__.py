"""LightningModules, data module and callbacks; only this folder and `train.py` use Lightning."""
