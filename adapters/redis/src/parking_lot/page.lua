-- Reads parcels by ascending id.
-- ARGV: whether those that are `parked` or `dead`; the bound behind which to begin; how many.
-- Answers of each its id and record.
local index = ARGV[1] == 'dead' and DEAD or PARKED
local ids, answer = redis.call('ZRANGEBYLEX', index, ARGV[2], '+', 'LIMIT', 0, ARGV[3]), {}
for i, record in ipairs(read_all(PARCELS, ids)) do
  if not record then return redis.error_reply('DAMAGED the parking lot lost a part of what it holds') end
  push(answer, ids[i], record)
end
return answer
