-- ARGV after, most. Returns how many entries follow the id, most at most, and the
-- last of them.
local page = redis.call('XRANGE', KEYS[1], ARGV[1], '+', 'COUNT', ARGV[2])
if #page == 0 then return {0, ''} end
return {#page, page[#page][1]}
