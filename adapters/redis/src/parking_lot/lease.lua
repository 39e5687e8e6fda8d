-- Leases parcels of lanes that are due: the lanes by their turns, of each as many parcels as fit.
-- ARGV: the most parcels; for how many microseconds.
-- Answers the lease, and of each parcel its id and record.
local room, ttl = tonumber(ARGV[1]), tonumber(ARGV[2])
local clients, leased, ids = {}, {}, {}
for _, turn in ipairs(redis.call('ZRANGEBYSCORE', TURNS, '-inf', now, 'LIMIT', 0, room)) do
  push(clients, behind_count(turn))
end
if #clients == 0 then
  if clock_went_back then begin_to_write(true) end
  return {0, {}}
end
-- Not from zero: who holds a lease of what was lost since must not meet its number again.
lot.lease = math.max(lot.lease + 1, clock)
local due = read_lanes(clients)
for _, client in ipairs(clients) do
  if room == 0 then break end
  local lane = due[client]
  local places = lane and redis.call('ZRANGEBYSCORE', QUEUE, lane.number, lane.number, 'LIMIT', 0, room) or {}
  if #places == 0 then return damaged() end
  for _, place in ipairs(places) do push(ids, behind_count(place)) end
  lane.lease, lane.lease_ends, lane.open = lot.lease, now + ttl, #places
  lane.last_leased = struct.unpack(COUNT, places[#places])
  give_turn(lane, lane.lease_ends)
  leased[client] = lane
  room = room - #places
end
local records = read_records(ids)
if not records then return damaged() end
begin_to_write(true)
write_lanes(leased)
return {lot.lease, records}
