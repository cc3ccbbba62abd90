"""The documentation site: `sphinx-build --fail-on-warning docs build/docs`."""

import re
import textwrap
from typing import Any

from sphinx.application import Sphinx

from pose2seg_ops import __version__

project = "pose2seg_ops"
version = release = __version__
extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.viewcode"]

nb_execution_mode = "cache"  # a tutorial runs when it has changed; an error fails the build
nb_execution_raise_on_error = True
nb_execution_timeout = 300

html_theme = "furo"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_title = f"pose2seg_ops {version}"

myst_heading_anchors = 3
default_role = "literal"  # `x` is code in the docstrings, as it is in Markdown
add_module_names = False
autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
napoleon_use_rtype = False
autodoc_preserve_defaults = True
python_maximum_signature_line_length = 80
toc_object_entries_show_parents = "hide"


def mark_sections(*event: Any) -> None:
    """`name: text`, as pose2seg's docstrings describe arguments, becomes the "Args:" that napoleon reads."""
    lines: list[str] = event[-1]
    paragraphs = "\n".join(lines).split("\n\n")
    for i, paragraph in enumerate(paragraphs):
        if re.match(r"[a-z_]\w*(, \w+)*: ", paragraph):
            paragraphs[i] = "Args:\n" + textwrap.indent(paragraph, "    ")
        elif paragraph.startswith("Source: "):
            paragraphs[i] = ":" + paragraph.replace("\n", "\n    ")
    lines[:] = "\n\n".join(paragraphs).split("\n")


def setup(app: Sphinx) -> None:
    app.connect("autodoc-process-docstring", mark_sections, priority=400)  # before napoleon
