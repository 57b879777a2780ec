-- Part of fill.lua and invalidate.lua. A fill is accepted only with the token that the entry and its lane still
-- hold, and only if no higher version of this epoch stands. It takes the lease away.
local function accept(entry, lane, version, state, payload, schema, ttl_ms, epoch, lease)
    if redis.call('HGET', lane, 'epoch') ~= epoch then
        return false
    end
    local held = redis.call('HMGET', entry, 'lease', 'version', 'epoch')
    if held[1] ~= lease then
        return false
    end
    if held[2] and held[3] == epoch and tonumber(held[2]) > tonumber(version) then
        return false
    end
    redis.call('HSET', entry, 'version', version, 'state', state, 'payload', payload, 'schema', schema, 'epoch', epoch)
    redis.call('HDEL', entry, 'lease')
    redis.call('PEXPIRE', entry, ttl_ms)
    return true
end
