"""`forward.py HOST:PORT=HOST:PORT ...`: passes TCP connections on; says `ready` once it listens."""

import asyncio
import sys


async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while part := await reader.read(65536):
            writer.write(part)
            await writer.drain()
    except OSError:
        pass
    finally:
        writer.close()


async def listen(here: str, there: str) -> None:
    async def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        host, port = there.rsplit(":", 1)
        try:
            onward = await asyncio.open_connection(host, int(port))
        except OSError:
            writer.close()
            return
        await asyncio.gather(pump(reader, onward[1]), pump(onward[0], writer))

    host, port = here.rsplit(":", 1)
    await asyncio.start_server(take, host, int(port))


async def main() -> None:
    for pair in sys.argv[1:]:
        await listen(*pair.split("=", 1))
    print("ready", flush=True)
    await asyncio.Event().wait()


asyncio.run(main())
