-- What wrk sends in each scenario, and its numbers as one line of JSON. Called with: scenario, parameters.

local scenarios = {
  get = function(path)
    return wrk.format("GET", path)
  end,
  close = function(path)
    return wrk.format("GET", path, { Connection = "close" })
  end,
  post = function(path, size)
    return wrk.format("POST", path, { ["Content-Type"] = "application/octet-stream" }, string.rep("x", size))
  end,
  bearer = function(path, token)
    return wrk.format("GET", path, { Authorization = "Bearer " .. token })
  end,
  json = function(path, body)
    return wrk.format("POST", path, { ["Content-Type"] = "application/json" }, body)
  end,
}

local prepared, count, turn = {}, 0, 0

function init(args)
  local scenario, path = scenarios[args[1]], args[2]
  -- "%d" in a path stands for a route's number: as many requests are prepared, and sent in turn.
  count = path:find("%%d") and tonumber(args[3]) or 1
  for i = 1, count do
    prepared[i] = scenario(path:gsub("%%d", tostring(i - 1)), args[3])
  end
end

function request()
  -- 389 and 1000 have no common divisor: every route comes, and neighbours do not follow each other.
  turn = (turn + 389) % count
  return prepared[turn + 1]
end

function done(summary, latency, requests)
  local e = summary.errors
  io.write(string.format(
    '\nversus {"requests":%d,"duration_us":%d,"p50_us":%d,"p99_us":%d,"status":%d,"socket":%d}\n',
    summary.requests, summary.duration, latency:percentile(50), latency:percentile(99),
    e.status, e.connect + e.read + e.write + e.timeout))
end
