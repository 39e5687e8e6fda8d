-- Puts a list in force, if nothing changed since the caller looked and all of its names are there.
-- KEYS: 1 the record of the lists; 2 the names of the list;
--       and for a new list: 3 where its names move to; from 4 on the names of lists that go.
-- ARGV: 1 the record as the caller saw it, empty for none; 2 the record to be; 3 how many names the list has.
if (redis.call('GET', KEYS[1]) or '') ~= ARGV[1] then return 'changed' end
if redis.call('HLEN', KEYS[2]) ~= tonumber(ARGV[3]) then return 'lost' end
-- The one write that Redis refuses when memory is full comes first: then nothing was done.
redis.call('SET', KEYS[1], ARGV[2])
if KEYS[3] then
  redis.call('UNLINK', KEYS[3], unpack(KEYS, 4))
  -- A list without names has no key.
  if ARGV[3] ~= '0' then
    redis.call('PERSIST', KEYS[2])
    redis.call('RENAME', KEYS[2], KEYS[3])
  end
end
return 'done'
