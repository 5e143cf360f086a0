"""Applications that ship with Downstage; each folder is one, described by its application.toml.

They stand alone: an application knows nothing of the platform that streams it.
"""

import os

os.environ.setdefault("PYGAME_HIDE_SUPPORT_PROMPT", "1")
