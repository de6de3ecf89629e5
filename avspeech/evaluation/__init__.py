"""Evaluation: references, hypotheses and conditions -> error-rate grid, intervals and a report."""
