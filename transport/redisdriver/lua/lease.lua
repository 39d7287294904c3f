local key, t = KEYS[1], redis.call('TIME')
local ms, us = t[1] * 1000 + math.floor(t[2] / 1000), t[1] * 1000000 + t[2]
local function read(name)
  local v = redis.call('HGET', key, 'lease:' .. name)
  if not v then return nil end
  local epoch, ttl, ends, holder = string.match(v, '^(%d+) (%d+) (%d+) (.*)$')
  if tonumber(ends) <= ms then return nil end
  return epoch, ttl, holder
end
local function write(name, epoch, ttl, holder)
  redis.call('HSET', key, 'lease:' .. name, string.format('%s %s %.0f ', epoch, ttl, ms + ttl) .. holder)
  redis.call('PEXPIRE', key, math.max(ttl, 30 * 86400000))
end
