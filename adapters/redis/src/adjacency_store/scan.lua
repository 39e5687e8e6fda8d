-- One step of a walk over the keys of the node that serves KEYS[1].
-- ARGV: the cursor, the pattern of keys, about how many, and whether the node is one of a cluster.
return {
  redis.call('INFO', 'server'),
  ARGV[4] == '1' and redis.call('CLUSTER', 'SLOTS') or {},
  redis.call('SCAN', ARGV[1], 'MATCH', ARGV[2], 'COUNT', ARGV[3]),
}
