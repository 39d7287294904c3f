-- Makes changes. KEYS: the records. ARGV: the time to live in milliseconds, the
-- most bytes of a record, then for each change how the record begins that it may
-- change, and the change: the tombstone without its fingerprint, or a letter with
-- what it needs.
-- It returns 1 where every change holds, else a list: 1 for those that do, 0 for
-- those that are fenced, 2 for what is too large, 3 for what cannot be read.
local sub, byte, call, pcall, type = string.sub, string.byte, redis.call, redis.pcall, type
local KEYS, ARGV, ttl = KEYS, ARGV, ARGV[1]

local change = {}

-- The lease begins anew. Lease and time to live stay in the record, which is
-- written if they differ only.
change.X = function(key, v, c)
  if sub(v, 52, 63) ~= sub(c, 2, 13) then call('SETRANGE', key, 51, sub(c, 2, 13)) end
  call('PEXPIRE', key, ttl)
end

-- The result of a step; of two with one name the last counts.
change.S = function(key, v, c)
  if call('STRLEN', key) + #c - 13 > tonumber(ARGV[2]) then return 2 end
  call('APPEND', key, sub(c, 14))
  change.X(key, v, c)
end

-- Outputs with the record, and large ones beside it.
change.O = function(key, v, c)
  call('SET', key, '\1\3' .. sub(v, 3, 79) .. sub(c, 2), 'PX', ttl)
end

change.L = function(key, v, c)
  call('SET', key .. ':o', sub(c, 10), 'PX', ttl)
  call('SET', key, '\1\6' .. sub(v, 3, 79) .. sub(c, 2, 9), 'PX', ttl)
end

change.R = function(key, v, c)
  local attempts = struct.unpack('>I4', v, 64)
  if byte(c, 2) == 1 then attempts = attempts + 1 end
  call('SETRANGE', key, 0, '\1\2' .. sub(v, 3, 63) .. struct.pack('>I4', attempts))
  call('PEXPIRE', key, ttl)
end

-- The failure stands behind the results of steps, which a redrive finds again.
change.F = function(key, v, c)
  local whole = call('GET', key)
  call('SET', key, '\1\5' .. sub(v, 3, 79) .. struct.pack('>I8', #whole) .. sub(whole, 88) .. sub(c, 2), 'PX', ttl)
end

-- What is in progress has nothing to settle.
change.T = function() end

-- made tells what was done before from what is fenced: its answer was lost.
local function made(v, held, c)
  local phase, op = byte(v, 2), sub(c, 1, 1)
  if phase == 4 then
    return (op == '\1' or op == 'O' or op == 'L') and sub(v, 3, 10) == sub(held, 3, 10)
  end
  if sub(v, 3, 18) ~= sub(held, 3, 18) then return false end
  return (phase == 3 or phase == 6) and (op == '\1' or op == 'O' or op == 'L') or phase == 2 and op == 'R' or phase == 5 and op == 'F'
end

-- settle leaves a tombstone of a record whose outputs are published.
local function settle(key, v)
  local phase = byte(v, 2)
  if phase ~= 3 and phase ~= 6 then return end
  call('SET', key, '\1\4' .. sub(v, 3, 10) .. sub(v, 80, 87) .. sub(v, 19, 34), 'PX', ttl)
  if phase == 6 then call('UNLINK', key .. ':o') end
end

local answers
for i = 1, #KEYS do
  local key, held, c = KEYS[i], ARGV[2 * i + 1], ARGV[2 * i + 2]
  local v, answer = pcall('GETRANGE', key, 0, 86), 1
  if type(v) == 'table' then
    if not string.find(v.err, 'WRONGTYPE', 1, true) then return v end
    answer = 3
  elseif sub(v, 1, 18) == held and #v == 87 then
    if byte(c) == 1 then
      call('SET', key, c .. sub(v, 19, 34), 'PX', ttl)
    else
      answer = change[sub(c, 1, 1)](key, v, c) or 1
    end
  elseif v == '' then
    if c ~= 'T' then answer = 0 end
  elseif byte(v) ~= 1 or #v ~= 87 and #v ~= 34 then
    answer = 3
  elseif c == 'T' then
    settle(key, v)
  elseif not made(v, held, c) then
    answer = 0
  end
  if answer ~= 1 and not answers then
    answers = {}
    for j = 1, i - 1 do answers[j] = 1 end
  end
  if answers then answers[i] = answer end
end
return answers or 1
