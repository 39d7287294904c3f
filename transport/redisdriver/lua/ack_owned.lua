for i = 4, #ARGV, 1000 do redis.call('XACK', s, g, unpack(ARGV, i, math.min(i + 999, #ARGV))) end
return 1
