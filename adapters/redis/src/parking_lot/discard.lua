-- Forgets a dead letter.
-- ARGV: its id. Answers whether there was one.
local id = ARGV[1]
local parcel = read_dead(id)
if not parcel then return 0 end
redis.call('ZREM', DEAD, id)
redis.call('HDEL', PARCELS, id)
lot.bytes = lot.bytes - #parcel.content
save_lot()
return 1
