package redisdriver

// groupPrelude knows how the record of a group is written: when it was last seen,
// up to which id it has settled everything, how many entries the stream had ever
// had by then, and after how many milliseconds without a sign an ephemeral group
// is removed (0: never).
const groupPrelude = `
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
`

//nolint:gochecknoglobals // constants
var (
	// joinScript makes the group where it is missing: ARGV start, ttl, what the
	// caller remembers as the record. It returns 0 for a group that was there, 1 for
	// a new one, 2 for one that was lost and is made again, then the id where it
	// starts and the record.
	joinScript = newScript(groupPrelude + `
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
return {state, start, r}`)

	// beatScript is a sign of life of a member and its group: ARGV member, how long
	// it counts as alive, ttl of the group. It removes members that gave none, once
	// they have nothing pending, and ephemeral groups. It returns the record; empty
	// where the group is missing.
	beatScript = newScript(groupPrelude + `
local members, me, alive, ttl, t = KEYS[3], ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4]), now()
local i = find(g)
if not i then return '' end
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
local r = record(i, ttl)
redis.call('HSET', records, g, r)
return r`)

	// destroyScript removes an ephemeral group.
	destroyScript = newScript(groupPrelude + `
redis.pcall('XGROUP', 'DESTROY', s, g)
redis.call('HDEL', records, g)
for _, what in ipairs({'due:', 'members:', 'fence:'}) do redis.call('DEL', '{' .. s .. '}:' .. what .. g) end
return 1`)

	// trimScript drops what is older than ARGV[2] milliseconds and settled by every
	// group that was seen within ARGV[3] milliseconds, at most about ARGV[4] entries
	// and down to ARGV[5] bytes where that is not 0. A group that
	// moved since it was looked at is alive, whoever reads it. It returns the number of entries dropped, and the groups that did not
	// count because nobody has seen them for so long.
	trimScript = newScript(groupPrelude + `
local age, expiry, most, bytes, t = tonumber(ARGV[2]), tonumber(ARGV[3]), ARGV[4], tonumber(ARGV[5]), now()
local function less(a, b)
  local am, an = string.match(a, '^(%d+)-?(%d*)$')
  local bm, bn = string.match(b, '^(%d+)-?(%d*)$')
  if am ~= bm then return tonumber(am) < tonumber(bm) end
  if #an ~= #bn then return #an < #bn end
  return an < bn
end
local limit
if bytes > 0 and (redis.call('MEMORY', 'USAGE', s) or 0) > bytes then
  limit = string.format('%.0f', t)
elseif age >= 0 and t > age then
  limit = string.format('%.0f', t - age)
end
local expired, all = {}, redis.pcall('XINFO', 'GROUPS', s)
if not limit or all.err then return {0, expired} end
for _, i in ipairs(all) do
  local name = field(i, 'name')
  local known = redis.call('HGET', records, name)
  local seen, settled, left = string.match(known or '', '^(%d+) (%S+) %S+ (%d+)')
  if not seen or floor(i) ~= settled then
    redis.call('HSET', records, name, record(i, tonumber(left or 0)))
    seen = t
  end
  if tonumber(seen) + expiry < t then
    expired[#expired + 1] = name
  else
    local f = floor(i)
    if less(f, limit) then limit = f end
  end
end
return {redis.call('XTRIM', s, 'MINID', '~', limit, 'LIMIT', most), expired}`)
)
