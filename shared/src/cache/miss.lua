-- KEYS: entry, lane. ARGV: random. Answers the token {epoch, lease} that a fill of this entry needs.
local epoch = redis.call('HGET', KEYS[2], 'epoch')
if not epoch then
    epoch = ARGV[1]
    redis.call('HSET', KEYS[2], 'epoch', epoch)
end
local lease = redis.call('HGET', KEYS[1], 'lease')
if not lease then
    lease = ARGV[1]
    redis.call('HSET', KEYS[1], 'lease', lease)
    if redis.call('HEXISTS', KEYS[1], 'version') == 0 then
        redis.call('EXPIRE', KEYS[1], 60)
    end
end
return {epoch, lease}
