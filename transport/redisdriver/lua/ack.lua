local mine = {}
for i = 4, #ARGV do
  mine[i - 3] = 0
  local ok = redis.pcall('XPENDING', s, g, ARGV[i], ARGV[i], 1, me)
  if ok[1] then mine[i - 3] = redis.call('XACK', s, g, ARGV[i]) end
end
return mine
