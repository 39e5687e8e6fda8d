//! Which object.

use std::fmt;
use std::str::FromStr;

/// The longest key of an object, in bytes; a limit of S3.
const MAX_KEY_BYTES: usize = 1024;

/// An object in a bucket; its text form is `s3://bucket/key`.
///
/// ```
/// use mini_platform_s3::S3Location;
///
/// let location: S3Location = "s3://compliance/lists/sdn.csv.gz".parse()?;
/// assert_eq!((location.bucket(), location.key()), ("compliance", "lists/sdn.csv.gz"));
/// assert!("s3://compliance".parse::<S3Location>().is_err());
/// # Ok::<(), mini_platform_s3::InvalidS3Location>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct S3Location {
    bucket: String,
    key: String,
}

/// A text names no object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidS3Location {
    /// It starts otherwise.
    #[error("must start with s3://, such as s3://bucket/fraud-list.txt")]
    Scheme,
    /// Nothing follows the scheme, or a slash does.
    #[error("names no bucket; write s3://bucket/key")]
    NoBucket,
    /// Nothing follows the bucket.
    #[error("names no key; write s3://bucket/key")]
    NoKey,
    /// S3 has no such bucket names.
    #[error(
        "names a bucket that cannot exist: 3 to 63 lower-case letters, digits, dots and hyphens, with a letter or digit at both ends, no two dots in a row, and no IP address"
    )]
    Bucket,
    /// S3 has no such keys.
    #[error("names a key that cannot exist: at most 1024 bytes, without control characters")]
    Key,
}

impl S3Location {
    /// Names an object.
    ///
    /// # Errors
    /// The bucket or the key is missing, or cannot exist.
    pub fn new(bucket: impl Into<String>, key: impl Into<String>) -> Result<Self, InvalidS3Location> {
        let (bucket, key) = (bucket.into(), key.into());
        if bucket.is_empty() {
            return Err(InvalidS3Location::NoBucket);
        }
        if !is_bucket(&bucket) {
            return Err(InvalidS3Location::Bucket);
        }
        if key.is_empty() {
            return Err(InvalidS3Location::NoKey);
        }
        if key.len() > MAX_KEY_BYTES || key.chars().any(char::is_control) {
            return Err(InvalidS3Location::Key);
        }
        Ok(Self { bucket, key })
    }

    /// Returns the bucket.
    #[must_use]
    pub fn bucket(&self) -> &str {
        &self.bucket
    }

    /// Returns the key of the object within its bucket.
    #[must_use]
    pub fn key(&self) -> &str {
        &self.key
    }
}

fn is_bucket(name: &str) -> bool {
    let is_end = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let bytes = name.as_bytes();
    (3..=63).contains(&bytes.len())
        && bytes.iter().all(|byte| is_end(byte) || b".-".contains(byte))
        && bytes.first().is_some_and(is_end)
        && bytes.last().is_some_and(is_end)
        && !name.contains("..")
        && name.parse::<std::net::Ipv4Addr>().is_err()
}

impl FromStr for S3Location {
    type Err = InvalidS3Location;

    fn from_str(text: &str) -> Result<Self, InvalidS3Location> {
        let rest = text.strip_prefix("s3://").ok_or(InvalidS3Location::Scheme)?;
        let (bucket, key) = rest.split_once('/').unwrap_or((rest, ""));
        Self::new(bucket, key)
    }
}

impl fmt::Display for S3Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "s3://{}/{}", self.bucket, self.key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_location_survives_its_text_form() {
        for text in ["s3://bucket/key", "s3://a.b-c/x y/%2F/ž?#.csv", "s3://bucket//slashes//"] {
            assert_eq!(text.parse::<S3Location>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn a_wrong_location_says_what_is_wrong() {
        for (text, expected) in [
            ("", InvalidS3Location::Scheme),
            ("bucket/key", InvalidS3Location::Scheme),
            ("https://bucket/key", InvalidS3Location::Scheme),
            ("s3://", InvalidS3Location::NoBucket),
            ("s3:///key", InvalidS3Location::NoBucket),
            ("s3://bucket", InvalidS3Location::NoKey),
            ("s3://bucket/", InvalidS3Location::NoKey),
            ("s3://Bucket/key", InvalidS3Location::Bucket),
            ("s3://my_bucket/key", InvalidS3Location::Bucket),
            ("s3://ab/key", InvalidS3Location::Bucket),
            ("s3://-ab/key", InvalidS3Location::Bucket),
            ("s3://ab./key", InvalidS3Location::Bucket),
            ("s3://a..b/key", InvalidS3Location::Bucket),
            ("s3://127.0.0.1/key", InvalidS3Location::Bucket),
            ("s3://user:secret@bucket/key", InvalidS3Location::Bucket),
            ("s3://bucket/a\nb", InvalidS3Location::Key),
        ] {
            assert_eq!(text.parse::<S3Location>(), Err(expected), "{text}");
        }
        assert_eq!(S3Location::new("b".repeat(64), "k"), Err(InvalidS3Location::Bucket));
        assert_eq!(S3Location::new("bucket", "k".repeat(1025)), Err(InvalidS3Location::Key));
        assert!(S3Location::new("b".repeat(63), "k".repeat(1024)).is_ok());
    }
}
