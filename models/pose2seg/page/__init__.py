"""One HTML page to look at: photographs, and the masks, skeletons and scores of the people in them."""

from pose2seg.page.writer import Page, page_writer

__all__ = ["Page", "page_writer"]
