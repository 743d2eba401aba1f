"""A caller of a real LiveKit, by its own SDK: talk.py HOST:PORT KEY SECRET ROOM NAME

He says something ten times a second by the way that his media takes, and prints what
happens to him, each with its time: connected, heard, reconnecting, lost. Once he is lost
he calls again.
"""
import asyncio
import sys
import time

from livekit import api, rtc

at, key, secret, room, name = sys.argv[1:]


def say(*words):
    print("%.3f" % time.time(), *words, flush=True)


def token():
    grants = api.VideoGrants(room_join=True, room=room)
    return api.AccessToken(key, secret).with_identity(name).with_grants(grants).to_jwt()


async def call():
    # The room is made first, as what stands before LiveKit does (auto_create: false).
    asks = api.LiveKitAPI("http://" + at, key, secret)
    try:
        await asyncio.wait_for(asks.room.create_room(api.CreateRoomRequest(name=room)), 2)
    finally:
        await asks.aclose()
    here, lost = rtc.Room(), asyncio.Event()
    here.on("data_received", lambda packet: say("heard"))
    here.on("reconnecting", lambda: say("reconnecting"))
    here.on("reconnected", lambda: say("reconnected"))
    here.on("disconnected", lambda *why: lost.set())
    await asyncio.wait_for(here.connect("ws://" + at, token()), 10)
    say("connected")
    while not lost.is_set():
        try:
            await asyncio.wait_for(here.local_participant.publish_data(b"x", reliable=False), 1)
        except Exception:
            pass  # He hears that he is lost
        await asyncio.sleep(0.1)
    say("lost")


async def main():
    while True:
        try:
            await call()
        except Exception as e:
            say("failed", type(e).__name__, str(e)[:100])
        await asyncio.sleep(0.2)


asyncio.run(main())
