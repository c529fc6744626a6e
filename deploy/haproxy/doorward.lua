-- The gate as an action of HAProxy: /etc/haproxy/doorward.lua. HAProxy 2.6 or newer, whose HTTP client this uses.
--
--   http-request lua.doorward BACKEND
--
-- asks a server of that backend, in clear text, whether the request is let in. If it is, the request gets the identity headers
-- and the variable `txn.doorward_allowed`; if not, the client gets the gate's answer. Where there is no answer, or this script
-- fails, HAProxy goes on with its next rule: `haproxy.cfg` refuses every request that lacks the variable.

-- Only what the gate reads.
local REQUEST_HEADERS = {
  "accept",
  "authorization",
  "cookie",
  "doorward-token",
  "origin",
  "purpose",
  "referer",
  "sec-fetch-dest",
  "sec-fetch-mode",
  "sec-fetch-site",
  "sec-purpose",
  "sec-websocket-version",
  "upgrade",
  "x-requested-with",
}

-- Headers of a response that describe its transfer.
local TRANSFER_HEADERS = {
  ["connection"] = true,
  ["content-length"] = true,
  ["date"] = true,
  ["keep-alive"] = true,
  ["transfer-encoding"] = true,
}

-- HAProxy asks four times before it gives up.
local TIMEOUT_MILLISECONDS = 8000

-- Returns a list of HAProxy, which begins at 0, as one of Lua.
local function list(lines)
  local copy = {}
  for index = 0, #lines do
    copy[#copy + 1] = lines[index]
  end
  return copy
end

local function subrequest_headers(txn)
  local headers = {
    ["x-forwarded-method"] = { txn.f:method() },
    ["x-forwarded-host"] = { txn.f:req_fhdr("host") },
    ["x-forwarded-uri"] = { txn.f:pathq() },
    ["x-forwarded-for"] = { txn.f:src() },
  }
  local received = txn.http:req_get_headers()
  for _, name in ipairs(REQUEST_HEADERS) do
    if received[name] then
      headers[name] = list(received[name])
    end
  end
  return headers
end

-- Returns the response of the first server that gives one. Without a reason an error is HAProxy's own: it has none.
local function ask(backend, headers)
  for _, server in pairs(core.backends[backend].servers) do
    local status = server:get_stats().status
    if status == "no check" or status:find("^UP") then
      local url = "http://" .. server:get_addr() .. "/_doorward/auth/traefik"
      local response = core.httpclient():get({ url = url, headers = headers, timeout = TIMEOUT_MILLISECONDS })
      if response.status == 200 or response.headers and response.headers["doorward-reason"] then
        return response
      end
    end
  end
  return nil
end

local function let_in(txn, response)
  for name, lines in pairs(response.headers) do
    if not TRANSFER_HEADERS[name] then
      txn.http:req_set_header(name, lines[0])
    end
  end
  txn:set_var("txn.doorward_allowed", true)
end

local function refuse(txn, response)
  local reply = txn:reply({ status = response.status, body = response.body })
  for name, lines in pairs(response.headers) do
    if not TRANSFER_HEADERS[name] then
      for _, line in ipairs(list(lines)) do
        reply:add_header(name, line)
      end
    end
  end
  txn:done(reply)
end

core.register_action("doorward", { "http-req" }, function(txn, backend)
  local response = ask(backend, subrequest_headers(txn))
  if response and response.status == 200 then
    let_in(txn, response)
  elseif response then
    refuse(txn, response)
  end
end, 1)
