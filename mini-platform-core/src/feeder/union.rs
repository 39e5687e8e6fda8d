//! The version of a list that is the union of several sources.

use data_encoding::HEXLOWER;
use sha2::{Digest, Sha256};

use crate::domain::{Etag, ListVersion, Timestamp};

/// How many bytes of the hash over all etags make the etag of the union.
const ETAG_BYTES: usize = 16;

/// Returns the version of the union; `None` without a source. The version of a single source is its own.
///
/// The union is published when its newest part was, less one microsecond for every second that another part is
/// older. Without this, a new version of an older part would leave the time as it was, and registries take a
/// list in only when it was published later. The same parts make the same version in every process.
pub(super) fn union_version(parts: &[ListVersion]) -> Option<ListVersion> {
    if let [only] = parts {
        return Some(only.clone());
    }
    let newest = parts.iter().map(ListVersion::published_at).max()?;
    let lag: u64 = parts.iter().map(|part| newest.since(part.published_at()).as_secs()).sum();
    let micros = newest.as_micros().saturating_sub(i64::try_from(lag).ok()?);
    let published_at = Timestamp::from_micros(micros).ok()?;
    Some(ListVersion::new(published_at, union_etag(parts)?))
}

fn union_etag(parts: &[ListVersion]) -> Option<Etag> {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update(part.etag().as_str());
        // No etag holds a space, so different parts never look alike.
        hash.update(b" ");
    }
    let digest = hash.finalize();
    Etag::new(HEXLOWER.encode(digest.get(..ETAG_BYTES)?)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: i64 = 1_000_000;

    fn part(seconds: i64, etag: &str) -> ListVersion {
        ListVersion::new(Timestamp::from_micros(seconds * SECOND).unwrap(), Etag::new(etag).unwrap())
    }

    fn union(parts: &[ListVersion]) -> ListVersion {
        union_version(parts).unwrap()
    }

    #[test]
    fn a_single_source_keeps_its_version() {
        assert_eq!(union(&[part(7, "a")]), part(7, "a"));
        assert_eq!(union_version(&[]), None);
    }

    #[test]
    fn a_new_version_of_any_part_makes_the_union_newer() {
        let old = union(&[part(1000, "a"), part(2000, "b")]);
        assert!(union(&[part(1000, "a"), part(2001, "c")]).published_at() > old.published_at());
        let older_part = union(&[part(1001, "c"), part(2000, "b")]);
        assert!(older_part.published_at() > old.published_at(), "also a part that is not the newest one");
    }

    #[test]
    fn the_union_is_as_old_as_its_newest_part_but_for_microseconds() {
        let lag = 365 * 24 * 3600;
        let published = union(&[part(lag + 5, "a"), part(5, "b")]).published_at();
        assert_eq!(published.as_micros(), (lag + 5) * SECOND - lag);
    }

    #[test]
    fn the_content_of_every_part_counts() {
        let one = union(&[part(1, "a"), part(1, "b")]);
        assert_eq!(one, union(&[part(1, "a"), part(1, "b")]));
        for other in [["a", "c"], ["c", "b"], ["b", "a"]] {
            assert_ne!(one, union(&other.map(|etag| part(1, etag))), "{other:?}");
        }
    }
}
