local list = {}
for _, f in ipairs(redis.call('HKEYS', key)) do
  local name = string.match(f, '^lease:(.*)$')
  if name then
    local epoch, ttl, by = read(name)
    if epoch then
      for _, v in ipairs({name, epoch, ttl, by}) do list[#list + 1] = v end
    else
      redis.call('HDEL', key, f)
    end
  end
end
return list
