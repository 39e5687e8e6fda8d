-- Takes parcels in, all or none.
-- ARGV: the most parcels; the most bytes; of each parcel its id, client and content, and the code of its reason.
local FIRST, STEP = 3, 4
local ids, new, met, bytes = {}, {}, {}, 0
for at = FIRST, #ARGV, STEP do push(ids, ARGV[at]) end
for i, record in ipairs(read_all(PARCELS, ids)) do
  local id, at = ids[i], FIRST + STEP * (i - 1)
  if not record and not met[id] then
    met[id] = true
    bytes = bytes + #ARGV[at + 2]
    push(new, {id = id, client = ARGV[at + 1], content = ARGV[at + 2], reason = tonumber(ARGV[at + 3]), attempts = 0,
      parked_at = clock, lease = 0, cause = 0, died_at = 0})
  end
end
if #new == 0 then return 'done' end
local held = redis.call('ZCARD', PARKED) + redis.call('ZCARD', DEAD)
if held + #new > tonumber(ARGV[1]) or lot.bytes + bytes > tonumber(ARGV[2]) then return 'full' end
lot.bytes = lot.bytes + bytes
enter(new, false)
return 'done'
