package redisdriver

// holding is the consumer that keeps what was given back until it is due.
const holding = "delayed"

// soleOwner is the one consumer of an ordered shard.
const soleOwner = "owner"

// Every script names stream, group and itself alike. Where ARGV[1] is not empty,
// KEYS[2] must hold it: the fence of an ordered shard, which each new reader sets.
const prelude = `
local s, token, g, me = KEYS[1], ARGV[1], ARGV[2], ARGV[3]
if token ~= '' and redis.call('GET', KEYS[2]) ~= token then
  return redis.error_reply('FENCED another reader of ' .. s .. ' came after this one')
end
local function field(t, name)
  for i = 1, #t, 2 do if t[i] == name then return t[i + 1] end end
end
local function now()
  local t = redis.call('TIME')
  return t[1] * 1000 + math.floor(t[2] / 1000)
end
-- claim takes an entry and counts the delivery; an entry that was trimmed while it
-- was pending is gone.
local out, gone = {}, {}
local function claim(id, count)
  local m = redis.call('XCLAIM', s, g, me, 0, id)
  if m[1] then
    out[#out + 1] = {id, m[1][2], count}
  else
    redis.call('XACK', s, g, id)
    gone[#gone + 1] = id
  end
end
`

//nolint:gochecknoglobals // constants
var (
	// takeScript takes what is due, and what others let lapse: ARGV most, lease (0:
	// look at what is due only). What the holding consumer has without a due record
	// becomes due. It returns entries, lost ids, and milliseconds until something
	// else is due (-1: nothing).
	takeScript = newScript(prelude + `
local due, holding, most, lease = KEYS[3], ARGV[4], tonumber(ARGV[5]), tonumber(ARGV[6])
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
      for _, p in ipairs(redis.call('XPENDING', s, g, 'IDLE', lease, '-', '+', room, name)) do
        claim(p[1], p[4] + 1)
      end
    end
  end
  local from, pages = '-', 0
  while held > redis.call('ZCARD', due) and pages < 20 do
    local page = redis.call('XPENDING', s, g, 'IDLE', lease, from, '+', 200, holding)
    for _, p in ipairs(page) do redis.call('ZADD', due, 'NX', t, p[1]) end
    if #page < 200 then break end
    from, pages = '(' .. page[#page][1], pages + 1
  end
end
local wait, first = -1, redis.call('ZRANGE', due, 0, 0, 'WITHSCORES')
if first[2] then wait = math.max(0, tonumber(first[2]) - t) end
return {out, gone, wait}`)

	// claimScript delivers again what this consumer has: ARGV ids.
	claimScript = newScript(prelude + `
for i = 4, #ARGV do
  local p = redis.call('XPENDING', s, g, ARGV[i], ARGV[i], 1, me)
  if p[1] then claim(ARGV[i], p[1][4] + 1) end
end
return {out, gone, 0}`)

	// fetchScript reads what is new for the owner of a shard: ARGV most. The third
	// value is the last id that the group has seen, where there is nothing.
	fetchScript = newScript(prelude + `
local r = redis.call('XREADGROUP', 'GROUP', g, me, 'COUNT', ARGV[4], 'STREAMS', s, '>')
if r then return {r[1][2], gone, ''} end
for _, i in ipairs(redis.call('XINFO', 'GROUPS', s)) do
  if field(i, 'name') == g then return {out, gone, field(i, 'last-delivered-id')} end
end
return redis.error_reply('NOGROUP no such group on ' .. s)`)

	// ackScript acknowledges what is still this consumer's: ARGV ids. It returns 1
	// for those, 0 for what is someone else's or done.
	ackScript = newScript(prelude + `
local mine = {}
for i = 4, #ARGV do
  mine[i - 3] = 0
  local ok = redis.pcall('XPENDING', s, g, ARGV[i], ARGV[i], 1, me)
  if ok[1] then mine[i - 3] = redis.call('XACK', s, g, ARGV[i]) end
end
return mine`)

	// extendScript renews leases: ARGV ids. It returns 1 for what is renewed, 0 for
	// what is someone else's, 2 for what was trimmed.
	extendScript = newScript(prelude + `
local state = {}
for i = 4, #ARGV do
  state[i - 3] = 0
  local p = redis.pcall('XPENDING', s, g, ARGV[i], ARGV[i], 1, me)
  if p[1] then
    local c = redis.call('XCLAIM', s, g, me, 0, ARGV[i], 'JUSTID')
    state[i - 3] = c[1] and 1 or 2
  end
end
return state`)

	// giveScript gives entries back, to be due after a delay: ARGV holding, then id,
	// delay in milliseconds, and delivery count of each. It answers as extendScript.
	giveScript = newScript(prelude + `
local due, holding, t, state = KEYS[3], ARGV[4], now(), {}
for i = 5, #ARGV, 3 do
  local id, n = ARGV[i], #state + 1
  state[n] = 0
  local p = redis.pcall('XPENDING', s, g, id, id, 1, me)
  if p[1] then
    local c = redis.call('XCLAIM', s, g, holding, 0, id, 'RETRYCOUNT', ARGV[i + 2], 'JUSTID')
    state[n] = 2
    if c[1] then
      redis.call('ZADD', due, t + ARGV[i + 1], id)
      state[n] = 1
    end
  end
end
return state`)

	// leaveScript gives all of a consumer back and removes it: ARGV holding. Removing
	// a consumer drops what it has, so it must have nothing.
	leaveScript = newScript(prelude + `
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
return gone`)

	// ownScript makes this the only reader of a shard: it sets the fence (KEYS[3])
	// to ARGV[4] and takes over whatever the group has pending. It returns lost ids.
	ownScript = newScript(prelude + `
redis.call('SET', KEYS[3], ARGV[4])
redis.call('DEL', KEYS[4])
for _, c in ipairs(redis.call('XINFO', 'CONSUMERS', s, g)) do
  local name, from = field(c, 'name'), '-'
  while name ~= me do
    local p = redis.call('XPENDING', s, g, from, '+', 500, name)
    for _, e in ipairs(p) do
      local m = redis.call('XCLAIM', s, g, me, 0, e[1], 'JUSTID')
      if not m[1] then
        redis.call('XACK', s, g, e[1])
        gone[#gone + 1] = e[1]
      end
    end
    if #p < 500 then break end
  end
end
return gone`)

	// disownScript ends the fence of a reader that leaves.
	disownScript = newScript(prelude + `redis.call('DEL', KEYS[2]) return 1`)
)
