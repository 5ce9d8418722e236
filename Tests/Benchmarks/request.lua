-- One request for wrk to repeat: METHOD, BODY and HEADERS ("Name: value" lines) come from the environment.
wrk.method = os.getenv("METHOD") or "GET"
local body = os.getenv("BODY")
if body then
  wrk.body = body
  wrk.headers["Content-Type"] = "application/json"
end
for line in (os.getenv("HEADERS") or ""):gmatch("[^\n]+") do
  local name, value = line:match("^([^:]+):%s*(.*)$")
  wrk.headers[name] = value
end
