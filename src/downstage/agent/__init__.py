"""The bridge between gateways and one manager: calls pass through, hints are repeated."""
