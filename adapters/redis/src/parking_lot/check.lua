-- Uses every command that the scripts use, so that rights that are missing show at the start. Notes the form in which the
-- lot is kept, if that was not noted, and changes nothing else.
-- ARGV: the form. Answers the form that the lot is kept in.
local form = read_all(STATE, {'form'})[1] or ARGV[1]
begin_to_write(true)
redis.call('HSET', STATE, 'form', form)
redis.call('ZCARD', PARKED)
redis.call('ZRANGEBYSCORE', QUEUE, 0, 0)
redis.call('ZRANGEBYLEX', DEAD, '-', '(')
return form
