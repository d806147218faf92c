"""FastMCP as its manual has it in front of a stdio server: fastmcp_proxy.py PORT COMMAND ARGS…"""

import sys

from fastmcp.client.transports import StdioTransport
from fastmcp.server import create_proxy

port, command, *arguments = sys.argv[1:]
create_proxy(StdioTransport(command, arguments)).run(
    transport="http", host="127.0.0.1", port=int(port), log_level="error", show_banner=False)
