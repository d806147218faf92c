"""How a legacy client learns of changes: unasked, among its notifications."""

import anyio

from peer import HEAR_S_MAX, Peer, Watch


class Heard(Watch):
    """Legacy news come unasked among the notifications."""

    KINDS = {"notifications/resources/updated": "updated", "notifications/tools/list_changed": "tools",
             "notifications/resources/list_changed": "resources"}

    def __init__(self, peer: Peer, tools: bool, resources: bool) -> None:
        self.peer, self.at = peer, len(peer.heard)
        self.wanted = {"updated"} | ({"tools"} if tools else set()) | ({"resources"} if resources else set())

    async def next(self) -> tuple[str, str | None]:
        with anyio.fail_after(HEAR_S_MAX):
            while True:
                while self.at < len(self.peer.heard):
                    method, params = self.peer.heard[self.at]
                    self.at += 1
                    kind = self.KINDS.get(method)
                    if kind in self.wanted:
                        return kind, params.get("uri")
                await self.peer._news.wait()
