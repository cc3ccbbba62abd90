"""Evaluation of predicted masks against annotated ones."""
