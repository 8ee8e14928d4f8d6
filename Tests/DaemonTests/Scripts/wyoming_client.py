"""A Wyoming client by the protocol's own Python package: plays a recording of 16 kHz s16 mono and prints the events that come back, one JSON line each.

wyoming_client.py URI FILE [--rate HZ] [--channels N] [--detect NAME]... [--chunk SAMPLES] [--describe]
"""
import argparse
import asyncio
import json

from wyoming.audio import AudioChunk, AudioStart, AudioStop
from wyoming.client import AsyncClient
from wyoming.error import Error
from wyoming.info import Describe, Info
from wyoming.ping import Ping, Pong
from wyoming.vad import VoiceStarted, VoiceStopped
from wyoming.wake import Detect, Detection, NotDetected


def show(event):
    for kind in (VoiceStarted, VoiceStopped, Detection, NotDetected, Info, Pong, Error):
        if kind.is_type(event.type):
            print(json.dumps({"type": event.type, **kind.from_event(event).event().data}), flush=True)
            return
    print(json.dumps({"type": event.type}), flush=True)


async def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("uri")
    parser.add_argument("file")
    parser.add_argument("--rate", type=int, default=16000)
    parser.add_argument("--channels", type=int, default=1)
    parser.add_argument("--chunk", type=int, default=1024)
    parser.add_argument("--timestamp", type=int, default=0)
    parser.add_argument("--detect", action="append")
    parser.add_argument("--describe", action="store_true")
    arguments = parser.parse_args()
    audio = open(arguments.file, "rb").read()
    # Every sample as often as rate and channels ask: what is converted back is the recording again.
    repeats = arguments.rate // 16000 * arguments.channels
    samples = (audio[at : at + 2] * repeats for at in range(0, len(audio), 2))
    wide = audio if repeats == 1 else b"".join(samples)
    form = {"rate": arguments.rate, "width": 2, "channels": arguments.channels}
    size = arguments.chunk * 2 * arguments.channels
    async with AsyncClient.from_uri(arguments.uri) as client:
        if arguments.describe:
            await client.write_event(Describe().event())
            await client.write_event(Ping("still there").event())
            for _ in range(2):
                show(await client.read_event())
        if arguments.detect is not None:
            await client.write_event(Detect([name for name in arguments.detect if name] or None).event())

        async def read():
            while (event := await client.read_event()) is not None:
                show(event)
                if Error.is_type(event.type) or (Pong.is_type(event.type) and Pong.from_event(event).text == "over"):
                    return

        reader = asyncio.create_task(read())
        await client.write_event(AudioStart(**form, timestamp=arguments.timestamp).event())
        for at in range(0, len(wide), size):
            await client.write_event(AudioChunk(**form, audio=wide[at : at + size]).event())
        await client.write_event(AudioStop().event())
        # The answer to a ping comes behind everything that the audio brought.
        await client.write_event(Ping("over").event())
        await asyncio.wait_for(reader, timeout=60)


asyncio.run(main())
