"""``relay.py HOST PORT TO-HOST TO-PORT [CA CERTIFICATE KEY]``: hands bytes on, behind TLS.

SIGUSR1 cuts all off and lets nobody in, SIGUSR2 lets them in again.
"""

import asyncio
import contextlib
import signal
import ssl
import sys


async def pump(reader, writer):
    with contextlib.suppress(OSError, asyncio.CancelledError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
        if writer.can_write_eof():
            writer.write_eof()


def trust(ca, certificate, key):
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=ca)
    context.load_cert_chain(certificate, key)
    context.verify_mode = ssl.CERT_REQUIRED
    return context


async def main(host, port, to_host, to_port, *files):
    tasks, writers = set(), set()

    async def serve(reader, writer):
        tasks.add(asyncio.current_task())
        writers.add(writer)
        try:
            await join(reader, writer)
        finally:
            writers.discard(writer)
            tasks.discard(asyncio.current_task())

    async def join(reader, writer):
        try:
            there, back = await asyncio.open_connection(to_host, int(to_port))
        except OSError:
            writer.transport.abort()
            return
        up = asyncio.create_task(pump(reader, back))
        await pump(there, writer)
        up.cancel()
        for end in (writer, back):
            end.close()

    context = trust(*files) if files else None
    asked = asyncio.Queue()
    for number, is_open in ((signal.SIGUSR1, False), (signal.SIGUSR2, True)):
        asyncio.get_running_loop().add_signal_handler(number, asked.put_nowait, is_open)
    server = None
    asked.put_nowait(True)
    while True:
        is_open = await asked.get()
        if is_open:
            server = await asyncio.start_server(serve, host, int(port), ssl=context)
        else:
            server.close()
            for writer in list(writers):
                writer.transport.abort()
        print("READY", flush=True)


asyncio.run(main(*sys.argv[1:]))
