local epoch, _, by = read(ARGV[1])
if epoch == ARGV[2] and by == ARGV[3] then redis.call('HDEL', key, 'lease:' .. ARGV[1]) end
return 1
