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
local function less(a, b)
  local am, an = string.match(a, '^(%d+)-?(%d*)$')
  local bm, bn = string.match(b, '^(%d+)-?(%d*)$')
  if am ~= bm then return tonumber(am) < tonumber(bm) end
  if #an ~= #bn then return #an < #bn end
  return an < bn
end
-- missed is how many entries the group never read because they were trimmed; nil
-- where that cannot be told. The server counts what a stream ever had, and what a
-- group has read of it, since version 7.0. The counts can be compared when all that
-- the group has read is gone, or nothing is left to read.
local function missed(i)
  local read, x = field(i, 'entries-read'), redis.pcall('XINFO', 'STREAM', s)
  local had = not x.err and field(x, 'entries-added')
  if not read or not had then return nil end
  local at, first = field(i, 'last-delivered-id'), field(x, 'first-entry')
  if at == field(x, 'last-generated-id') then return math.max(0, had - read) end
  if not first or less(at, first[1]) then return math.max(0, had - field(x, 'length') - read) end
end
local function record(i, ttl, lost)
  return string.format('%.0f %s %.0f %.0f', now(), floor(i), added(), ttl) .. (lost and string.format(' %.0f', lost) or '')
end
-- bury removes ephemeral groups other than g that gave no sign of life for their
-- time. Who may not remove groups leaves that to others.
local function bury(t)
  local all = redis.call('HGETALL', records)
  for n = 1, #all, 2 do
    local seen, left = string.match(all[n + 1], '^(%d+) %S+ %S+ (%d+)')
    if seen and tonumber(left) > 0 and tonumber(seen) + tonumber(left) < t and all[n] ~= g then
      local done = redis.pcall('XGROUP', 'DESTROY', s, all[n])
      if type(done) == 'number' or string.find(done.err or '', 'key to exist') then
        redis.pcall('HDEL', records, all[n])
        for _, what in ipairs({'due:', 'members:', 'fence:'}) do redis.pcall('DEL', '{' .. s .. '}:' .. what .. all[n]) end
      end
    end
  end
end
-- renew writes the group's record. It returns it, and how many entries were missed
-- since the last one.
local function renew(i, ttl, known)
  local before, all = string.match(known or '', '^%d+ %S+ %S+ %d+ (%d+)$'), missed(i)
  local r = record(i, ttl, all or before)
  redis.call('HSET', records, g, r)
  return r, all and before and math.max(0, all - before) or 0
end
