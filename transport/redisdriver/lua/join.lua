local start, ttl, memory = ARGV[2], tonumber(ARGV[3]), ARGV[4]
local state, i, err = 0, find(g)
if err and not string.find(err, 'no such key') then return redis.error_reply(err) end
if not i then
  state = 1
  local known = redis.call('HGET', records, g) or memory
  local settled, had = string.match(known, '^%d+ (%S+) (%S+)')
  if settled then
    state, start = 2, settled
    local has = added()
    if err or (tonumber(had) >= 0 and has >= 0 and has < tonumber(had)) then start = '0' end
  end
  redis.call('XGROUP', 'CREATE', s, g, start, 'MKSTREAM')
  i = find(g)
end
local r = record(i, ttl)
redis.call('HSET', records, g, r)
return {state, start, r}
