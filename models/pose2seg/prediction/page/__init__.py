"""The report: one HTML page with images, and the masks, skeletons and scores of their people."""

from pose2seg.prediction.page.entry import Entry, make_entry
from pose2seg.prediction.page.writer import Page, page_writer

__all__ = ["Entry", "Page", "make_entry", "page_writer"]
