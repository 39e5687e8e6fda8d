//! The kinds of values that keys take: how each is read, named in an error, and printed.
//!
//! To add a kind: a type, its [`Kind`], and a row of the test tables below. Kinds about nodes are in `node.rs`.

use std::fmt::{self, Display};
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use mini_platform_core::domain::Currency;
use mini_platform_core::feeder::Ratio;

use super::FeedSource;

/// The longest duration that is taken, so that a deadline made of it never overflows a clock.
const MAX_DURATION: Duration = Duration::from_secs(100 * 365 * 24 * 60 * 60);

/// Units of a size, largest first.
const SIZE_UNITS: [(&str, u128); 5] =
    [("TiB", 1 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10), ("B", 1)];

/// Units in which a duration is printed, in nanoseconds, largest first.
const DURATION_UNITS: [(&str, u128); 6] = [
    ("h", 3_600_000_000_000),
    ("m", 60_000_000_000),
    ("s", 1_000_000_000),
    ("ms", 1_000_000),
    ("us", 1_000),
    ("ns", 1),
];

/// A value as a layer wrote it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Written {
    /// Text of a default, a variable or a flag: the key decides what it is.
    Untyped(String),
    /// A TOML string.
    Quoted(String),
    /// A TOML number or boolean.
    Bare(String),
    /// A TOML array of strings.
    Strings(Vec<String>),
    /// TOML that no key takes: a date, a table, an array of anything else.
    Other,
}

impl Written {
    fn quoted(&self) -> Option<&str> {
        match self {
            Self::Untyped(text) | Self::Quoted(text) => Some(text),
            _ => None,
        }
    }

    fn bare(&self) -> Option<&str> {
        match self {
            Self::Untyped(text) | Self::Bare(text) => Some(text),
            _ => None,
        }
    }

    /// One string is a list separated by commas; the items of an array may hold commas.
    pub(super) fn items(&self) -> Option<Vec<&str>> {
        match self {
            Self::Untyped(text) | Self::Quoted(text) => Some(text.split(',').map(str::trim).collect()),
            Self::Strings(items) => Some(items.iter().map(String::as_str).collect()),
            _ => None,
        }
    }
}

/// What a key takes.
pub(super) trait Kind {
    /// What the program gets.
    type Value;

    /// Whether values are kept out of every message and print.
    const SECRET: bool = false;

    /// Says what is expected, for the sentence "expected ..., found ...".
    fn expected(&self) -> String;

    /// Reads what was written; `None` when it is not what is expected.
    fn read(&self, written: &Written) -> Option<Self::Value>;

    /// Returns TOML that reads back as the same value.
    fn toml(&self, value: &Self::Value) -> toml::Value;
}

/// An IP address and a port; port 0 picks a free one.
pub(super) struct Address;

impl Kind for Address {
    type Value = SocketAddr;

    fn expected(&self) -> String {
        r#"an IP address and a port such as "127.0.0.1:8080""#.to_owned()
    }

    fn read(&self, written: &Written) -> Option<SocketAddr> {
        written.quoted()?.parse().ok()
    }

    fn toml(&self, value: &SocketAddr) -> toml::Value {
        value.to_string().into()
    }
}

/// A number of bytes above zero: a whole number and a binary unit.
pub(super) struct Size;

impl Kind for Size {
    type Value = u64;

    fn expected(&self) -> String {
        r#"a size above zero in B, KiB, MiB, GiB or TiB, such as "64KiB""#.to_owned()
    }

    fn read(&self, written: &Written) -> Option<u64> {
        let text = written.quoted()?;
        let (digits, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit())?);
        let (_, factor) = SIZE_UNITS.into_iter().find(|(name, _)| *name == unit)?;
        let bytes = u128::from(digits.parse::<u64>().ok()?) * factor;
        u64::try_from(bytes).ok().filter(|bytes| *bytes > 0)
    }

    fn toml(&self, value: &u64) -> toml::Value {
        in_largest_unit(u128::from(*value), &SIZE_UNITS).into()
    }
}

/// A [`Size`] of something that is held in memory as a whole.
pub(super) struct MemorySize;

impl Kind for MemorySize {
    type Value = usize;

    fn expected(&self) -> String {
        Size.expected()
    }

    fn read(&self, written: &Written) -> Option<usize> {
        Size.read(written)?.try_into().ok()
    }

    fn toml(&self, value: &usize) -> toml::Value {
        Size.toml(&(*value as u64))
    }
}

/// A duration above zero.
pub(super) struct Time;

impl Kind for Time {
    type Value = Duration;

    fn expected(&self) -> String {
        r#"a duration above zero, and at most 100 years, such as "250ms" or "30s""#.to_owned()
    }

    fn read(&self, written: &Written) -> Option<Duration> {
        let duration = humantime::parse_duration(written.quoted()?).ok()?;
        (!duration.is_zero() && duration <= MAX_DURATION).then_some(duration)
    }

    fn toml(&self, value: &Duration) -> toml::Value {
        in_largest_unit(value.as_nanos(), &DURATION_UNITS).into()
    }
}

/// A duration, or none.
pub(super) struct TimeOrZero;

impl Kind for TimeOrZero {
    type Value = Duration;

    fn expected(&self) -> String {
        r#"a duration of at most 100 years, such as "0s" or "5s""#.to_owned()
    }

    fn read(&self, written: &Written) -> Option<Duration> {
        let duration = humantime::parse_duration(written.quoted()?).ok()?;
        (duration <= MAX_DURATION).then_some(duration)
    }

    fn toml(&self, value: &Duration) -> toml::Value {
        if value.is_zero() { "0s".into() } else { Time.toml(value) }
    }
}

/// Prints an amount in the largest unit that leaves no remainder.
fn in_largest_unit(amount: u128, units: &[(&str, u128)]) -> String {
    let unit = units.iter().find(|(_, size)| amount.is_multiple_of(*size));
    unit.map_or_else(|| amount.to_string(), |(name, size)| format!("{}{name}", amount / size))
}

/// A whole number in a range.
pub(super) struct Integer<T>(pub(super) RangeInclusive<T>);

impl<T: Copy + Display + FromStr + PartialOrd + TryInto<i64>> Kind for Integer<T> {
    type Value = T;

    fn expected(&self) -> String {
        format!("a whole number from {} to {}", self.0.start(), self.0.end())
    }

    fn read(&self, written: &Written) -> Option<T> {
        written.bare()?.parse().ok().filter(|number| self.0.contains(number))
    }

    fn toml(&self, value: &T) -> toml::Value {
        toml::Value::Integer((*value).try_into().unwrap_or(i64::MAX))
    }
}

/// A part of a whole, 0 to 1.
pub(super) struct Share;

impl Kind for Share {
    type Value = Ratio;

    fn expected(&self) -> String {
        "a number from 0 to 1".to_owned()
    }

    fn read(&self, written: &Written) -> Option<Ratio> {
        written.bare()?.parse().ok()
    }

    fn toml(&self, value: &Ratio) -> toml::Value {
        value.get().into()
    }
}

/// Yes or no.
pub(super) struct Switch;

impl Kind for Switch {
    type Value = bool;

    fn expected(&self) -> String {
        "true or false".to_owned()
    }

    fn read(&self, written: &Written) -> Option<bool> {
        written.bare()?.parse().ok()
    }

    fn toml(&self, value: &bool) -> toml::Value {
        (*value).into()
    }
}

/// One of a closed set of names.
pub(super) struct Choice<T: 'static>(pub(super) &'static [(&'static str, T)]);

impl<T: Copy + PartialEq> Kind for Choice<T> {
    type Value = T;

    fn expected(&self) -> String {
        let names: Vec<_> = self.0.iter().map(|(name, _)| format!("{name:?}")).collect();
        names.join(" or ")
    }

    fn read(&self, written: &Written) -> Option<T> {
        let text = written.quoted()?;
        self.0.iter().find(|(name, _)| *name == text).map(|(_, value)| *value)
    }

    fn toml(&self, value: &T) -> toml::Value {
        self.0.iter().find(|(_, other)| other == value).map_or("", |(name, _)| *name).into()
    }
}

/// Text that is not blank.
pub(super) struct Text;

impl Kind for Text {
    type Value = String;

    fn expected(&self) -> String {
        "text that is not blank".to_owned()
    }

    fn read(&self, written: &Written) -> Option<String> {
        written.quoted().filter(|text| !text.trim().is_empty()).map(str::to_owned)
    }

    fn toml(&self, value: &String) -> toml::Value {
        value.as_str().into()
    }
}

/// Text, or none when it is empty.
pub(super) struct OptionalText;

impl Kind for OptionalText {
    type Value = Option<String>;

    fn expected(&self) -> String {
        "text, or nothing".to_owned()
    }

    fn read(&self, written: &Written) -> Option<Option<String>> {
        match written.quoted()? {
            "" => Some(None),
            _ => Text.read(written).map(Some),
        }
    }

    fn toml(&self, value: &Option<String>) -> toml::Value {
        value.as_deref().unwrap_or_default().into()
    }
}

/// What the names of keys start with.
pub(super) struct KeyPrefix;

/// The longest prefix: every key carries it.
const MAX_PREFIX: usize = 64;

impl Kind for KeyPrefix {
    type Value = String;

    fn expected(&self) -> String {
        format!("1 to {MAX_PREFIX} letters, digits or _ - . :")
    }

    fn read(&self, written: &Written) -> Option<String> {
        let text = written.quoted()?;
        let fits = (1..=MAX_PREFIX).contains(&text.len());
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_-.:".contains(&byte);
        (fits && text.bytes().all(is_plain)).then(|| text.to_owned())
    }

    fn toml(&self, value: &String) -> toml::Value {
        value.as_str().into()
    }
}

/// A file that must exist when it is needed, or none.
pub(super) struct OptionalFile;

impl Kind for OptionalFile {
    type Value = Option<PathBuf>;

    fn expected(&self) -> String {
        "the path of a file, or nothing".to_owned()
    }

    fn read(&self, written: &Written) -> Option<Option<PathBuf>> {
        Some(OptionalText.read(written)?.map(PathBuf::from))
    }

    fn toml(&self, value: &Option<PathBuf>) -> toml::Value {
        value.as_ref().map(|path| path.to_string_lossy().into_owned()).unwrap_or_default().into()
    }
}

/// A value that is never shown: a password, or an address that may hold one.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Returns the value, for whoever needs it to connect.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(<redacted>)")
    }
}

/// A secret that is not blank.
pub(super) struct SecretText;

impl Kind for SecretText {
    type Value = Secret;
    const SECRET: bool = true;

    fn expected(&self) -> String {
        Text.expected()
    }

    fn read(&self, written: &Written) -> Option<Secret> {
        Text.read(written).map(Secret)
    }

    fn toml(&self, value: &Secret) -> toml::Value {
        value.expose().into()
    }
}

/// A secret, or none when it is empty.
pub(super) struct OptionalSecret;

impl Kind for OptionalSecret {
    type Value = Option<Secret>;
    const SECRET: bool = true;

    fn expected(&self) -> String {
        OptionalText.expected()
    }

    fn read(&self, written: &Written) -> Option<Option<Secret>> {
        Some(OptionalText.read(written)?.map(Secret))
    }

    fn toml(&self, value: &Option<Secret>) -> toml::Value {
        value.as_ref().map(Secret::expose).unwrap_or_default().into()
    }
}

/// A folder, which need not exist yet.
pub(super) struct Folder;

impl Kind for Folder {
    type Value = PathBuf;

    fn expected(&self) -> String {
        "the path of a folder".to_owned()
    }

    fn read(&self, written: &Written) -> Option<PathBuf> {
        Text.read(written).map(PathBuf::from)
    }

    fn toml(&self, value: &PathBuf) -> toml::Value {
        value.to_string_lossy().into_owned().into()
    }
}

/// An alphabetic code of ISO 4217.
pub(super) struct CurrencyCode;

impl Kind for CurrencyCode {
    type Value = Currency;

    fn expected(&self) -> String {
        r#"an ISO 4217 code such as "CZK""#.to_owned()
    }

    fn read(&self, written: &Written) -> Option<Currency> {
        written.quoted()?.parse().ok()
    }

    fn toml(&self, value: &Currency) -> toml::Value {
        value.to_string().into()
    }
}

/// The places to read a fraud list from, or `none`.
pub(super) struct FeedSources;

/// What stands for no source at all. An empty list is refused: it may be a variable that was not set.
const NO_SOURCE: &str = "none";

impl Kind for FeedSources {
    type Value = Vec<FeedSource>;

    fn expected(&self) -> String {
        r#""none", or a list of "bundled", "file:PATH" or "s3://BUCKET/KEY""#.to_owned()
    }

    fn read(&self, written: &Written) -> Option<Vec<FeedSource>> {
        let items = written.items()?;
        if items == [NO_SOURCE] {
            return Some(Vec::new());
        }
        let sources: Vec<_> = items.into_iter().map(feed_source).collect::<Option<_>>()?;
        (!sources.is_empty()).then_some(sources)
    }

    fn toml(&self, value: &Vec<FeedSource>) -> toml::Value {
        if value.is_empty() {
            return vec![NO_SOURCE].into();
        }
        value.iter().map(ToString::to_string).collect::<Vec<_>>().into()
    }
}

fn feed_source(item: &str) -> Option<FeedSource> {
    if item == "bundled" {
        return Some(FeedSource::Bundled);
    }
    if let Some(object) = item.strip_prefix("s3://") {
        let (bucket, key) = object.split_once('/')?;
        let is_whole = !bucket.is_empty() && !key.is_empty();
        return is_whole.then(|| FeedSource::S3 { bucket: bucket.to_owned(), key: key.to_owned() });
    }
    item.strip_prefix("file:").filter(|path| !path.is_empty()).map(|path| FeedSource::File(path.into()))
}

/// Where the brokers of a Kafka cluster are.
pub(super) struct Brokers;

impl Kind for Brokers {
    type Value = Vec<String>;

    fn expected(&self) -> String {
        r#"a list of brokers, each as HOST:PORT, such as "127.0.0.1:9092""#.to_owned()
    }

    fn read(&self, written: &Written) -> Option<Vec<String>> {
        let is_broker = |item: &&str| {
            let parts = item.rsplit_once(':');
            parts.is_some_and(|(host, port)| {
                !host.is_empty() && port.parse::<u16>().is_ok_and(|port| port != 0)
            })
        };
        let items = written.items()?;
        let are_brokers = !items.is_empty() && items.iter().all(is_broker);
        are_brokers.then(|| items.into_iter().map(str::to_owned).collect())
    }

    fn toml(&self, value: &Vec<String>) -> toml::Value {
        value.clone().into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn untyped<K: Kind>(kind: &K, text: &str) -> Option<K::Value> {
        kind.read(&Written::Untyped(text.to_owned()))
    }

    #[test]
    fn a_size_is_a_whole_number_and_a_binary_unit() {
        for (text, bytes) in
            [("1B", 1), ("64KiB", 65_536), ("16MiB", 16 << 20), ("1GiB", 1 << 30), ("2TiB", 2 << 40)]
        {
            assert_eq!(untyped(&Size, text), Some(bytes), "{text}");
        }
        let wrong = [
            "",
            "1",
            "KiB",
            "0B",
            "0KiB",
            "1.5KiB",
            "-1B",
            "+1B",
            "1kb",
            "1KB",
            "1 KiB",
            " 1KiB",
            "1KiB ",
            "1KiBx",
            "١KiB",
            "18446744073709551615TiB",
            "99999999999999999999B",
        ];
        for text in wrong {
            assert_eq!(untyped(&Size, text), None, "{text:?} must be refused");
        }
    }

    #[test]
    fn a_duration_is_above_zero_and_has_a_unit() {
        let right = [("1s", 1_000), ("250ms", 250), ("1m 30s", 90_000), ("24h", 86_400_000)];
        for (text, millis) in right {
            assert_eq!(untyped(&Time, text), Some(Duration::from_millis(millis)), "{text}");
        }
        for text in ["", "0", "0s", "5", "-1s", "1 fortnight", "101years", "99999999999999999999s"] {
            assert_eq!(untyped(&Time, text), None, "{text:?} must be refused");
        }
    }

    #[test]
    fn no_time_at_all_is_a_duration_where_it_has_a_meaning() {
        for (text, millis) in [("0s", 0), ("5s", 5_000), ("250ms", 250)] {
            let duration = Duration::from_millis(millis);
            assert_eq!(untyped(&TimeOrZero, text), Some(duration), "{text}");
            assert_eq!(TimeOrZero.toml(&duration).as_str(), Some(text));
        }
        for text in ["", "5", "-1s", "101years"] {
            assert_eq!(untyped(&TimeOrZero, text), None, "{text:?} must be refused");
        }
    }

    #[test]
    fn an_empty_text_is_none_where_that_has_a_meaning() {
        assert_eq!(untyped(&OptionalText, ""), Some(None));
        assert_eq!(untyped(&OptionalText, "a"), Some(Some("a".to_owned())));
        assert_eq!(untyped(&OptionalText, " "), None, "blank is a mistake");
        assert_eq!(untyped(&OptionalFile, "a.pem"), Some(Some("a.pem".into())));
        assert_eq!(untyped(&OptionalSecret, ""), Some(None));
    }

    #[test]
    fn amounts_are_printed_in_the_largest_unit_without_a_rest() {
        for (bytes, text) in [(1 << 30, "1GiB"), (1025, "1025B"), (1536, "1536B"), (3 << 10, "3KiB")] {
            assert_eq!(Size.toml(&bytes).as_str(), Some(text));
        }
        let day = Duration::from_secs(86_400);
        for (time, text) in
            [(day, "24h"), (Duration::from_millis(1_500), "1500ms"), (Duration::from_nanos(1), "1ns")]
        {
            assert_eq!(Time.toml(&time).as_str(), Some(text));
        }
    }

    #[test]
    fn an_integer_stays_in_its_range() {
        let kind = Integer(1_u64..=10);
        assert_eq!((untyped(&kind, "1"), untyped(&kind, "10")), (Some(1), Some(10)));
        for text in ["0", "11", "-1", "1.0", "", "99999999999999999999"] {
            assert_eq!(untyped(&kind, text), None, "{text:?} must be refused");
        }
    }

    #[test]
    fn a_share_is_from_zero_to_one() {
        for (text, share) in [("0", 0.0), ("1", 1.0), ("0.25", 0.25)] {
            assert_eq!(untyped(&Share, text).map(Ratio::get), Some(share), "{text}");
        }
        for text in ["-0.1", "1.1", "nan", "inf", "50%", ""] {
            assert_eq!(untyped(&Share, text), None, "{text:?} must be refused");
        }
    }

    #[test]
    fn a_number_in_a_file_has_no_quotes_and_a_text_has() {
        assert_eq!(Integer(0_u64..=9).read(&Written::Quoted("1".into())), None);
        assert_eq!(Share.read(&Written::Quoted("1".into())), None);
        assert_eq!(Switch.read(&Written::Quoted("true".into())), None);
        assert_eq!(MemorySize.read(&Written::Bare("1".into())), None);
        assert_eq!(Text.read(&Written::Bare("1".into())), None);
        assert_eq!(Text.read(&Written::Strings(vec!["info".into()])), None);
        assert_eq!(FeedSources.read(&Written::Other), None);
    }

    #[test]
    fn a_broker_is_a_host_and_a_port() {
        assert_eq!(
            untyped(&Brokers, "a:1,[::1]:9092"),
            Some(vec!["a:1".to_owned(), "[::1]:9092".to_owned()])
        );
        for text in ["", "a", "a:", ":1", "a:0", "a:65536", "a:1,"] {
            assert_eq!(untyped(&Brokers, text), None, "{text:?} must be refused");
        }
    }

    #[test]
    fn a_choice_lists_what_is_allowed() {
        const KIND: Choice<u8> = Choice(&[("one", 1), ("two", 2)]);
        assert_eq!(KIND.expected(), r#""one" or "two""#);
        assert_eq!((untyped(&KIND, "two"), untyped(&KIND, "Two")), (Some(2), None));
    }

    #[test]
    fn an_item_of_an_array_may_hold_a_comma() {
        let written = Written::Strings(vec!["file:a,b".into()]);
        assert_eq!(FeedSources.read(&written), Some(vec![FeedSource::File("a,b".into())]));
    }

    #[test]
    fn a_source_is_bundled_or_a_file_or_an_object() {
        let object = |key: &str| FeedSource::S3 { bucket: "b".to_owned(), key: key.to_owned() };
        for (text, source) in [
            ("bundled", FeedSource::Bundled),
            ("file:list.txt", FeedSource::File("list.txt".into())),
            ("s3://b/k", object("k")),
            ("s3://b/a/b c.csv", object("a/b c.csv")),
        ] {
            assert_eq!(untyped(&FeedSources, text), Some(vec![source.clone()]), "{text}");
            assert_eq!(source.to_string(), text);
        }
        for text in
            ["", "bundled,", "file:", "s3://", "s3://b", "s3://b/", "s3:///k", "list.txt", "Bundled", "None"]
        {
            assert_eq!(untyped(&FeedSources, text), None, "{text:?} must be refused");
        }
        assert_eq!(FeedSources.read(&Written::Strings(Vec::new())), None, "no source at all");
    }

    #[test]
    fn a_key_prefix_is_short_and_plain() {
        let longest = "x".repeat(64);
        for text in ["mp", "a.b:c-d_1", &longest] {
            assert_eq!(untyped(&KeyPrefix, text).as_deref(), Some(text));
        }
        for text in ["", "a b", "a*", "{a}", "é", &format!("{longest}x")] {
            assert_eq!(untyped(&KeyPrefix, text), None, "{text:?} must be refused");
        }
    }

    #[test]
    fn blank_text_is_refused() {
        assert_eq!((untyped(&Text, "\t "), untyped(&Folder, "")), (None, None));
    }
}
