"""What we call of selkies.ice."""

import enum

from selkies.ice import stun as stun

class Candidate:
    def to_sdp(self) -> str: ...

class StunProtocol: ...

class CandidatePair:
    class State(enum.Enum):
        SUCCEEDED = 3

async def server_reflexive_candidate(
    protocol: StunProtocol, stun_server: tuple[str, int]
) -> tuple[Candidate, None]: ...
