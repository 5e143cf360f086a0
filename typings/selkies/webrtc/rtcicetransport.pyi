from typing import Any

from selkies.ice.ice import Candidate

class RTCIceCandidate:
    sdpMid: str | None
    sdpMLineIndex: int | None

class RTCIceGatherer:
    _connection: Any

class RTCIceTransport:
    iceGatherer: RTCIceGatherer

def candidate_to_aioice(x: RTCIceCandidate) -> Candidate: ...
