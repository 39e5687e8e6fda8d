//! What an answer says of an object, and the version of the list that it makes.

use aws_sdk_s3::operation::get_object::GetObjectOutput;
use mini_platform_core::domain::{Etag, ListVersion, Timestamp};

use crate::checksum::Checksum;
use crate::error::Problem;

/// Divides the ETag from the version id in the text of a list version.
const DIVIDER: char = '@';

/// The longest text of both, in bytes; what [`Etag`] takes.
const MAX_TEXT_BYTES: usize = 128;

/// The version id of what was uploaded while the bucket kept no versions: it names no version for good.
const NO_VERSION: &str = "null";

const MICROS_PER_SECOND: i64 = 1_000_000;

/// Which content an object has: its ETag and, in a bucket that keeps versions, its version id.
///
/// The text form is `etag` or `etag@version`. Quotes around a strong ETag are left out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ContentId {
    etag: String,
    version: Option<String>,
}

impl ContentId {
    /// Makes the id of what the headers say; `None` without an ETag that can be told in a list version.
    fn new(etag: &str, version: Option<&str>) -> Option<Self> {
        let etag = etag.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(etag);
        let room = MAX_TEXT_BYTES.checked_sub(etag.len() + DIVIDER.len_utf8())?;
        let is_text = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic());
        let version = version
            .filter(|id| *id != NO_VERSION && is_text(id) && id.len() <= room && !id.contains(DIVIDER))
            .map(ToOwned::to_owned);
        is_text(etag).then(|| Self { etag: etag.to_owned(), version })
    }

    /// Returns what [`ContentId::to_text`] was made of.
    pub(crate) fn from_text(text: &Etag) -> Self {
        let (etag, version) = text.as_str().rsplit_once(DIVIDER).unwrap_or((text.as_str(), ""));
        let version = Some(version).filter(|version| !version.is_empty()).map(ToOwned::to_owned);
        Self { etag: etag.to_owned(), version }
    }

    fn to_text(&self) -> String {
        match &self.version {
            Some(version) => format!("{}{DIVIDER}{version}", self.etag),
            None if self.etag.contains(DIVIDER) => format!("{}{DIVIDER}", self.etag),
            None => self.etag.clone(),
        }
    }

    /// Returns the ETag as a header has it.
    pub(crate) fn header(&self) -> String {
        if self.is_weak() { self.etag.clone() } else { format!("\"{}\"", self.etag) }
    }

    /// Whether the ETag only promises a content that means the same, so that no range of it may be asked for.
    pub(crate) fn is_weak(&self) -> bool {
        self.etag.starts_with("W/")
    }

    /// Returns the version id, in a bucket that keeps versions.
    pub(crate) fn version(&self) -> Option<&str> {
        self.version.as_deref()
    }

    /// Whether the content is the same, even when it was uploaded once more.
    pub(crate) fn has_content_of(&self, other: &Self) -> bool {
        self.etag == other.etag
    }
}

/// What an answer says of an object.
#[derive(Debug)]
pub(crate) struct Object {
    pub(crate) id: ContentId,
    pub(crate) modified: Timestamp,
    pub(crate) length: u64,
    pub(crate) checksum: Option<Checksum>,
}

impl Object {
    /// Reads the headers of an answer.
    pub(crate) fn of(answer: &GetObjectOutput) -> Result<Self, Problem> {
        let id = content_id(answer).ok_or(Problem::Header("ETag"))?;
        let modified = answer.last_modified().and_then(|time| {
            Timestamp::from_micros(i64::try_from(time.as_nanos().div_euclid(1_000)).ok()?).ok()
        });
        let length = answer.content_length().and_then(|length| u64::try_from(length).ok());
        Ok(Self {
            modified: modified.ok_or(Problem::Header("Last-Modified"))?,
            length: length.ok_or(Problem::Header("Content-Length"))?,
            checksum: Checksum::announced(answer, &id.etag),
            id,
        })
    }

    /// Returns the version of the list, read after the version `since` was known.
    ///
    /// S3 tells the time of an upload to the second, and lists come into force only when they were published
    /// later. So of two uploads within one second, the one that is seen later gets a later time, by a
    /// microsecond: S3 never answers an object that was overwritten, so what is seen later was uploaded later.
    pub(crate) fn version(&self, since: Option<&ListVersion>) -> Result<ListVersion, Problem> {
        let etag = Etag::new(self.id.to_text()).map_err(|_| Problem::Header("ETag"))?;
        let second = |time: Timestamp| time.as_micros().div_euclid(MICROS_PER_SECOND);
        let known = since.map(ListVersion::published_at);
        let tie = known.filter(|known| second(*known) == second(self.modified) && *known >= self.modified);
        let published_at = tie.map_or(self.modified, |known| {
            Timestamp::from_micros(known.as_micros() + 1).unwrap_or(self.modified)
        });
        Ok(ListVersion::new(published_at, etag))
    }
}

/// Returns which content an answer is of.
pub(crate) fn content_id(answer: &GetObjectOutput) -> Option<ContentId> {
    ContentId::new(answer.e_tag()?, answer.version_id())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn id(etag: &str, version: Option<&str>) -> ContentId {
        ContentId::new(etag, version).expect("it can be told")
    }

    fn text(etag: &str, version: Option<&str>) -> String {
        id(etag, version).to_text()
    }

    #[test]
    fn the_text_names_the_etag_and_the_version() {
        assert_eq!(text("\"abc-3\"", None), "abc-3");
        assert_eq!(text("\"abc\"", Some("v.1_2-")), "abc@v.1_2-");
        assert_eq!(text("W/\"abc\"", None), "W/\"abc\"");
        assert_eq!(text("abc", Some("null")), "abc", "no version for good");
        assert_eq!(text("abc", Some("v@1")), "abc", "a version that could not be told from the ETag");
        assert_eq!(text("abc", Some(&"v".repeat(125))), "abc", "a version that does not fit");
        assert_eq!(text("a@b", None), "a@b@");
    }

    #[test]
    fn what_is_no_etag_is_refused() {
        for etag in ["", "\"\"", "\"a b\"", "\"ž\"", &"x".repeat(128)] {
            assert_eq!(ContentId::new(etag, None), None, "{etag}");
        }
    }

    #[test]
    fn a_header_is_the_etag_as_the_server_wrote_it() {
        for etag in ["\"abc\"", "W/\"abc\"", "\"a@b\""] {
            assert_eq!(id(etag, Some("v")).header(), etag);
        }
    }

    proptest! {
        #[test]
        fn an_id_survives_its_text(etag in "[!-~]{1,127}", version in proptest::option::of("[!-~]{1,40}")) {
            if let Some(id) = ContentId::new(&etag, version.as_deref()) {
                let text = Etag::new(id.to_text()).expect("it fits");
                prop_assert_eq!(ContentId::from_text(&text), id);
            }
        }
    }

    fn version(micros: i64, etag: &str) -> ListVersion {
        ListVersion::new(Timestamp::from_micros(micros).unwrap(), Etag::new(etag).unwrap())
    }

    fn seen(micros: i64, since: Option<&ListVersion>) -> i64 {
        let modified = Timestamp::from_micros(micros).unwrap();
        let object = Object { id: id("b", None), modified, length: 0, checksum: None };
        object.version(since).unwrap().published_at().as_micros()
    }

    #[test]
    fn of_two_uploads_within_a_second_the_later_is_published_later() {
        assert_eq!(seen(7_000_000, None), 7_000_000);
        assert_eq!(seen(7_000_000, Some(&version(7_000_000, "a"))), 7_000_001);
        assert_eq!(seen(7_000_000, Some(&version(7_000_001, "a"))), 7_000_002);
        assert_eq!(seen(8_000_000, Some(&version(7_000_001, "a"))), 8_000_000);
        assert_eq!(seen(6_000_000, Some(&version(7_000_000, "a"))), 6_000_000, "an old object stays old");
        assert_eq!(seen(-500_000, Some(&version(-500_000, "a"))), -499_999, "before 1970, too");
    }
}
