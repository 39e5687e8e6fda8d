//! From an object to a verdict, on servers that check signatures, know conditions and keep versions.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod support;

use std::error::Error;
use std::sync::Arc;

use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{
    BucketVersioningStatus, ChecksumAlgorithm, CompletedMultipartUpload, CompletedPart, ServerSideEncryption,
    VersioningConfiguration,
};
use futures_util::TryStreamExt;
use mini_platform_core::domain::{ClientId, ListVersion, Verdict};
use mini_platform_core::error::{FaultKind, SourceError};
use mini_platform_core::feeder::{Feeder, ListSource, Refresh, RefreshError};
use mini_platform_core::memory::MemoryFraudRegistry;
use mini_platform_core::port::{Fetched, FraudRegistry, FraudSource, RawList};
use mini_platform_core::testkit::server::{Fault, FaultProxy};
use mini_platform_s3::{S3Location, S3Source};

use support::{Bucket, KEY, Server, in_process, moto};

/// The content "Ann\nBob\n", packed by gzip.
const PACKED: &[u8] = &[
    0x1f, 0x8b, 0x08, 0x00, 0x00, 0x00, 0x00, 0x00, 0x02, 0x03, 0x73, 0xcc, 0xcb, 0xe3, 0x72, 0xca, 0x4f,
    0xe2, 0x02, 0x00, 0xb9, 0xa0, 0x5a, 0xe6, 0x08, 0x00, 0x00, 0x00,
];

async fn fetch(source: &S3Source, since: Option<&ListVersion>) -> Option<RawList> {
    match source.fetch_if_changed(since.cloned()).await.unwrap() {
        Fetched::Changed(list) => Some(list),
        _ => None,
    }
}

async fn read(list: RawList) -> Vec<u8> {
    let pieces: Vec<_> = list.bytes.try_collect().await.unwrap();
    pieces.concat()
}

async fn version(source: &S3Source) -> ListVersion {
    fetch(source, None).await.expect("it is there").version
}

/// Asks for an object that cannot be read; returns the kind of fault, if it is one, and all that is said.
async fn failure(server: &Server, location: S3Location) -> (Option<FaultKind>, String) {
    let error = server.source(location).await.fetch_if_changed(None).await.expect_err("it cannot be read");
    let kind = match &error {
        SourceError::Fault(fault) => Some(fault.kind()),
        _ => None,
    };
    (kind, told(&error))
}

fn told(error: &dyn Error) -> String {
    let cause = error.source().map(told).unwrap_or_default();
    format!("{error}; {cause}")
}

#[tokio::test]
async fn what_is_wrong_is_told_apart() {
    let (server, _guard) = in_process().await;
    let bucket = Bucket::new(&server).await;
    bucket.publish(b"Ann\n").await;
    let object = bucket.location();
    let wrong_secret = Server { secret: "wrong".to_owned(), ..server.clone() };
    let (kind, said) = failure(&wrong_secret, object.clone()).await;
    assert_eq!(kind, Some(FaultKind::Denied));
    assert!(said.contains("check the secret access key"), "{said}");
    let unknown_key = Server { id: "stranger".to_owned(), ..server.clone() };
    let (kind, said) = failure(&unknown_key, object.clone()).await;
    assert_eq!(kind, Some(FaultKind::Denied));
    assert!(said.contains("does not know the access key id"), "{said}");
    let missing = S3Location::new(object.bucket(), "missing").unwrap();
    let (kind, said) = failure(&server, missing.clone()).await;
    assert_eq!((kind, said), (None, format!("{missing} does not exist; ")));
    assert_eq!(read(fetch(&server.source(object).await, None).await.unwrap()).await, b"Ann\n");
}

#[tokio::test]
async fn moto_tells_a_missing_bucket_from_a_missing_object() {
    let Some(server) = moto() else { return };
    let bucket = Bucket::new(&server).await;
    let (_, said) = failure(&server, bucket.location()).await;
    assert_eq!(said, format!("{} does not exist; ", bucket.location()));
    let (_, said) = failure(&server, S3Location::new("no-such-bucket", KEY).unwrap()).await;
    assert!(said.starts_with("the bucket of s3://no-such-bucket/"), "{said}");
}

#[tokio::test]
async fn the_version_of_an_object_is_a_part_of_the_version_of_the_list() {
    let Some(server) = moto() else { return };
    let bucket = Bucket::new(&server).await;
    let versioning = VersioningConfiguration::builder().status(BucketVersioningStatus::Enabled).build();
    let keep = bucket.client.put_bucket_versioning().bucket(&bucket.name);
    Box::pin(keep.versioning_configuration(versioning).send()).await.unwrap();
    let source = server.source(bucket.location()).await;

    bucket.publish(b"Ann\n").await;
    let first = version(&source).await;
    let head = Box::pin(bucket.client.head_object().bucket(&bucket.name).key(KEY).send()).await.unwrap();
    let expected = format!("{}@{}", head.e_tag().unwrap().trim_matches('"'), head.version_id().unwrap());
    assert_eq!(first.etag().as_str(), expected);

    bucket.publish(b"Ann\n").await;
    assert!(fetch(&source, Some(&first)).await.is_none(), "it was uploaded again, with the same content");
    assert!(version(&source).await.etag() != first.etag(), "though under another version");

    bucket.publish(b"Bob\n").await;
    let second = fetch(&source, Some(&first)).await.expect("it changed").version;
    bucket.publish(b"Ann\n").await;
    let third = fetch(&source, Some(&second)).await.expect("it changed back").version;
    assert!(
        first < second && second < third,
        "what is uploaded again counts as new: {first} {second} {third}"
    );

    Box::pin(bucket.client.delete_object().bucket(&bucket.name).key(KEY).send()).await.unwrap();
    let gone = source.fetch_if_changed(Some(third)).await.unwrap_err();
    assert!(matches!(gone, SourceError::NotFound { .. }), "{gone:?}");
}

#[tokio::test]
async fn an_upload_in_parts_is_read_whole() {
    let Some(server) = moto() else { return };
    let bucket = Bucket::new(&server).await;
    let upload = bucket.client.create_multipart_upload().bucket(&bucket.name).key(KEY);
    let upload = Box::pin(upload.checksum_algorithm(ChecksumAlgorithm::Crc32).send()).await.unwrap();
    let parts = [vec![b'a'; 5 << 20], vec![b'b'; 1 << 20]];
    let mut completed = CompletedMultipartUpload::builder();
    for (number, part) in (1..).zip(&parts) {
        let request = bucket.client.upload_part().bucket(&bucket.name).key(KEY).part_number(number);
        let request =
            request.checksum_algorithm(ChecksumAlgorithm::Crc32).body(ByteStream::from(part.clone()));
        let done = Box::pin(request.set_upload_id(upload.upload_id.clone()).send()).await.unwrap();
        let part = CompletedPart::builder().part_number(number).set_e_tag(done.e_tag);
        completed = completed.parts(part.set_checksum_crc32(done.checksum_crc32).build());
    }
    let end = bucket.client.complete_multipart_upload().bucket(&bucket.name).key(KEY);
    let end = end.set_upload_id(upload.upload_id).multipart_upload(completed.build());
    Box::pin(end.send()).await.unwrap();
    let list = fetch(&server.source(bucket.location()).await, None).await.unwrap();
    assert!(list.version.etag().as_str().ends_with("-2"), "{}", list.version);
    assert!(read(list).await == parts.concat(), "the content is the one that was uploaded");
}

#[tokio::test]
async fn checksums_and_encryption_do_not_stand_in_the_way() {
    let Some(server) = moto() else { return };
    let bucket = Bucket::new(&server).await;
    let source = server.source(bucket.location()).await;
    for algorithm in [
        ChecksumAlgorithm::Crc32,
        ChecksumAlgorithm::Crc32C,
        ChecksumAlgorithm::Crc64Nvme,
        ChecksumAlgorithm::Sha1,
        ChecksumAlgorithm::Sha256,
    ] {
        let put = bucket.client.put_object().bucket(&bucket.name).key(KEY).checksum_algorithm(algorithm);
        let body = ByteStream::from_static(b"Ann\nBob\n");
        Box::pin(put.body(body).send()).await.unwrap();
        assert_eq!(read(fetch(&source, None).await.unwrap()).await, b"Ann\nBob\n");
    }
    let put = bucket.client.put_object().bucket(&bucket.name).key(KEY);
    let put =
        put.server_side_encryption(ServerSideEncryption::AwsKms).body(ByteStream::from_static(b"Eve\n"));
    Box::pin(put.send()).await.unwrap();
    assert_eq!(read(fetch(&source, None).await.unwrap()).await, b"Eve\n");
}

async fn read_over_a_cut_connection(server: Server) {
    let bucket = Bucket::new(&server).await;
    let content: Vec<u8> = (0..=u8::MAX).cycle().take(2 << 20).collect();
    bucket.publish(&content).await;
    let proxy = FaultProxy::start(server.endpoint.trim_start_matches("http://")).await;
    let cut = Server { endpoint: format!("http://{}", proxy.addr()), ..server };
    let source = cut.source(bucket.location()).await;
    proxy.set_times(2, Fault::HalfReply(700_000));
    assert!(
        read(fetch(&source, None).await.unwrap()).await == content,
        "the content is the one that was uploaded"
    );
    assert_eq!(proxy.hits(), 2, "the connection was cut twice");
}

#[tokio::test]
async fn a_cut_connection_is_resumed_where_signatures_are_checked() {
    let (server, _guard) = in_process().await;
    read_over_a_cut_connection(server).await;
}

#[tokio::test]
async fn a_cut_connection_is_resumed_where_conditions_are_checked() {
    let Some(server) = moto() else { return };
    read_over_a_cut_connection(server).await;
}

async fn is_stopped(registry: &dyn FraudRegistry, name: &str) -> bool {
    let screening = registry.screen(&[ClientId::new(name).unwrap()]).await.unwrap();
    matches!(screening.verdicts.as_slice(), [Verdict::Hit { .. }])
}

fn feeder(registry: &Arc<dyn FraudRegistry>, source: &S3Source) -> Feeder {
    Feeder::new(Arc::clone(registry), ListSource::new(Arc::new(source.clone())))
}

async fn feed_and_stop(server: Server) {
    let bucket = Bucket::new(&server).await;
    let source = server.source(bucket.location()).await;
    let registry: Arc<dyn FraudRegistry> = Arc::new(MemoryFraudRegistry::default());
    let mut feeder = feeder(&registry, &source);

    let missing = feeder.refresh().await;
    assert!(matches!(missing, Err(RefreshError::Source(SourceError::NotFound { .. }))), "{missing:?}");

    bucket.publish(b"Ann\nBob\n").await;
    assert!(matches!(feeder.refresh().await, Ok(Refresh::Replaced { .. })));
    assert!(is_stopped(&*registry, "ann").await);
    bucket.publish(b"Ann\nBob\n").await;
    assert_eq!(feeder.refresh().await.unwrap(), Refresh::Unchanged, "the same content was uploaded again");

    for names in ["Bob\nEve\n", "Ann\nEve\n", "Eve\nIvo\n"] {
        bucket.publish(names.as_bytes()).await;
        let replaced = feeder.refresh().await;
        assert!(matches!(replaced, Ok(Refresh::Replaced { .. })), "within one second, too: {replaced:?}");
    }
    assert!(is_stopped(&*registry, "Ivo").await && !is_stopped(&*registry, "Ann").await);

    bucket.publish(b"<html>sign in</html>").await;
    let refused = feeder.refresh().await.unwrap_err();
    assert!(told(&refused).contains("HTML"), "{}", told(&refused));
    assert!(is_stopped(&*registry, "Ivo").await, "the old list stays in force");

    bucket.publish(PACKED).await;
    let unpacked = feeder.refresh().await;
    assert!(matches!(unpacked, Ok(Refresh::Replaced { .. })), "{unpacked:?}");
    assert!(is_stopped(&*registry, "Bob").await);
}

#[tokio::test]
async fn a_name_is_stopped_as_long_as_it_is_in_the_object() {
    let Some(server) = moto() else { return };
    feed_and_stop(server).await;
}

#[tokio::test]
async fn a_name_is_stopped_on_a_server_without_conditions() {
    let (server, _guard) = in_process().await;
    feed_and_stop(server).await;
}

#[tokio::test]
async fn several_feeders_agree_on_uploads_within_one_second() {
    let Some(server) = moto() else { return };
    let bucket = Bucket::new(&server).await;
    let source = server.source(bucket.location()).await;
    let registry: Arc<dyn FraudRegistry> = Arc::new(MemoryFraudRegistry::default());
    let (mut one, mut two) = (feeder(&registry, &source), feeder(&registry, &source));
    for names in ["Ann\n", "Bob\n", "Eve\n", "Ivo\n"] {
        bucket.publish(names.as_bytes()).await;
        let replaced = one.refresh().await;
        assert!(matches!(replaced, Ok(Refresh::Replaced { .. })), "{replaced:?}");
        assert_eq!(two.refresh().await.unwrap(), Refresh::Unchanged);
        std::mem::swap(&mut one, &mut two);
    }
    let mut restarted = feeder(&registry, &source);
    assert_eq!(restarted.refresh().await.unwrap(), Refresh::Unchanged);
    assert!(is_stopped(&*registry, "Ivo").await && !is_stopped(&*registry, "Eve").await);
}

#[tokio::test]
async fn a_list_of_the_treasury_is_fed() {
    let Some(server) = moto() else { return };
    let bucket = Bucket::new(&server).await;
    let rows: String = (1..=20_000)
        .map(|n| {
            format!(
                "{n},\"NAME {n}, Given\",\"individual\",\"CUBA\",-0- ,-0- ,-0- ,-0- ,-0- ,-0- ,-0- ,-0- \n"
            )
        })
        .collect();
    bucket.publish(format!("{rows}\x1a").as_bytes()).await;
    let registry: Arc<dyn FraudRegistry> = Arc::new(MemoryFraudRegistry::default());
    let source = server.source(bucket.location()).await;
    let Ok(Refresh::Replaced { list, .. }) = feeder(&registry, &source).refresh().await else {
        panic!("the list is taken in")
    };
    assert_eq!((list.entries, list.source), (20_000, bucket.location().to_string()));
}
