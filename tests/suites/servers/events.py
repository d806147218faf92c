"""Keeps what was sent on each stream, so that a client can resume one after its `Last-Event-ID`."""

from mcp.server.streamable_http import EventCallback, EventMessage, EventStore
from mcp.types import JSONRPCMessage


class Events(EventStore):
    """All events of all streams in one list; an event's id is its place."""

    def __init__(self) -> None:
        self.kept: list[tuple[str, JSONRPCMessage | None]] = []

    async def store_event(self, stream_id: str, message: JSONRPCMessage | None) -> str:
        self.kept.append((stream_id, message))
        return str(len(self.kept) - 1)

    async def replay_events_after(self, last_event_id: str, send_callback: EventCallback) -> str | None:
        if not last_event_id.isdigit() or int(last_event_id) >= len(self.kept):
            return None
        last = int(last_event_id)
        stream = self.kept[last][0]
        for place, (of, message) in enumerate(self.kept[last + 1:], start=last + 1):
            # A priming event has no message: it says only where to resume.
            if of == stream and message is not None:
                await send_callback(EventMessage(message, str(place)))
        return stream
