-- Forgets a dead letter.
-- ARGV: its id. Answers whether there was one.
local id = ARGV[1]
local parcel = read_dead(id)
if not parcel then return 0 end
lot.bytes = lot.bytes - #parcel.content
begin_to_write(true)
redis.call('ZREM', DEAD, id)
redis.call('HDEL', PARCELS, id)
return 1
