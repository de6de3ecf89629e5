"""Evaluation: eats references, hypotheses and conditions; gives the error-rate grid, intervals and a report."""
