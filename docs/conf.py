"""The site of docs/: `make docs` builds it without warnings and without the network."""

import logging
import sys
from pathlib import Path

DOCS = Path(__file__).parent
sys.path.insert(0, str(DOCS / "_ext"))
logging.getLogger("faiss").setLevel(logging.WARNING)  # it tells how it was loaded

project = "fmsel"
author = copyright = "The fmsel authors"
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "pages"]
exclude_patterns = ["_build"]
highlight_language = "none"
nitpicky = True

html_theme = "furo"
html_title = "fmsel"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_copy_source = html_show_sourcelink = False
html_show_sphinx = False

myst_heading_anchors = 4
myst_enable_extensions = ["deflist"]

# Docstrings are written in Google style, with names and code in single backticks.
default_role = "literal"
napoleon_numpy_docstring = False
napoleon_use_ivar = True
napoleon_attr_annotations = False  # the signature has the types
napoleon_use_rtype = False
autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
add_module_names = False
python_maximum_signature_line_length = 88

# What other packages document is not linked: their inventories would have to be downloaded.
nitpick_ignore_regex = [(r"py:.*", r"(?!fmsel\.)\w+\..*")]
nitpick_ignore = [("py:class", "Rows")]  # an alias that only type checkers see
