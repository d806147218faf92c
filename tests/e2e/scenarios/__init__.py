"""The scenarios with SDK clients: each is one function, and its docstring is what it proves.

A scenario is written against views of upstreams (world.py), so it runs behind the gateway and, as
the control, without it. Waits are for an event, with a generous bound that is never the point.
"""

from scenarios import asking, news, offering
from scenarios.registry import Scenario, chosen

__all__ = ["Scenario", "asking", "chosen", "news", "offering"]
