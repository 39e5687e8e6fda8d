//! From a file to a verdict, through the feeder and the registry in memory.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs::{self, File};
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use mini_platform_core::domain::{ClientId, Verdict};
use mini_platform_core::feeder::{Feeder, ListSource, Refresh, RefreshError};
use mini_platform_core::memory::MemoryFraudRegistry;
use mini_platform_core::port::FraudRegistry;
use mini_platform_file::FileSource;

async fn is_stopped(registry: &dyn FraudRegistry, name: &str) -> bool {
    let subjects = [ClientId::new(name).unwrap()];
    let screening = registry.screen(&subjects).await.unwrap();
    matches!(screening.verdicts.as_slice(), [Verdict::Hit { .. }])
}

#[tokio::test]
async fn a_name_is_stopped_as_long_as_it_is_in_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("list.txt");
    let publish = |second: u64, content: &str| {
        fs::write(&path, content).unwrap();
        let file = File::options().write(true).open(&path).unwrap();
        file.set_modified(UNIX_EPOCH + Duration::from_secs(second)).unwrap();
    };
    let registry: Arc<dyn FraudRegistry> = Arc::new(MemoryFraudRegistry::default());
    let mut feeder = Feeder::new(Arc::clone(&registry), ListSource::new(Arc::new(FileSource::new(&path))));

    let missing = feeder.refresh().await;
    assert!(matches!(missing, Err(RefreshError::Source(_))), "{missing:?}");

    publish(1_700_000_000, "Ann\nBob\n");
    assert!(matches!(feeder.refresh().await, Ok(Refresh::Replaced { .. })));
    assert!(is_stopped(&*registry, "ann").await);

    publish(1_700_000_100, "Ann\nBob\n");
    assert_eq!(feeder.refresh().await.unwrap(), Refresh::Unchanged, "it was only touched");

    publish(1_700_000_200, "Bob\nEve\n");
    assert!(matches!(feeder.refresh().await, Ok(Refresh::Replaced { .. })));
    assert!(is_stopped(&*registry, "Eve").await && !is_stopped(&*registry, "Ann").await);

    publish(1_700_000_300, "<html>moved</html>");
    assert!(matches!(feeder.refresh().await, Err(RefreshError::Refused(_))));
    assert!(is_stopped(&*registry, "Bob").await, "the old list stays in force");
}
