local s, records, g = KEYS[1], KEYS[2], ARGV[1]
local function field(t, name)
  for i = 1, #t, 2 do if t[i] == name then return t[i + 1] end end
end
local function now()
  local t = redis.call('TIME')
  return t[1] * 1000 + math.floor(t[2] / 1000)
end
local function find(name)
  local all = redis.pcall('XINFO', 'GROUPS', s)
  if all.err then return nil, all.err end
  for _, i in ipairs(all) do if field(i, 'name') == name then return i end end
end
local function added()
  local i = redis.pcall('XINFO', 'STREAM', s)
  if i.err then return -1 end
  return field(i, 'entries-added') or -1
end
-- before is an id that no entry between it and id can have.
local function before(id)
  local ms, n = string.match(id, '^(%d+)-(%d+)$')
  if tonumber(n) > 0 and #n < 15 then return ms .. '-' .. string.format('%.0f', n - 1) end
  if tonumber(ms) == 0 then return '0-0' end
  return string.format('%.0f', ms - 1) .. '-18446744073709551615'
end
-- floor is the id up to which a group has settled everything.
local function floor(i)
  local p = redis.call('XPENDING', s, field(i, 'name'))
  if p[1] > 0 then return before(p[2]) end
  return field(i, 'last-delivered-id')
end
local function record(i, ttl)
  return string.format('%.0f %s %.0f %.0f', now(), floor(i), added(), ttl)
end
