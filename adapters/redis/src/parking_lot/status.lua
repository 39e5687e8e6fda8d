-- Answers how many parcels are parked, how many are dead, how long their contents are, and when the parcel was parked
-- that waits for the longest time, or 0.
local oldest = redis.call('ZRANGEBYSCORE', HEADS, '-inf', '+inf', 'WITHSCORES', 'LIMIT', 0, 1)[2]
return {redis.call('ZCARD', PARKED), redis.call('ZCARD', DEAD), lot.bytes, tonumber(oldest or 0)}
