-- What the scripts of the parking lot share; it stands in front of each. README.md says what the keys hold.
local STATE, PARCELS, PARKED, DEAD, QUEUE, LANES, TURNS, HEADS = unpack(KEYS)

-- Numbers are whole and below 2^53, up to which Lua counts exactly.
local MAX_ATTEMPTS = 2^32 - 1
local PARCEL = '>I6I4BI7I7BI7I2'
local LANE = '>I6I7I6I7I7I7I4I6I4'
local COUNT = '>I6'

local function read_parcel(id, record)
  local parcel, length, rest = {id = id}, nil, nil
  parcel.sequence, parcel.attempts, parcel.reason, parcel.parked_at, parcel.lease, parcel.cause, parcel.died_at,
    length, rest = struct.unpack(PARCEL, record)
  parcel.client = string.sub(record, rest, rest + length - 1)
  parcel.content = string.sub(record, rest + length)
  return parcel
end

-- Whether there is a record of a parcel, and not just a part of one.
local function is_parcel(record) return record and #record >= struct.size(PARCEL) end

local function write_parcel(parcel)
  return struct.pack(PARCEL, parcel.sequence, parcel.attempts, parcel.reason, parcel.parked_at, parcel.lease,
    parcel.cause, parcel.died_at, #parcel.client) .. parcel.client .. parcel.content
end

local function read_lane(client, record)
  local lane = {client = client}
  lane.number, lane.due, lane.turn, lane.not_before, lane.lease, lane.lease_ends, lane.open, lane.last_leased,
    lane.parcels = struct.unpack(LANE, record)
  lane.old_turn = lane.turn
  return lane
end

local function write_lane(lane)
  return struct.pack(LANE, lane.number, lane.due, lane.turn, lane.not_before, lane.lease, lane.lease_ends, lane.open,
    lane.last_leased, lane.parcels)
end

-- Lanes of the same time have their turns by number.
local function turn_of(lane, number) return struct.pack(COUNT, number) .. lane.client end

-- Parcels of a lane have their places by sequence.
local function place_of(parcel) return struct.pack(COUNT, parcel.sequence) .. parcel.id end

-- What follows the number of a turn or place.
local function behind_count(member) return string.sub(member, struct.size(COUNT) + 1) end

local function push(list, one, other)
  list[#list + 1] = one
  list[#list + 1] = other
end

local function read_all(key, fields)
  return #fields == 0 and {} or redis.call('HMGET', key, unpack(fields))
end

local function write(command, key, arguments)
  if #arguments > 0 then redis.call(command, key, unpack(arguments)) end
end

local lot, COUNTERS = {}, {'now', 'seen', 'bytes', 'sequence', 'lane', 'turn', 'lease'}
for i, value in ipairs(read_all(STATE, COUNTERS)) do lot[COUNTERS[i]] = tonumber(value) or 0 end

-- The time of the lot, in microseconds, goes on with the server's clock and never back: when the clock is set back, or
-- another server's is behind, pauses and leases last as long as they were meant to.
local clock = redis.call('TIME')
clock = clock[1] * 1000000 + clock[2]
local clock_went_back = clock < lot.seen
local now = lot.now + math.max(clock - lot.seen, 0)

-- Begins to write, with the counters. Every command that writes is used once before, without effect: what fails for want
-- of a right or of memory fails here, and not half way.
--
-- A full memory makes Redis refuse a script only at its first write. One that removes needs no memory; behind it parcels
-- are given out and taken back, which makes room.
local function begin_to_write(although_memory_is_full)
  if although_memory_is_full then redis.call('ZREM', TURNS, '') end
  redis.call('ZADD', TURNS, 'XX', 0, '')
  redis.call('ZREM', TURNS, '')
  redis.call('HDEL', PARCELS, '')
  lot.now, lot.seen = now, clock
  local values = {}
  for _, name in ipairs(COUNTERS) do push(values, name, lot[name]) end
  write('HSET', STATE, values)
end

local function next_number(name)
  lot[name] = lot[name] + 1
  return lot[name]
end

local function give_turn(lane, due)
  lane.due, lane.turn = due, next_number('turn')
end

-- Reads the lanes that there are of some clients. One whose record is damaged is none.
local function read_lanes(clients)
  local lanes = {}
  for i, record in ipairs(read_all(LANES, clients)) do
    if record and #record == struct.size(LANE) then lanes[clients[i]] = read_lane(clients[i], record) end
  end
  return lanes
end

-- Writes lanes, and drops those that are empty.
local function write_lanes(lanes)
  local gone, old_turns, records, turns = {}, {}, {}, {}
  for client, lane in pairs(lanes) do
    local moved = lane.turn ~= lane.old_turn
    if lane.old_turn and (moved or lane.parcels == 0) then push(old_turns, turn_of(lane, lane.old_turn)) end
    if lane.parcels == 0 then
      push(gone, client)
    else
      push(records, client, write_lane(lane))
      if moved then push(turns, lane.due, turn_of(lane, lane.turn)) end
    end
  end
  write('ZREM', TURNS, old_turns)
  write('HDEL', LANES, gone)
  write('HSET', LANES, records)
  write('ZADD', TURNS, turns)
end

-- Notes since when the first parcels of lanes wait that lost parcels.
local function write_heads(lanes)
  local gone, numbers, ids, heads = {}, {}, {}, {}
  for _, lane in pairs(lanes) do
    if lane.parcels == 0 then
      push(gone, lane.number)
    elseif lane.has_new_head then
      local place = redis.call('ZRANGEBYSCORE', QUEUE, lane.number, lane.number, 'LIMIT', 0, 1)[1]
      push(numbers, lane.number)
      push(ids, place and behind_count(place) or '')
    end
  end
  for i, record in ipairs(read_all(PARCELS, ids)) do
    if is_parcel(record) then push(heads, read_parcel(ids[i], record).parked_at, numbers[i]) end
  end
  write('ZREM', HEADS, gone)
  write('ZADD', HEADS, heads)
end

-- Puts parcels at the ends of their lanes.
local function enter(parcels, although_memory_is_full)
  local clients, records, ids, places, heads = {}, {}, {}, {}, {}
  for _, parcel in ipairs(parcels) do push(clients, parcel.client) end
  local lanes = read_lanes(clients)
  for _, parcel in ipairs(parcels) do
    local lane = lanes[parcel.client]
    if not lane then
      lane = {client = parcel.client, number = next_number('lane'), not_before = 0, lease = 0, lease_ends = 0, open = 0,
        last_leased = 0, parcels = 0}
      give_turn(lane, now)
      lanes[parcel.client] = lane
      push(heads, parcel.parked_at, lane.number)
    end
    lane.parcels = lane.parcels + 1
    parcel.sequence = next_number('sequence')
    push(records, parcel.id, write_parcel(parcel))
    push(ids, 0, parcel.id)
    push(places, lane.number, place_of(parcel))
  end
  begin_to_write(although_memory_is_full)
  write('HSET', PARCELS, records)
  write('ZADD', PARKED, ids)
  write('ZADD', QUEUE, places)
  write('ZADD', HEADS, heads)
  write_lanes(lanes)
end

-- Reads a dead letter, if it is one.
local function read_dead(id)
  local record = read_all(PARCELS, {id})[1]
  local parcel = record and read_parcel(id, record)
  return parcel and parcel.cause ~= 0 and parcel
end
