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
return gone
