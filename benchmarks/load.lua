-- wrk script: POST bodies from a file in turn, at a paced or the fastest rate; summary as JSON.
-- Environment: LOAD_BODIES (one JSON body a line), LOAD_PATH, LOAD_PAUSE_MS (mean pause of a
-- connection between an answer and its next request, exponential; 0 for none).
local bodies, next_body, pause = {}, 0, tonumber(os.getenv("LOAD_PAUSE_MS") or "0")

function init(_)
  local path = os.getenv("LOAD_PATH")
  for line in io.lines(os.getenv("LOAD_BODIES")) do
    bodies[#bodies + 1] = wrk.format("POST", path, {["Content-Type"] = "application/json"}, line)
  end
end

function request()
  next_body = next_body % #bodies + 1
  return bodies[next_body]
end

if pause > 0 then
  -- Whole milliseconds are all that wrk waits; rounding at random keeps the mean.
  function delay()
    return math.floor(-pause * math.log(1 - math.random()) + math.random())
  end
end

function done(summary, latency, _)
  io.write(string.format(
    '\n{"requests": %d, "seconds": %.6f, "p50_ms": %.3f, "p99_ms": %.3f, "max_ms": %.3f, ' ..
    '"failed": %d}\n',
    summary.requests, summary.duration / 1e6, latency:percentile(50) / 1e3,
    latency:percentile(99) / 1e3, latency.max / 1e3,
    summary.errors.status + summary.errors.connect + summary.errors.read
      + summary.errors.write + summary.errors.timeout))
end
