local start, ttl, memory = ARGV[2], tonumber(ARGV[3]), ARGV[4]
local state, i, err = 0, find(g)
local known = redis.call('HGET', records, g)
if err and not string.find(err, 'no such key') then return redis.error_reply(err) end
if not i then
  state = 1
  local settled, had = string.match(known or memory, '^%d+ (%S+) (%S+)')
  if settled then
    state, start = 2, settled
    local has = added()
    if err or (tonumber(had) >= 0 and has >= 0 and has < tonumber(had)) then start = '0' end
  end
  redis.call('XGROUP', 'CREATE', s, g, start, 'MKSTREAM')
  local x = redis.call('XINFO', 'STREAM', s)
  local read = field(x, 'entries-added')
  if read and (start == '0' or start == '$') then -- so that the server counts right from here on
    if start == '0' then read = read - field(x, 'length') end
    redis.pcall('XGROUP', 'SETID', s, g, start, 'ENTRIESREAD', read)
  end
  i, known = find(g), '0 0 0 0 0'
end
bury(now())
local r, lost = renew(i, ttl, known)
return {state, start, r, lost}
