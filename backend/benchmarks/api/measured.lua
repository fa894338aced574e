-- A script for wrk that sends the requests of a file in turn and prints the results in one line.
-- For each request, the file has its length, a line feed and its bytes.
local requests = {}
local place = 0

function init(arguments)
    local file = assert(io.open(arguments[1], "rb"))
    for length in file:lines() do
        requests[#requests + 1] = file:read(tonumber(length))
    end
    file:close()
end

function request()
    place = place % #requests + 1
    return requests[place]
end

function done(summary, latency)
    local failed = summary.errors
    io.write(string.format(
        "measured requests=%d microseconds=%d p50=%d p99=%d"
            .. " connect=%d read=%d write=%d timeout=%d status=%d\n",
        summary.requests, summary.duration, latency:percentile(50), latency:percentile(99),
        failed.connect, failed.read, failed.write, failed.timeout, failed.status
    ))
end
