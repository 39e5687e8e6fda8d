-- Leases parcels of lanes that are due: the lanes by their turns, of each as many parcels as fit.
-- ARGV: the most parcels; for how many microseconds.
-- Answers the lease; of each parcel the number of its lane, its id and its record, empty where that is gone; and how many
-- turns were of lanes that lost their record or places, which are put off for as long and hold up no others.
local room, ttl = tonumber(ARGV[1]), tonumber(ARGV[2])
local clients, leased, numbers, ids, lost, answer = {}, {}, {}, {}, {}, {}
local turns = redis.call('ZRANGEBYSCORE', TURNS, '-inf', now, 'LIMIT', 0, room)
for _, turn in ipairs(turns) do push(clients, behind_count(turn)) end
if #turns == 0 then
  if clock_went_back then begin_to_write(true) end
  return {0, {}, 0}
end
-- Not from zero: who holds a lease of what was lost since must not meet its number again.
lot.lease = math.max(lot.lease + 1, clock)
local due = read_lanes(clients)
for i, turn in ipairs(turns) do
  if room == 0 then break end
  local lane = due[clients[i]]
  local has_turn = lane and turn_of(lane, lane.old_turn) == turn
  local places = has_turn and redis.call('ZRANGEBYSCORE', QUEUE, lane.number, lane.number, 'LIMIT', 0, room) or {}
  if #places == 0 then
    push(lost, now + ttl, turn)
  else
    for _, place in ipairs(places) do
      push(numbers, lane.number)
      push(ids, behind_count(place))
    end
    lane.lease, lane.lease_ends, lane.open = lot.lease, now + ttl, #places
    lane.last_leased = struct.unpack(COUNT, places[#places])
    give_turn(lane, lane.lease_ends)
    leased[lane.client] = lane
    room = room - #places
  end
end
for i, record in ipairs(read_all(PARCELS, ids)) do
  push(answer, numbers[i], ids[i])
  push(answer, record or '')
end
begin_to_write(true)
write('ZADD', TURNS, lost)
write_lanes(leased)
return {lot.lease, answer, #lost / 2}
