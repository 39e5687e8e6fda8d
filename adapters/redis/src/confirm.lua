-- Notes when the list in force was confirmed, if nothing changed since the caller looked.
-- KEYS: 1 the record of the lists; 2 the time of the last confirmation.
-- ARGV: 1 the record as the caller saw it; 2 the time as the caller saw it, empty for none; 3 the time to be.
if (redis.call('GET', KEYS[1]) or '') ~= ARGV[1] then return 'changed' end
if (redis.call('GET', KEYS[2]) or '') ~= ARGV[2] then return 'changed' end
redis.call('SET', KEYS[2], ARGV[3])
return 'done'
