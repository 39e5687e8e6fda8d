//! Numbers that no other process has.

use uuid::Uuid;

/// Returns a number that no other process has, so that processes which failed together come back apart.
pub(crate) fn random_seed() -> u64 {
    // The second half of a fresh id is random.
    Uuid::now_v7().as_u64_pair().1
}
