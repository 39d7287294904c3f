local name, holder, ttl = ARGV[1], ARGV[2], ARGV[3]
local epoch, _, by = read(name)
if epoch and by ~= holder then return {0, by} end
if not epoch then
  local last = tonumber(redis.call('HGET', key, 'epoch') or 0)
  epoch = string.format('%.0f', math.max(last + 1, us))
  redis.call('HSET', key, 'epoch', epoch)
end
write(name, epoch, ttl, holder)
return {1, epoch}
