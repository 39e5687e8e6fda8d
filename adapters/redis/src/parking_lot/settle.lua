-- Does what is to be done with leased parcels.
-- ARGV: of each settlement its lease, the id of its parcel, and what to do, `done`, `retry` or `dead`; how many attempts
-- count; the code of the new reason, 0 for none; the pause in microseconds; the code of the cause of death.
-- Answers of each whether its lease ran.
local STEP = 7
local ids, clients, parcels = {}, {}, {}
for at = 1, #ARGV, STEP do push(ids, ARGV[at + 1]) end
for i, record in ipairs(read_all(PARCELS, ids)) do
  if is_parcel(record) then
    parcels[ids[i]] = read_parcel(ids[i], record)
    push(clients, parcels[ids[i]].client)
  end
end
local lanes = read_lanes(clients)
local touched, kept, forgotten, left, places, dead, answer = {}, {}, {}, {}, {}, {}, {}

local function is_covered(parcel, lane, lease)
  local runs = lane.lease == lease and now < lane.lease_ends
  return runs and parcel.cause == 0 and parcel.sequence <= lane.last_leased and parcel.lease ~= lease
end

-- Takes a parcel out of its lane.
local function take_out(parcel, lane)
  push(left, parcel.id)
  push(places, place_of(parcel))
  lane.parcels = lane.parcels - 1
  lane.has_new_head = true
end

-- Notes that a parcel of a lane is settled, and gives the lane its next turn.
local function close_one(lane)
  lane.open = lane.open - 1
  if lane.open == 0 then lane.lease, lane.lease_ends = 0, 0 end
  local due = math.max(lane.open == 0 and now or lane.lease_ends, lane.not_before)
  if due ~= lane.due then give_turn(lane, due) end
end

for at = 1, #ARGV, STEP do
  local lease, id, verdict = tonumber(ARGV[at]), ARGV[at + 1], ARGV[at + 2]
  local attempts, reason, pause, cause =
    tonumber(ARGV[at + 3]), tonumber(ARGV[at + 4]), tonumber(ARGV[at + 5]), tonumber(ARGV[at + 6])
  local parcel = parcels[id]
  local lane = parcel and lanes[parcel.client]
  local covered = lane and is_covered(parcel, lane, lease)
  push(answer, covered and 1 or 0)
  if covered then
    touched[parcel.client] = lane
    parcel.lease = lease
    parcel.attempts = math.min(parcel.attempts + attempts, MAX_ATTEMPTS)
    parcel.reason = reason == 0 and parcel.reason or reason
    if verdict == 'done' then
      take_out(parcel, lane)
      push(forgotten, id)
      parcels[id] = nil
      lot.bytes = lot.bytes - #parcel.content
    elseif verdict == 'dead' then
      take_out(parcel, lane)
      parcel.cause, parcel.died_at = cause, clock
      push(dead, 0, id)
      push(kept, id, write_parcel(parcel))
    else
      lane.not_before = math.max(lane.not_before, now + pause)
      push(kept, id, write_parcel(parcel))
    end
    close_one(lane)
  end
end
if not next(touched) then return answer end

begin_to_write(true)
write('ZREM', PARKED, left)
write('ZREM', QUEUE, places)
write('HDEL', PARCELS, forgotten)
write('HSET', PARCELS, kept)
write('ZADD', DEAD, dead)
write_heads(touched)
write_lanes(touched)
return answer
