redis.pcall('XGROUP', 'DESTROY', s, g)
redis.call('HDEL', records, g)
for _, what in ipairs({'due:', 'members:', 'fence:'}) do redis.call('DEL', '{' .. s .. '}:' .. what .. g) end
return 1
