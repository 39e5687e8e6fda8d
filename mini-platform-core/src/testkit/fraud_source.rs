//! What every [`FraudSource`] must do.

use async_trait::async_trait;
use futures_util::TryStreamExt;

use super::Fixture;
use crate::port::{Fetched, FraudSource, RawList};

/// A source that a case can publish to.
#[async_trait]
pub trait PublishedSource: FraudSource {
    /// Puts new content in the place of the old, published later than it.
    async fn publish(&self, content: &[u8]);
}

type Subject = Fixture<dyn PublishedSource>;

async fn fetch(subject: &Subject) -> RawList {
    match subject.port.fetch_if_changed(None).await.unwrap() {
        Fetched::Changed(list) => list,
        Fetched::NotModified => panic!("a source that is asked for anything answers its content"),
    }
}

async fn read(list: RawList) -> Vec<u8> {
    list.bytes
        .try_fold(Vec::new(), async |mut all, bytes| {
            all.extend_from_slice(&bytes);
            Ok(all)
        })
        .await
        .unwrap()
}

/// FS-1: the whole content, of the announced length.
pub async fn fs1_the_content_is_answered_whole(subject: Subject) {
    let content: Vec<u8> = (0..300_000_u32).map(|n| b'a' + u8::try_from(n % 26).unwrap()).collect();
    subject.port.publish(&content).await;
    let list = fetch(&subject).await;
    if let Some(announced) = list.announced_bytes {
        assert_eq!(announced, 300_000);
    }
    assert!(read(list).await == content, "the content is the one that was published");
}

/// FS-2: nothing new, by itself and after a read.
pub async fn fs2_the_same_content_is_not_modified(subject: Subject) {
    subject.port.publish(b"one").await;
    let version = fetch(&subject).await.version;
    for _ in 0..2 {
        let again = subject.port.fetch_if_changed(Some(version.clone())).await.unwrap();
        assert!(matches!(again, Fetched::NotModified), "the content did not change");
    }
}

/// FS-2: new content has a new, later version.
pub async fn fs2_new_content_is_changed(subject: Subject) {
    subject.port.publish(b"one").await;
    let first = fetch(&subject).await.version;
    subject.port.publish(b"two").await;
    match subject.port.fetch_if_changed(Some(first.clone())).await.unwrap() {
        Fetched::Changed(list) => {
            assert!(list.version > first, "a later publication has a later version");
            assert_eq!(read(list).await, b"two");
        }
        Fetched::NotModified => panic!("the content changed"),
    }
}

/// FS-4: no piece holds a large content whole.
pub async fn fs4_pieces_are_bounded(subject: Subject) {
    subject.port.publish(&vec![b'x'; 4 << 20]).await;
    let pieces: Vec<_> = fetch(&subject).await.bytes.try_collect().await.unwrap();
    assert!(pieces.iter().all(|piece| piece.len() <= 1 << 20), "a piece holds at most a mebibyte");
}

/// Lists every case of this suite once.
#[doc(hidden)]
#[macro_export]
macro_rules! fraud_source_cases {
    ([$($emit:tt)+], $args:tt) => {
        $($emit)+! { $args fraud_source:
            fs1_the_content_is_answered_whole,
            fs2_the_same_content_is_not_modified,
            fs2_new_content_is_changed,
            fs4_pieces_are_bounded,
        }
    };
}

/// Emits the [`FraudSource`](crate::port::FraudSource) suite for the fixture that a future answers.
#[macro_export]
macro_rules! fraud_source_conformance {
    ($fixture:expr) => {
        $crate::fraud_source_cases! { [$crate::emit_conformance_tests], [$fixture] }
    };
}
