package watermillredis

import "github.com/redis/go-redis/v9"

// ackScript acknowledges an entry that this consumer still has. It answers 1 if
// it did, 0 if nobody has the entry, and -1 if somebody else has it: the XACK of
// the adapter would take it away from there.
func ackScript() *redis.Script {
	return redis.NewScript(`
local first, last = ARGV[2], ARGV[2]
local p = redis.call('XPENDING', KEYS[1], ARGV[1], first, last, 1)
if #p == 0 then return 0 end
if p[1][2] ~= ARGV[3] then return -1 end
return redis.call('XACK', KEYS[1], ARGV[1], first)
`)
}

// leaveScript lets everybody take at once what a consumer has, by making it look
// old, and removes a consumer that has nothing. It answers how much there was.
func leaveScript() *redis.Script {
	return redis.NewScript(`
local left, from = 0, '-'
repeat
  local page = redis.call('XPENDING', KEYS[1], ARGV[1], from, '+', 100, ARGV[2])
  for i = 1, #page do
    local id = page[i][1]
    redis.call('XCLAIM', KEYS[1], ARGV[1], ARGV[2], 0, id, 'IDLE', ARGV[3], 'JUSTID')
    left, from = left + 1, '(' .. id
  end
until #page < 100
if left == 0 then redis.call('XGROUP', 'DELCONSUMER', KEYS[1], ARGV[1], ARGV[2]) end
return left
`)
}
