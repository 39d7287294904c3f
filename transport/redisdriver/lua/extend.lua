local state = {}
for i = 4, #ARGV do
  state[i - 3] = 0
  local p = redis.pcall('XPENDING', s, g, ARGV[i], ARGV[i], 1, me)
  if p[1] then
    local c = redis.call('XCLAIM', s, g, me, 0, ARGV[i], 'JUSTID')
    state[i - 3] = c[1] and 1 or 2
  end
end
return state
