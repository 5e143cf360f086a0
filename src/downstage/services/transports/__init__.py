"""Ways to reach a service: one file a scheme, found by `register`."""

from downstage.services.transports.transport import Answer, Call, Transport, create, register

__all__ = ["Answer", "Call", "Transport", "create", "register"]
