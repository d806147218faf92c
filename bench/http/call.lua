-- `tools/call` of the built-in echo for wrk: ERA=legacy|modern. A legacy connection shares one session, opened
-- before by bench/http/run and named by SESSION.
local legacy = os.getenv("ERA") == "legacy"
wrk.method = "POST"
wrk.headers["Accept"] = "application/json, text/event-stream"
wrk.headers["Content-Type"] = "application/json"
local meta = ""
if legacy then
  wrk.headers["Mcp-Session-Id"] = os.getenv("SESSION")
  wrk.headers["MCP-Protocol-Version"] = "2025-11-25"
else
  wrk.headers["MCP-Protocol-Version"] = "2026-07-28"
  wrk.headers["Mcp-Method"] = "tools/call"
  wrk.headers["Mcp-Name"] = "echo"
  meta = ',"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{}}'
end
wrk.body = '{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"echo","arguments":{"message":"hi"}' .. meta .. '}}'
