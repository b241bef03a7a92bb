-- wrk's part: prepared requests, one after the other; a line of JSON at the end.
-- Arguments: a file with a key in each line, the caller's key, "check" to read the answers (which
-- costs the generator, so not while something is measured), and the operation to name, if any.
local threads = {}
local requests, size, at = {}, 0, 0
valid, answered = 0, 0

function setup(thread)
  table.insert(threads, thread)
end

function init(args)
  local headers = { ["Content-Type"] = "application/json", ["Authorization"] = "Bearer " .. args[2] }
  local rest = '"}'
  if args[4] ~= "" then rest = '","operation":"' .. args[4] .. '"}' end
  for key in io.lines(args[1]) do
    size = size + 1
    requests[size] = wrk.format("POST", nil, headers, '{"key":"' .. key .. rest)
  end
  if args[3] == "check" then
    response = function(status, _, body)
      answered = answered + 1
      if status == 200 and body:find('"valid":true', 1, true) then valid = valid + 1 end
    end
  end
end

function request()
  at = at + 1
  if at > size then at = 1 end
  return requests[at]
end

function done(summary, latency, _)
  local good, seen = 0, 0
  for _, thread in ipairs(threads) do
    good = good + thread:get("valid")
    seen = seen + thread:get("answered")
  end
  local errors = summary.errors
  io.write(string.format(
    '\n{"requests":%d,"duration_us":%d,"refused":%d,"broken":%d,"p50_us":%d,"p99_us":%d,"max_us":%d,"answered":%d,"valid":%d}\n',
    summary.requests, summary.duration, errors.status,
    errors.connect + errors.read + errors.write + errors.timeout,
    latency:percentile(50), latency:percentile(99), latency.max, seen, good))
end
