"""The operations themselves: coroutines on the client's loop that raise the platform's errors.

`downstage.client.flavours` is made of their signatures: a change here needs
``python tools/generate_client.py``.
"""
