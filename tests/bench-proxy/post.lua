-- One POST over and over, and the outcome as a line of JSON: `wrk ... -- KEY BODY_FILE`.
function init(arguments)
  local file = assert(io.open(arguments[2]))
  wrk.method, wrk.body = "POST", file:read("*a")
  file:close()
  wrk.headers["content-type"] = "application/json"
  wrk.headers["authorization"] = "Bearer " .. arguments[1]
end

function done(summary, latency)
  local failed = summary.errors.connect + summary.errors.read + summary.errors.write + summary.errors.timeout
  io.write(string.format(
    '\n{"answers": %d, "failed": %d, "refused": %d, "bytes": %d, "seconds": %.6f, "p50_us": %d, "p99_us": %d}\n',
    summary.requests, failed, summary.errors.status, summary.bytes, summary.duration / 1e6,
    latency:percentile(50), latency:percentile(99)))
end
