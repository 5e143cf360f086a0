"""Viewers that speak the Anbox way: their data channels, their control messages, their offers.

The gateway speaks that dialect's signalling; `downstage.contracts.anbox` says what it tells us.
"""
