"""The ``omniverse://`` wire: discovery, sign-in, commands and large bodies, all on our one port."""
