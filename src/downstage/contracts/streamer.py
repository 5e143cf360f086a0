"""What streamer, gateway, keeper and viewer say to each other around one instance.

Files of an instance, in its folder ``<data>/run/i-<id>/`` (mode 0700):

===================  ==========================================================================
``streamer.json``    StreamerConfig, mode 0600 (it holds the instance token)
``media.sock``       the streamer serves WebSocket ``/media`` here; the gateway relays to it
``keeper.sock``      the keeper's control socket, JSON lines; see `downstage.spawners`
``app/``             what the application may see: its token file, its own runtime dir
``channels/``        data channels, see `downstage.contracts.channels`; the application looks in
===================  ==========================================================================

**Link** (WebSocket ``/v1/instances/{id}/link`` at the gateway; the streamer dials and redials
for ever with back-off up to 1 s; JSON objects, at most 64 KiB):

=====================  ===========  ===========================================================
type                   direction    content
=====================  ===========  ===========================================================
``beat``               both         nothing. A gateway says it twice a second, a streamer answers
                                    it: who then says nothing for more than a second or two is
                                    cut off, and the line is given up
``hello``              to gateway   ``instance_id``, ``session_id``, ``peers``: ids of the peers
                                    that still live (a gateway that restarted adopts them)
``ready``              to gateway   first picture captured: ``width height encoder audio``;
                                    ``encoder_reason``, ``audio_reason`` or null
``status``             to gateway   once a second while it changes: ``fps kbps viewers
                                    last_input_s encoder width height``
``peer.open``          to streamer  ``peer role transport=webrtc width height ice_servers``
``peer.signal``        both         ``peer``, ``payload``: offer | answer | candidate message
``peer.restart``       to streamer  ``peer``
``peer.release``       to streamer  ``peer``: its page is gone: let go of what it holds
``peer.close``         both         ``peer``, ``reason``
``peer.connected``     to gateway   ``peer``: media flows
``peer.disconnected``  to gateway   ``peer``, ``reason``: the path broke; resume may follow
``streams.push``       to streamer  ``seconds``: push picture and sound as streams for so long
                                    (0: stop); ``url`` of the streams service, or null: where
                                    this line goes; see `downstage.contracts.video`
``media.dial``         to streamer  ``relay peer role``: its media socket cannot be reached from
                                    there; dial WebSocket ``/v1/relays/{instance}/{relay}`` and
                                    serve there what ``/media`` serves
``fault``              to gateway   ``code``, ``detail``: it is about to give up
``end``                to streamer  ``reason``: tell viewers and stop
=====================  ===========  ===========================================================

**Media** (WebSocket ``/media`` on ``media.sock``; query ``peer``, ``role``; relayed by the
gateway byte for byte). To the browser, binary: `MEDIA_HEADER` then payload; text: control
messages. To the server, text: input messages.

**Input messages** (data channels ``input`` (ordered) and ``pointer`` (unordered, no
retransmits), and text on the media socket): JSON arrays, at most 4 KiB, first item names it:

==========================  ===================================================================
message                     meaning
==========================  ===================================================================
``["m", x, y]``             pointer, 0..1 of the picture
``["r", dx, dy]``           relative pointer, pixels
``["b", button, down]``     DOM button 0..4
``["w", dx, dy]``           wheel, CSS pixels
``["k", code, down]``       ``KeyboardEvent.code``
``["x", text]``             typed text (IME)
``["t", id, phase, x, y]``  touch, phase 0 start 1 move 2 end
``["u"]``                   release everything held (blur)
``["z", width, height]``    the viewer's size in device pixels: the picture follows
``["a", sequence]``         media socket: newest picture received, at least 10 a second
``["p", n]``                ping, answered ``["p", n]``
``["i"]``                   asks for a key frame
``["v", visible]``          1/0: the page is shown or hidden (hidden: video pauses)
==========================  ===================================================================

Further data channels that a viewer makes are the application's. Viewers of other dialects make
every channel themselves: see `downstage.contracts.anbox`.

**Control messages** (back on ``input`` or as text on the media socket): JSON arrays

==========================  ===================================================================
message                     meaning
==========================  ===================================================================
``["s", {…}]``              stream: ``width height fps codec encoder audio audio_reason
                            encoder_reason kbps beat_ms``; sent at start and when it changes
``["c", {…}]``              cursor: ``{"css": "none"|"default"}`` or
                            ``{"png": base64, "x", "y"}``
``["n", code]``             an input was refused, for example ``not-controller``
``["p", n]``                pong; on the media socket ``["p", 0]`` is a beat: nothing else was
                            said for ``beat_ms``, so that silence can be told from a still picture
``["e", reason]``           the end
==========================  ===================================================================
"""

from __future__ import annotations

import struct

from pydantic import Field, SecretStr

from downstage.contracts.manager import Display
from downstage.contracts.wire import Request

__all__ = [
    "AUDIO",
    "KEY_FRAME",
    "MAX_INPUT",
    "MAX_TO_BROWSER",
    "MAX_TO_SERVER",
    "MEDIA_BEAT_MS",
    "MEDIA_HEADER",
    "VIDEO",
    "StreamerConfig",
]

MEDIA_HEADER = struct.Struct("<BBHId")
"""kind (`VIDEO` | `AUDIO`), flags (`KEY_FRAME`), reserved 0, sequence, capture wall time ms."""

VIDEO, AUDIO = 1, 2
KEY_FRAME = 1
MEDIA_BEAT_MS = 500
"""A media socket brings something at least this often."""
MAX_TO_SERVER = 64 * 1024
MAX_TO_BROWSER = 8 * 1024 * 1024
MAX_INPUT = 4096


class StreamerConfig(Request):
    """All a streamer needs to know; from the spawner, read anew on SIGHUP without a session."""

    instance_id: str
    session_id: str | None = None
    """None: nobody's yet; the streamer waits, and reads this file again on SIGHUP."""
    instance_token: SecretStr | None = None
    link_url: str | None = None
    """``unix:///path/to/platform.sock`` or ``http(s)://host[:port]``."""
    link_urls: list[str] = Field(default_factory=list)
    """Further gateways, dialled in turn when the one before does not answer."""
    channels: str | None = None
    """Folder of the unix sockets by which data channels reach the application."""
    channel_names: list[str] = Field(default_factory=list)
    """Data channels that the application declares: their sockets are there from the start."""
    link_ca: str | None = None
    largest: tuple[int, int] | None = None
    """Width and height that no picture exceeds: the profile's. A larger one is asked down to it."""
    media_socket: str
    display_kind: str
    """``wayland`` (the streamer is the compositor) or ``x11``."""
    x_display: str | None = None
    """``:N`` where x11; its cookie comes by the environment's XAUTHORITY."""
    wayland_socket: str | None = None
    """Where wayland: the path at which the application will find the compositor's socket."""
    pulse_server: str | None = None
    """``unix:/path`` of the instance's own PulseAudio server, or None: no sound."""
    audio_reason: str | None = None
    display: Display = Display()
    encoder: str = "auto"
    bitrate_kbps: int = Field(default=8000, ge=100, le=200_000)
    udp_ports: tuple[int, int] | None = None
    public_ip: str | None = None
    ice_servers: list[dict[str, str]] = Field(default_factory=list[dict[str, str]])

    @property
    def bearer(self) -> str:
        """The instance token as it is shown; empty while the instance is nobody's."""
        return self.instance_token.get_secret_value() if self.instance_token else ""
