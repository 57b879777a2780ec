-- KEYS: entry, lane. ARGV: version and, for a fill where the token is accepted, state, payload, schema, ttl_ms,
-- epoch, lease. Otherwise an entry of the same or a higher version loses only its lease, any other is deleted.
-- Answers 1 if it filled.
if #ARGV > 1 and accept(KEYS[1], KEYS[2], ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5], ARGV[6], ARGV[7]) then
    return 1
end
local held = redis.call('HGET', KEYS[1], 'version')
if held and tonumber(held) >= tonumber(ARGV[1]) then
    redis.call('HDEL', KEYS[1], 'lease')
else
    redis.call('DEL', KEYS[1])
end
return 0
