-- KEYS: entry, lane. ARGV: version, state, payload, schema, ttl_ms, epoch, lease. Answers 1 if accepted.
if accept(KEYS[1], KEYS[2], ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5], ARGV[6], ARGV[7]) then
    return 1
end
return 0
