"""How the documentation is built: `make docs`, strict."""

from __future__ import annotations

import downstage

project = "Downstage"
author = "The Downstage founders"
copyright = author
release = version = downstage.__version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["_build"]
myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3
nitpicky = False
suppress_warnings = ["myst.xref_ambiguous"]

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_default_options = {
    "members": True,
    "undoc-members": True,
    "exclude-members": "model_config, model_post_init",
}

html_theme = "furo"
html_title = "Downstage"
html_static_path = list[str]()
html_copy_source = False
html_show_sphinx = False
