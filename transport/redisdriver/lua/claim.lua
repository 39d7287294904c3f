for i = 4, #ARGV do
  local p = redis.call('XPENDING', s, g, ARGV[i], ARGV[i], 1, me)
  if p[1] then claim(ARGV[i], p[1][4] + 1) end
end
return {out, gone, 0}
