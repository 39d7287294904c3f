local due, holding, most, lease, orphans = KEYS[3], ARGV[4], tonumber(ARGV[5]), tonumber(ARGV[6]), ARGV[7] == '1'
local t = now()
for _, id in ipairs(redis.call('ZRANGEBYSCORE', due, '-inf', t, 'LIMIT', 0, most)) do
  local p = redis.call('XPENDING', s, g, id, id, 1)
  if p[1] and p[1][2] == holding then claim(id, p[1][4] + 1) end
  redis.call('ZREM', due, id)
end
if lease > 0 then
  local held = 0
  for _, c in ipairs(redis.call('XINFO', 'CONSUMERS', s, g)) do
    local name, pending, room = field(c, 'name'), field(c, 'pending'), most - #out - #gone
    if name == holding then
      held = pending
    elseif pending > 0 and room > 0 then
      local theirs = tonumber(string.match(name, '%-(%d+)ms$') or lease)
      for _, p in ipairs(redis.call('XPENDING', s, g, 'IDLE', theirs, '-', '+', room, name)) do
        claim(p[1], p[4] + 1)
      end
    end
  end
  local from = '-'
  while orphans and held > redis.call('ZCARD', due) do
    local page = redis.call('XPENDING', s, g, 'IDLE', lease, from, '+', 500, holding)
    for _, p in ipairs(page) do redis.call('ZADD', due, 'NX', t, p[1]) end
    if #page < 500 then break end
    from = '(' .. page[#page][1]
  end
end
local wait, first = -1, redis.call('ZRANGE', due, 0, 0, 'WITHSCORES')
if first[2] then wait = math.max(0, tonumber(first[2]) - t) end
return {out, gone, wait}
