//! Whether the bytes that came are those that were stored.

use std::fmt;

use aws_sdk_s3::operation::get_object::GetObjectOutput;
use aws_sdk_s3::types::{ChecksumType, ServerSideEncryption};
use aws_smithy_checksums::ChecksumAlgorithm;
use aws_smithy_checksums::http::HttpChecksum;
use bytes::Bytes;
use data_encoding::{BASE64, HEXLOWER_PERMISSIVE};
use md5::{Digest, Md5};

use crate::error::Problem;

/// What a server announced, and what the bytes so far amount to.
///
/// S3 announces the checksum that was made at the upload. Without one, the ETag of a plain upload is its MD5.
/// Nothing is announced of the whole of an object in parts, nor, but for the checksum, of one that is encrypted
/// with a key of the customer.
pub(crate) struct Checksum {
    name: &'static str,
    expected: Bytes,
    running: Running,
}

enum Running {
    Announced(Box<dyn HttpChecksum>),
    Md5(Box<Md5>),
}

impl fmt::Debug for Checksum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Checksum").field("name", &self.name).finish_non_exhaustive()
    }
}

impl Checksum {
    /// Returns the best checksum of the whole content that an answer announces.
    pub(crate) fn announced(answer: &GetObjectOutput, etag: &str) -> Option<Self> {
        Self::of_headers(answer).or_else(|| Self::of_etag(answer, etag))
    }

    fn of_headers(answer: &GetObjectOutput) -> Option<Self> {
        if answer.checksum_type() == Some(&ChecksumType::Composite) {
            return None;
        }
        let announced = [
            ("CRC-64", answer.checksum_crc64_nvme(), ChecksumAlgorithm::Crc64Nvme),
            ("CRC-32C", answer.checksum_crc32_c(), ChecksumAlgorithm::Crc32c),
            ("CRC-32", answer.checksum_crc32(), ChecksumAlgorithm::Crc32),
            ("SHA-1", answer.checksum_sha1(), ChecksumAlgorithm::Sha1),
            ("SHA-256", answer.checksum_sha256(), ChecksumAlgorithm::Sha256),
        ];
        announced.into_iter().find_map(|(name, value, algorithm)| {
            // That of an object in parts, such as `AAAAAA==-3`, is not Base64.
            let expected = BASE64.decode(value?.as_bytes()).ok()?;
            Some(Self { name, expected: expected.into(), running: Running::Announced(algorithm.into_impl()) })
        })
    }

    fn of_etag(answer: &GetObjectOutput, etag: &str) -> Option<Self> {
        let is_plain = match answer.server_side_encryption() {
            None | Some(ServerSideEncryption::Aes256) => answer.sse_customer_algorithm().is_none(),
            Some(_) => false,
        };
        let expected = HEXLOWER_PERMISSIVE.decode(etag.as_bytes()).ok()?;
        let is_md5 = is_plain && expected.len() == Md5::output_size();
        is_md5.then(|| Self { name: "MD5", expected: expected.into(), running: Running::Md5(Box::default()) })
    }

    pub(crate) fn update(&mut self, bytes: &[u8]) {
        match &mut self.running {
            Running::Announced(checksum) => checksum.update(bytes),
            Running::Md5(md5) => md5.update(bytes),
        }
    }

    /// Checks that all bytes were those that were announced.
    pub(crate) fn check(self) -> Result<(), Problem> {
        let actual = match self.running {
            Running::Announced(checksum) => checksum.finalize(),
            Running::Md5(md5) => Bytes::copy_from_slice(&md5.finalize()),
        };
        if actual == self.expected { Ok(()) } else { Err(Problem::WrongChecksum(self.name)) }
    }
}

#[cfg(test)]
mod tests {
    use aws_sdk_s3::operation::get_object::builders::GetObjectOutputBuilder;

    use super::*;

    const CONTENT: &[u8] = b"123456789";
    const MD5: &str = "25f9e794323b453885f5181f1b624d0b";

    fn checked(answer: GetObjectOutputBuilder, etag: &str) -> Option<(&'static str, bool)> {
        let mut checksum = Checksum::announced(&answer.build(), etag)?;
        let (one, two) = CONTENT.split_at(4);
        checksum.update(one);
        checksum.update(two);
        Some((checksum.name, checksum.check().is_ok()))
    }

    fn answer() -> GetObjectOutputBuilder {
        GetObjectOutputBuilder::default()
    }

    #[test]
    fn each_checksum_of_the_content_is_known() {
        for (built, name) in [
            (answer().checksum_crc64_nvme("rosUhgp5mIg="), "CRC-64"),
            (answer().checksum_crc32_c("4waSgw=="), "CRC-32C"),
            (answer().checksum_crc32("y/Q5Jg=="), "CRC-32"),
            (answer().checksum_sha1("98O8HYCOBHMq32eZZczDTKeuNEE="), "SHA-1"),
            (answer().checksum_sha256("FeKw08M4keuw8e9gnsQZQgwg4yDOlMZfvIwzEkSOsiU="), "SHA-256"),
        ] {
            assert_eq!(checked(built, MD5), Some((name, true)));
        }
        assert_eq!(checked(answer(), MD5), Some(("MD5", true)));
    }

    #[test]
    fn other_bytes_are_noticed() {
        assert_eq!(checked(answer().checksum_crc32("y/Q5Jw=="), MD5), Some(("CRC-32", false)));
        assert_eq!(checked(answer().checksum_crc32("yw=="), MD5), Some(("CRC-32", false)));
        assert_eq!(checked(answer(), &MD5.replace('2', "3")), Some(("MD5", false)));
    }

    #[test]
    fn what_says_nothing_of_the_whole_content_is_not_compared() {
        let composite = answer().checksum_type(ChecksumType::Composite).checksum_crc32("y/Q5Jw==");
        assert_eq!(checked(composite, "abc-2"), None);
        assert_eq!(checked(answer().checksum_sha256("aaaa-2"), "abc-2"), None);
        assert_eq!(checked(answer(), "25f9e794323b453885f5181f1b624d0b-2"), None);
        assert_eq!(checked(answer(), "25f9e794"), None);
        for encrypted in [
            answer().server_side_encryption(ServerSideEncryption::AwsKms),
            answer().server_side_encryption(ServerSideEncryption::AwsKmsDsse),
            answer().sse_customer_algorithm("AES256"),
        ] {
            assert_eq!(checked(encrypted, &MD5.replace('2', "3")), None, "its ETag is no MD5");
        }
        let aes = answer().server_side_encryption(ServerSideEncryption::Aes256);
        assert_eq!(checked(aes, MD5), Some(("MD5", true)));
    }
}
