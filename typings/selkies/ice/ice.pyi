"""What we call of selkies.ice."""

from selkies.ice import stun as stun

class Candidate:
    def to_sdp(self) -> str: ...

class StunProtocol: ...

async def server_reflexive_candidate(
    protocol: StunProtocol, stun_server: tuple[str, int]
) -> tuple[Candidate, None]: ...
