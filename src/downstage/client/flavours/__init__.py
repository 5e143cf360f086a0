"""Each operation as a blocking function, a coroutine and with a callback; made by a tool."""
