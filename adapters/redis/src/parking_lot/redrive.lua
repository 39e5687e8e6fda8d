-- Parks a dead letter again.
-- ARGV: its id. Answers whether there was one.
local id = ARGV[1]
local parcel = read_dead(id)
if not parcel then return 0 end
parcel.attempts, parcel.parked_at, parcel.lease, parcel.cause, parcel.died_at = 0, clock, 0, 0, 0
enter({parcel}, true)
redis.call('ZREM', DEAD, id)
return 1
