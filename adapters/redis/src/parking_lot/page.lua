-- Reads parcels by ascending id.
-- ARGV: whether those that are `parked` or `dead`; the bound behind which to begin; how many.
-- Answers of each its id and record.
local index = ARGV[1] == 'dead' and DEAD or PARKED
return read_records(redis.call('ZRANGEBYLEX', index, ARGV[2], '+', 'LIMIT', 0, ARGV[3])) or damaged()
