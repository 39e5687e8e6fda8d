//! The content of a fraud list, in every format and packing.
//!
//! The laws:
//! - a list that is taken is within its limits, and is not empty;
//! - a list of lines has the lines as its entries, and so has a list of the same names in any other format, which is
//!   known by its content;
//! - the pieces in which a content arrives make no difference;
//! - packing a content makes no difference, and a torn packing is refused, as is a content that is shorter than it
//!   was announced.
//!
//! The first line says how the rest is read: the first letter is the format, of [`FORMATS`]; the second one the
//! packing, `g` or `z`; the third one the limits, `s` for small ones; then the sizes of the pieces. The last size
//! is also where a packing is torn, as a part of 256.

use std::io::{self, Read, Write};

use flate2::Compression;
use flate2::write::GzEncoder;
use mini_platform_core::domain::ListEntry;
use mini_platform_core::feeder::{
    DecodeOptions, DecodeTally, ListDecoder, ListError, ListFormat, ListLimits, Ratio,
};
use ruzstd::encoding::{CompressionLevel, compress_to_vec};

use super::first_line;

const FORMATS: [(u8, ListFormat); 4] = [
    (b't', ListFormat::Text),
    (b'c', ListFormat::Csv),
    (b'o', ListFormat::OfacSdn),
    (b's', ListFormat::OpenSanctions),
];

/// Formats with their header, and what stands before and behind the name in each row.
const WRITTEN: [(ListFormat, &str, &str, &str); 5] = [
    (ListFormat::Csv, "born;Name\r\n", "1970;\"", "\"\r\n"),
    (ListFormat::Csv, "name,country\n", "\"", "\",\"C\"\"Z\"\n"),
    (ListFormat::OfacSdn, "", "7,\"", "\",-0- ,-0- ,-0- ,-0- ,-0- ,-0- ,-0- ,-0- ,-0- ,-0- \r\n"),
    (ListFormat::OfacSdn, "", "7,9,\"aka\",\"", "\",-0- \r\n"),
    (ListFormat::OpenSanctions, "id,schema,name,aliases\n", "1,Person,\"", "\",\"\"\n"),
];

/// The largest content: small enough that a bomb ends soon, and several of the blocks in which contents are read.
const MAX_BYTES: u64 = 256 << 10;

/// The largest content when the limits are small.
const FEW_BYTES: u64 = 512;

/// The most entries when the limits are small.
const FEW_ENTRIES: u64 = 8;

/// Checks the laws of the content of a list.
pub fn list_formats(input: &[u8]) {
    let (head, content) = first_line(input);
    let choices = Choices::of(head);
    let whole = choices.decode(content, &[], None);
    if let Ok(list) = &whole {
        choices.check(list, content);
    }
    assert!(whole == choices.decode(content, choices.sizes, None), "pieces make a difference");
    let length = content.len() as u64;
    assert!(
        whole == choices.decode(content, choices.sizes, Some(length)),
        "its own length makes a difference"
    );
    assert!(choices.decode(content, &[], Some(length + 1)).is_err(), "a content that is cut is taken");
    if let Some(packed) = choices.packed(content) {
        choices.check_packed(&whole, content, &packed);
    }
}

/// A list as far as it can be told, or why it was refused.
type Decoded = Result<List, String>;

#[derive(PartialEq)]
struct List {
    format: ListFormat,
    entries: Vec<ListEntry>,
    tally: DecodeTally,
}

struct Choices<'a> {
    format: ListFormat,
    packing: u8,
    limits: ListLimits,
    sizes: &'a [u8],
}

impl<'a> Choices<'a> {
    fn of(head: &'a [u8]) -> Self {
        let (letters, sizes) = head.split_at(head.len().min(3));
        let letter = |place: usize| letters.get(place).copied().unwrap_or_default();
        let format = FORMATS.into_iter().find(|(known, _)| *known == letter(0)).map(|(_, format)| format);
        let limits = match letter(2) {
            b's' => ListLimits::default().with_max_bytes(FEW_BYTES).with_max_entries(FEW_ENTRIES),
            _ => ListLimits::default().with_max_bytes(MAX_BYTES).with_max_malformed(Ratio::HALF),
        };
        Self { format: format.unwrap_or_default(), packing: letter(1), limits, sizes }
    }

    fn decode(&self, content: &[u8], sizes: &[u8], announced: Option<u64>) -> Decoded {
        let options = DecodeOptions::default()
            .with_format(self.format)
            .with_limits(self.limits)
            .with_announced_bytes(announced);
        decode(PieceReader { rest: content, sizes }, &options).map_err(|error| error.to_string())
    }

    fn check(&self, list: &List, content: &[u8]) {
        let List { format, entries, tally } = list;
        assert!(*format != ListFormat::Auto && (self.format == ListFormat::Auto || self.format == *format));
        assert_eq!(tally.entries, entries.len() as u64, "the tally does not count the entries");
        assert!((1..=self.limits.max_entries()).contains(&tally.entries));
        assert!(
            entries.iter().map(|entry| entry.as_str().len() as u64).sum::<u64>() <= self.limits.max_bytes()
        );
        assert!(tally.malformed <= self.limits.max_malformed().of(tally.lines));
        assert_eq!(tally.first_malformed.is_some(), tally.malformed > 0);
        if let (ListFormat::Text, Some(lines)) = (format, plain_lines(content)) {
            check_lines(list, &lines);
            check_formats(&list.entries);
        }
    }

    /// Packs the halves of a content one after the other, as two programs would that append to one file.
    fn packed(&self, content: &[u8]) -> Option<[Vec<u8>; 2]> {
        let pack = match self.packing {
            b'g' => gzip,
            b'z' => zstd,
            _ => return None,
        };
        let (first, second) = content.split_at(content.len() / 2);
        Some([pack(first), pack(second)])
    }

    fn check_packed(&self, whole: &Decoded, content: &[u8], [first, second]: &[Vec<u8>; 2]) {
        let packed = [first.as_slice(), second].concat();
        let unpacked = self.decode(&packed, self.sizes, Some(packed.len() as u64));
        if !is_packed(content) {
            assert!(*whole == unpacked, "packing makes a difference");
        }
        let part = usize::from(self.sizes.last().copied().unwrap_or_default());
        let torn = [first, second.get(..second.len() * part / 256).unwrap_or_default()].concat();
        if torn.len() > first.len() {
            assert!(self.decode(&torn, self.sizes, None).is_err(), "a torn packing is taken");
        }
    }
}

fn decode(input: impl Read, options: &DecodeOptions) -> Result<List, ListError> {
    let mut decoder = ListDecoder::open(input, options)?;
    let mut entries = Vec::new();
    for chunk in &mut decoder {
        entries.extend(chunk?);
    }
    Ok(List { format: decoder.format(), entries, tally: decoder.tally() })
}

/// Returns the lines that are not blank of a content that is just text, with nothing at its ends to drop.
fn plain_lines(content: &[u8]) -> Option<Vec<&str>> {
    let text = std::str::from_utf8(content).ok().filter(|text| !text.contains(['\u{1a}', '\u{feff}']))?;
    Some(text.split(['\n', '\r']).filter(|line| !line.trim().is_empty()).collect())
}

fn check_lines(list: &List, lines: &[&str]) {
    let entries: Vec<_> = lines.iter().filter_map(|line| ListEntry::new(line).ok()).collect();
    assert_eq!(list.tally.lines, lines.len() as u64);
    assert_eq!(list.tally.malformed, (lines.len() - entries.len()) as u64);
    assert!(list.entries == entries, "the entries are not the lines");
}

/// Checks that names are the entries of a list in each format.
fn check_formats(names: &[ListEntry]) {
    let options =
        DecodeOptions::default().with_limits(ListLimits::default().with_max_malformed(Ratio::NOTHING));
    for (format, header, start, end) in WRITTEN {
        if format == ListFormat::OfacSdn && names.iter().any(|name| name.as_str() == "-0-") {
            // It stands for no name there.
            continue;
        }
        let row = |name: &ListEntry| [start, &name.as_str().replace('"', "\"\""), end].concat();
        let content = header.to_owned() + &names.iter().map(row).collect::<String>();
        let list = decode(content.as_bytes(), &options).expect("a list that is written well is taken");
        assert!(list.format == format, "{format} is taken for {}", list.format);
        assert!(list.entries == names, "the names in {format} are others");
    }
}

fn gzip(content: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(content).and_then(|()| encoder.finish()).expect("memory takes what is packed")
}

fn zstd(content: &[u8]) -> Vec<u8> {
    compress_to_vec(content, CompressionLevel::Fastest)
}

fn is_packed(content: &[u8]) -> bool {
    matches!(content, [0x1f, 0x8b, ..] | [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..])
}

/// Reads a content in pieces of these sizes, and then the rest at once.
struct PieceReader<'a> {
    rest: &'a [u8],
    sizes: &'a [u8],
}

impl Read for PieceReader<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let size = match self.sizes.split_first() {
            Some((size, sizes)) => {
                self.sizes = sizes;
                usize::from(*size).max(1)
            }
            None => out.len(),
        };
        let count = size.min(out.len()).min(self.rest.len());
        let (piece, rest) = self.rest.split_at(count);
        out.iter_mut().zip(piece).for_each(|(to, from)| *to = *from);
        self.rest = rest;
        Ok(count)
    }
}
