"""One HTML page to look at: photographs, and the masks, skeletons and scores of the people in them."""

from pose2seg.page.photograph import Entry, make_entry
from pose2seg.page.writer import Page, page_writer

__all__ = ["Entry", "Page", "make_entry", "page_writer"]
