-- Uses every command that the scripts use, and changes nothing but the note of the form in which the lot is kept; so
-- rights that are missing show at the start.
-- ARGV: the form. Answers the form that the lot is kept in.
local form = read_all(STATE, {'form'})[1] or ARGV[1]
write_although_memory_is_full()
redis.call('HSET', STATE, 'form', form)
redis.call('HDEL', PARCELS, '')
redis.call('ZADD', TURNS, 'XX', 0, '')
redis.call('ZCARD', PARKED)
redis.call('ZRANGEBYSCORE', QUEUE, 0, 0)
redis.call('ZRANGEBYLEX', DEAD, '-', '(')
return form
