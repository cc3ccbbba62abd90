"""Code that the whole package shares: files, images, errors, JSON records and processes."""
