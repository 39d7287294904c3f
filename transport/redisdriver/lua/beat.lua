local members, me, alive, ttl, t = KEYS[3], ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4]), now()
local i = find(g)
if not i then return {'', 0} end
if me ~= '' then redis.call('ZADD', members, t + alive, me) end
for _, m in ipairs(redis.call('ZRANGEBYSCORE', members, '-inf', t, 'LIMIT', 0, 20)) do
  if #redis.call('XPENDING', s, g, '-', '+', 1, m) == 0 then
    redis.call('XGROUP', 'DELCONSUMER', s, g, m)
    redis.call('ZREM', members, m)
  end
end
local all = redis.call('HGETALL', records)
for n = 1, #all, 2 do
  local seen, left = string.match(all[n + 1], '^(%d+) %S+ %S+ (%d+)')
  if seen and tonumber(left) > 0 and tonumber(seen) + tonumber(left) < t and all[n] ~= g then
    redis.call('XGROUP', 'DESTROY', s, all[n])
    redis.call('HDEL', records, all[n])
    for _, what in ipairs({'due:', 'members:', 'fence:'}) do redis.call('DEL', '{' .. s .. '}:' .. what .. all[n]) end
  end
end
return {renew(i, ttl, redis.call('HGET', records, g))}
