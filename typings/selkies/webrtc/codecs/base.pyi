from fractions import Fraction

class EncodedPacket:
    def __init__(
        self,
        data: memoryview | bytes,
        pts: int | None = None,
        time_base: Fraction | None = None,
        keyframe: bool = True,
        timing: tuple[int, int, int] | None = None,
        dependency: tuple[int, int | None] | None = None,
        codec: str | None = None,
        anchor: bool = False,
    ) -> None: ...
