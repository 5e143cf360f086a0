"""HLS out of encoded or plain pictures: fragments, segments with parts, playlists.

`images` and `sound` encode (PyAV), `h264` reads what others encoded, `boxes` writes the
fragments, `cutter` says where a part and a segment end, `window` keeps the last minute of them,
`playlist` writes it down. Nothing here knows streams, requests or rights.
"""

from __future__ import annotations
