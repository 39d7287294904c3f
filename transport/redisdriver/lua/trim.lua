local age, expiry, most, bytes, t = tonumber(ARGV[2]), tonumber(ARGV[3]), ARGV[4], tonumber(ARGV[5]), now()
bury(t)
local limit
if bytes > 0 and (redis.call('MEMORY', 'USAGE', s) or 0) > bytes then
  limit = string.format('%.0f', t)
elseif age >= 0 and t > age then
  limit = string.format('%.0f', t - age)
end
local expired, there, all = {}, {}, redis.pcall('XINFO', 'GROUPS', s)
if not limit or all.err then return {0, expired} end
for _, i in ipairs(all) do
  local name = field(i, 'name')
  there[name] = true
  local known = redis.call('HGET', records, name)
  local seen, settled, left, missed = string.match(known or '', '^(%d+) (%S+) %S+ (%d+) ?(%d*)')
  if not seen or floor(i) ~= settled then
    redis.call('HSET', records, name, record(i, tonumber(left or 0), tonumber(missed)))
    seen = t
  end
  local own = tonumber(left or 0)
  local dead = own > 0 and tonumber(seen) + own < t -- an ephemeral group that could not be removed
  if not dead and tonumber(seen) + expiry < t then
    expired[#expired + 1] = name
  elseif not dead then
    local f = floor(i)
    if less(f, limit) then limit = f end
  end
end
-- A group that somebody deleted is made again where it had settled everything.
local known = redis.call('HGETALL', records)
for n = 1, #known, 2 do
  local seen, settled, left = string.match(known[n + 1], '^(%d+) (%S+) %S+ (%d+)')
  if seen and not there[known[n]] and tonumber(left) == 0 and tonumber(seen) + expiry >= t and less(settled, limit) then
    limit = settled
  end
end
return {redis.call('XTRIM', s, 'MINID', '~', limit, 'LIMIT', most), expired}
