"""The program beside the application: it captures the display and serves the viewers.

`python -m downstage.streamer /path/to/streamer.json` runs one. Standard output carries two lines
for the keeper, ``DISPLAY-READY`` and ``FIRST-PICTURE``; everything else goes to standard error.
"""
