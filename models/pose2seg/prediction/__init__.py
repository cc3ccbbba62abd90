"""Predicting masks from images with poses, and writing them to files."""
