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
return state
