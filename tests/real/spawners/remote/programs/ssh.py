"""Stands for OpenSSH where its server is not installed: forwards as ``-L`` says.

The host is not looked at, so it must be one of this machine.
"""

import asyncio
import contextlib
import sys


async def pump(reader, writer):
    with contextlib.suppress(OSError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
        writer.write_eof()


async def main(arguments):
    options = {arguments[at + 1] for at, word in enumerate(arguments) if word == "-o"}
    if not {"BatchMode=yes", "StrictHostKeyChecking=yes"} <= options:
        sys.exit("it would ask somebody")
    if arguments[-1] == "unknown.test":
        sys.exit("Host key verification failed.")
    ours, theirs = arguments[arguments.index("-L") + 1].split(":")
    tasks = set()

    async def serve(reader, writer):
        tasks.add(asyncio.current_task())
        there, back = await asyncio.open_unix_connection(theirs)
        up = asyncio.create_task(pump(reader, back))
        await pump(there, writer)
        up.cancel()
        for end in (writer, back):
            end.close()
        tasks.discard(asyncio.current_task())

    async with await asyncio.start_unix_server(serve, ours) as server:
        await server.serve_forever()


asyncio.run(main(sys.argv[1:]))
