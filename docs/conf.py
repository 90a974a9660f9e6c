"""How Sphinx builds these pages: `sphinx-build -W -b html docs docs/_build/html`."""

import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))

import _generate  # noqa: E402

from unbraid import __version__  # noqa: E402

project = "unbraid"
author = "The unbraid authors"
copyright = "The unbraid authors, Apache-2.0"
release = version = __version__

extensions = ["myst_parser"]
myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3
exclude_patterns = ["_build", "_static", "methods/_*"]

html_theme = "pydata_sphinx_theme"
html_title = "unbraid"
html_static_path = ["_static"]
html_css_files = ["style.css"]
html_show_sourcelink = False
html_copy_source = False
html_theme_options = {
    "navbar_align": "left",
    "navbar_end": ["theme-switcher"],
    "header_links_before_dropdown": 9,
    "secondary_sidebar_items": ["page-toc"],
    "show_prev_next": True,
    "footer_start": ["copyright"],
    "footer_end": [],
}
html_sidebars = {path.stem: [] for path in HERE.glob("*.md")}  # only methods have pages below them


def setup(_app: object) -> None:
    """Write the pages that come from the catalog and the registry before Sphinx looks for pages."""
    _generate.write(HERE / "methods")
