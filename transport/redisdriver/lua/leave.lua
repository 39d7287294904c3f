local due, members, holding, t = KEYS[3], KEYS[4], ARGV[4], now()
local p = redis.pcall('XPENDING', s, g, '-', '+', 500, me)
while p[1] do
  local ids = {}
  for i, e in ipairs(p) do ids[i] = e[1] end
  for i, e in ipairs(p) do
    local c = redis.call('XCLAIM', s, g, holding, 0, e[1], 'RETRYCOUNT', math.max(0, e[4] - 1), 'JUSTID')
    if c[1] then
      redis.call('ZADD', due, t, e[1])
    else
      redis.call('XACK', s, g, e[1])
      gone[#gone + 1] = e[1]
    end
  end
  p = redis.call('XPENDING', s, g, '-', '+', 500, me)
end
if not p.err then redis.call('XGROUP', 'DELCONSUMER', s, g, me) end
redis.call('ZREM', members, me)
return gone
