-- KEYS record, stream; ARGV shards, retention_age, retention_bytes.
local kind = redis.call('TYPE', KEYS[2])['ok']
local there = redis.call('EXISTS', KEYS[1]) == 1
if not there and (kind == 'none' or (kind == 'stream' and ARGV[1] == '1')) then
  redis.call('HSET', KEYS[1], 'shards', ARGV[1], 'retention_age', ARGV[2], 'retention_bytes', ARGV[3])
end
local r = redis.call('HMGET', KEYS[1], 'shards', 'retention_age', 'retention_bytes')
return {kind, r[1] or '', r[2] or '', r[3] or ''}
