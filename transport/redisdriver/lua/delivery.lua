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
