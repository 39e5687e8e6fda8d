-- Links neighbours of each client, unless a link of the same or a later time is there.
-- KEYS: the links of each client. ARGV: for each key, how many members follow, and these.

-- Whether the time of a member, its last eight bytes, is later than that of another.
local function is_later(one, other)
  for i = -8, -1 do
    local a, b = string.byte(one, i), string.byte(other, i)
    if a ~= b then return a > b end
  end
  return false
end

local head = 1
for _, key in ipairs(KEYS) do
  local last = head + ARGV[head]
  for i = head + 1, last do
    local new = ARGV[i]
    local link = string.sub(new, 1, -9)
    -- No time starts with the byte 255.
    local old = redis.call('ZRANGEBYLEX', key, '[' .. link, '[' .. link .. '\255', 'LIMIT', 0, 1)[1]
    if not old or is_later(new, old) then
      -- Added first: where memory is full, the link that is there stays.
      local added = redis.pcall('ZADD', key, 0, new)
      if type(added) == 'table' and added.err then return added end
      if old then redis.call('ZREM', key, old) end
    end
  end
  head = last + 1
end
return redis.status_reply('OK')
