-- Answers claims. KEYS: the records. ARGV: the time to live in milliseconds, then
-- for each claim its record as it is when the message is new.
-- It returns 1 where every message is new, else a list: 0 for those that are, for
-- the others a text that begins with a letter for the verdict.
local sub, byte, pcall, KEYS, ARGV = string.sub, string.byte, redis.pcall, KEYS, ARGV
local ttl = ARGV[1]

-- steps reports whether the results of steps from a position on are whole.
local function steps(v, at, last)
  if last > #v then return false end
  while at <= last do
    for _ = 1, 2 do
      if at + 3 > last then return false end
      at = at + 4 + struct.unpack('>I4', v, at)
    end
  end
  return at == last + 1
end

-- acquire gives a record to the claim.
local function acquire(key, v, fresh, attempts, deaths, alone, redrive, last)
  if not steps(v, 88, last) then return 'Ethe results of its steps are damaged' end
  local counts = struct.pack('>I4I4I4', attempts, deaths, alone)
  redrive = math.max(redrive, (struct.unpack('>I4', fresh, 76)))
  local kept = sub(v, 88, last)
  redis.call('SET', key, sub(fresh, 1, 63) .. counts .. struct.pack('>I4', redrive) .. sub(fresh, 80) .. kept, 'PX', ttl)
  return 'A' .. counts .. kept
end

-- done answers with the outputs of a message that was handled.
local function done(key, v, phase)
  local outputs = sub(v, 88)
  if phase == 6 then
    outputs = redis.call('GET', key .. ':o')
    if not outputs then return 'Eits outputs, which have a key of their own, are gone' end
  end
  return 'D' .. sub(v, 80, 87) .. outputs
end

-- left is how long the lease of a record in progress lasts: the record's time to
-- live began when the lease did. One that somebody made permanent begins anew.
local function left(key, v)
  local lease, kept = struct.unpack('>I6I6', v, 52)
  local rest = redis.call('PTTL', key)
  if rest < 0 then
    redis.call('PEXPIRE', key, string.format('%.0f', kept))
    return lease
  end
  return rest - kept + lease
end

-- again answers a claim for a record that is there.
local function again(key, fresh)
  local v = pcall('GET', key)
  if type(v) == 'table' then
    if string.find(v.err, 'WRONGTYPE', 1, true) then return 'Ea key of another type has its name' end
    return v
  end
  local version, phase = byte(v, 1, 2)
  if version ~= 1 then return 'Eits version is ' .. (version or 'missing') .. ', this program knows 1' end
  if phase == 4 and #v == 34 then
    if sub(v, 19, 34) ~= sub(fresh, 19, 34) then return 'M' .. sub(v, 19, 34) end
    return 'D' .. sub(v, 11, 18)
  end
  if #v < 87 then return 'Eit has ' .. #v .. ' bytes, which is too few' end
  if sub(v, 19, 50) ~= sub(fresh, 19, 50) then return 'M' .. sub(v, 19, 50) end
  if phase == 3 or phase == 6 then return done(key, v, phase) end
  local attempts, deaths, alone, redrive, last = struct.unpack('>I4I4I4I4', v, 64)
  last = #v
  if phase == 1 then
    if sub(v, 3, 18) ~= sub(fresh, 3, 18) then
      local rest = left(key, v)
      if rest > 0 then return 'B' .. string.format('%.0f', rest) end
      deaths = deaths + 1
      if byte(v, 51) == 1 then alone, attempts = alone + 1, attempts + 1 end
    end
  elseif phase == 5 then
    last = struct.unpack('>I8', v, 80)
    if redrive >= struct.unpack('>I4', fresh, 76) then return 'F' .. sub(v, last + 1) end
    attempts, deaths, alone = 0, 0, 0
  elseif phase ~= 2 then
    return 'Eits phase is ' .. phase .. ', which does not exist'
  end
  return acquire(key, v, fresh, attempts, deaths, alone, redrive, last)
end

local answers
for i = 1, #KEYS do
  local made, answer = pcall('SET', KEYS[i], ARGV[i + 1], 'PX', ttl, 'NX'), 0
  if not made then
    answer = again(KEYS[i], ARGV[i + 1])
    if type(answer) == 'table' then return answer end
    if not answers then
      answers = {}
      for j = 1, i - 1 do answers[j] = 0 end
    end
  elseif made.err then
    return made
  end
  if answers then answers[i] = answer end
end
return answers or 1
