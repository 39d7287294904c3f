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
bury(t)
return {renew(i, ttl, redis.call('HGET', records, g))}
