//! The decoder as a whole: every normal input, and every refusal.

use std::io::{self, Write};

use proptest::prelude::*;

use super::*;
use crate::feeder::Ratio;

fn options() -> DecodeOptions {
    DecodeOptions::default()
}

fn decode_with(content: &[u8], options: &DecodeOptions) -> Result<Vec<String>, ListError> {
    let mut names = Vec::new();
    for chunk in ListDecoder::open(content, options)? {
        names.extend(chunk?.iter().map(|entry| entry.as_str().to_owned()));
    }
    Ok(names)
}

fn decode(content: impl AsRef<[u8]>) -> Result<Vec<String>, ListError> {
    decode_with(content.as_ref(), &options())
}

fn format_of(content: &str) -> ListFormat {
    ListDecoder::open(content.as_bytes(), &options()).unwrap().format()
}

fn gzip(content: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(content).unwrap();
    encoder.finish().unwrap()
}

fn zstd(content: &[u8]) -> Vec<u8> {
    ruzstd::encoding::compress_to_vec(content, ruzstd::encoding::CompressionLevel::Fastest)
}

fn sdn_row(id: u32, name: &str) -> String {
    format!(
        "{id},\"{name}\",\"individual\",\"X\",-0- ,-0- ,-0- ,-0- ,-0- ,-0- ,-0- ,\"DOB 1970, \"\"Z\"\".\"\r\n"
    )
}

fn alt_row(id: u32, kind: &str, name: &str) -> String {
    format!("{id},{},\"{kind}\",\"{name}\",-0- \r\n", id + 1)
}

const OPEN_SANCTIONS: &str = "\"id\",\"schema\",\"name\",\"aliases\",\"birth_date\"\n\
    \"Q1\",\"Person\",\"Jane Doe\",\"Doe, Jane;J. Doe; ;\",\"1970\"\n\
    \"Q2\",\"Company\",\"Doe \"\"&\"\" Sons\",\"\",\"\"\n";

/// A hundred names, so that one malformed line is exactly one percent of them.
fn hundred_names() -> Vec<String> {
    (0..100).map(|n| format!("Name {n}")).collect()
}

// Normal inputs

#[test]
fn text_is_one_name_a_line() {
    assert_eq!(decode("Ann\nDOE, Jane\n\"Quoted\" Ltd\n").unwrap(), ["Ann", "DOE, Jane", "\"Quoted\" Ltd"]);
}

#[test]
fn marks_line_ends_and_blank_lines_do_not_matter() {
    let text = "\u{feff}\r\n  Ann  \r\n\r\n \t \r\nŽofie 🦀\r\n\u{1a}";
    assert_eq!(decode(text).unwrap(), ["Ann", "Žofie 🦀"]);
    assert_eq!(decode("\u{feff}name,x\r\n\r\nAnn,1\r\n\u{1a}").unwrap(), ["Ann"]);
}

#[test]
fn csv_takes_the_column_of_its_header() {
    assert_eq!(decode("id,Name\n1,\"Doe, Jane\"\n2,Ann\n").unwrap(), ["Doe, Jane", "Ann"]);
    assert_eq!(decode("id;name\n1;Doe, Jane\n").unwrap(), ["Doe, Jane"]);
    let other = options().with_format(ListFormat::Csv).with_column("full name");
    assert_eq!(decode_with(b"Full Name\tid\nAnn\t1\n", &other).unwrap(), ["Ann"]);
}

#[test]
fn a_name_over_several_quoted_lines_is_one_name() {
    assert_eq!(decode("name\n\"Bank of\r\n  Nowhere\"\nAnn\n").unwrap(), ["Bank of   Nowhere", "Ann"]);
}

#[test]
fn the_treasurys_names_and_aliases_are_entries() {
    let sdn = [sdn_row(36, "DOE AIRLINES"), sdn_row(173, "DOE, Jane")].concat();
    let alt = [alt_row(36, "aka", "AERO-DOE"), alt_row(173, "FKA", "SMITH, Jane")].concat();
    assert_eq!(format_of(&sdn), ListFormat::OfacSdn);
    assert_eq!(format_of(&alt), ListFormat::OfacSdn);
    let both = decode(format!("{sdn}{alt}\u{1a}")).unwrap();
    assert_eq!(both, ["DOE AIRLINES", "DOE, Jane", "AERO-DOE", "SMITH, Jane"]);
}

#[test]
fn the_last_row_of_the_treasury_needs_no_line_end() {
    let sdn = [sdn_row(1, "A"), sdn_row(2, "B")].concat();
    assert_eq!(decode(sdn.trim_end()).unwrap(), ["A", "B"]);
}

#[test]
fn aliases_of_open_sanctions_are_entries() {
    assert_eq!(format_of(OPEN_SANCTIONS), ListFormat::OpenSanctions);
    assert_eq!(decode(OPEN_SANCTIONS).unwrap(), ["Jane Doe", "Doe, Jane", "J. Doe", "Doe \"&\" Sons"]);
}

#[test]
fn a_set_format_wins_over_what_the_content_shows() {
    let text = options().with_format(ListFormat::Text);
    assert_eq!(decode_with(b"name\nAnn\n", &text).unwrap(), ["name", "Ann"]);
}

#[test]
fn packed_lists_are_unpacked_by_their_content() {
    let list = hundred_names().join("\n");
    for packed in [gzip(list.as_bytes()), zstd(list.as_bytes())] {
        let announced = options().with_announced_bytes(Some(packed.len() as u64));
        assert_eq!(decode_with(&packed, &announced).unwrap(), hundred_names());
    }
}

#[test]
fn packed_pieces_in_a_row_are_one_list() {
    let skippable = [&[0x50, 0x2a, 0x4d, 0x18, 3, 0, 0, 0][..], b"xyz"].concat();
    assert_eq!(decode([gzip(b"Ann\nB"), gzip(b"ob\n")].concat()).unwrap(), ["Ann", "Bob"]);
    assert_eq!(
        decode([skippable.clone(), zstd(b"Ann\nB"), skippable, zstd(b"ob\n")].concat()).unwrap(),
        ["Ann", "Bob"]
    );
}

#[test]
fn a_long_list_comes_in_chunks() {
    let names: Vec<String> = (0..CHUNK_ENTRIES * 2 + 1).map(|n| format!("Name {n}")).collect();
    let list = names.join("\n");
    let chunks: Vec<_> =
        ListDecoder::open(list.as_bytes(), &options()).unwrap().map(Result::unwrap).collect();
    assert_eq!(chunks.iter().map(Vec::len).collect::<Vec<_>>(), [CHUNK_ENTRIES, CHUNK_ENTRIES, 1]);
    assert_eq!(decode(list).unwrap(), names);
}

#[test]
fn a_list_of_exactly_one_chunk_is_good() {
    let names: Vec<String> = (0..CHUNK_ENTRIES).map(|n| format!("Name {n}")).collect();
    assert_eq!(decode(names.join("\n")).unwrap(), names);
}

#[test]
fn an_input_may_give_a_byte_at_a_time() {
    struct Slow<'a>(&'a [u8]);
    impl Read for Slow<'_> {
        fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
            let one = out.len().min(1);
            self.0.read(out.get_mut(..one).unwrap_or_default())
        }
    }
    let list = OPEN_SANCTIONS.as_bytes();
    for content in [list.to_vec(), gzip(list), zstd(list)] {
        let chunks: Result<Vec<_>, _> = ListDecoder::open(Slow(&content), &options()).unwrap().collect();
        assert_eq!(chunks.unwrap().concat().len(), 4);
    }
}

#[test]
fn few_malformed_rows_are_skipped_and_counted() {
    let mut names = hundred_names();
    names[41] = "tab\there".to_owned();
    let list = names.join("\n");
    let mut decoder = ListDecoder::open(list.as_bytes(), &options()).unwrap();
    assert!(decoder.by_ref().all(|chunk| chunk.is_ok()));
    let expected = DecodeTally { entries: 99, lines: 100, malformed: 1, first_malformed: Some(42) };
    assert_eq!(decoder.tally(), expected);
}

// Refusals

#[test]
fn a_list_without_a_name_is_refused() {
    for content in ["", "\u{feff}", "\n\r\n \n", "\u{1a}", "name\n", "id;name\r\n\r\n"] {
        assert!(matches!(decode(content), Err(ListError::Empty)), "{content:?}");
    }
    assert!(matches!(decode(gzip(b"")), Err(ListError::Empty)));
    assert!(matches!(decode(zstd(b"\n")), Err(ListError::Empty)));
    assert!(matches!(decode(" ".repeat(100_000)), Err(ListError::Empty)), "blank beyond the first block");
}

#[test]
fn a_page_or_pointer_or_json_is_refused_in_every_format() {
    for format in ListFormat::ALL {
        let decode = |content: &[u8]| decode_with(content, &options().with_format(format));
        assert!(matches!(decode(b"<!doctype html>\n<p>Sign in"), Err(ListError::HtmlPage)), "{format}");
        assert!(matches!(decode(&gzip(b"\n<html>")), Err(ListError::HtmlPage)), "{format}");
        let pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n";
        assert!(matches!(decode(pointer), Err(ListError::LfsPointer)), "{format}");
        assert!(matches!(decode(b"{\"code\":404}"), Err(ListError::Json)), "{format}");
    }
}

#[test]
fn binary_content_is_refused() {
    for content in
        [&b"Ann\0Bob\n"[..], b"\x89PNG\r\n", b"PK\x03\x04\x14\0", b"Andr\xe9\nAnn\n", b"\xff\xfeA\0n\0"]
    {
        assert!(matches!(decode(content), Err(ListError::Binary { .. })), "{content:?}");
    }
    assert!(matches!(decode(gzip(&gzip(b"Ann"))), Err(ListError::Binary { .. })), "packed twice");
}

#[test]
fn fewer_bytes_than_announced_are_refused() {
    let packed = gzip(b"Ann\nBob\n");
    for content in [&b"Ann\nBob\n"[..], b"", packed.as_slice(), &packed[..packed.len() / 2]] {
        let announced = content.len() as u64 + 1;
        let received = content.len() as u64;
        match decode_with(content, &options().with_announced_bytes(Some(announced))) {
            Err(ListError::Truncated { announced: a, received: r }) => {
                assert_eq!((a, r), (announced, received));
            }
            other => panic!("{} bytes of {announced}: {other:?}", content.len()),
        }
    }
}

#[test]
fn a_quote_that_stays_open_is_refused() {
    let cut = [sdn_row(1, "A"), sdn_row(2, "B"), "3,\"DOE, Ja".to_owned()].concat();
    assert!(matches!(decode(cut), Err(ListError::OpenQuote { line: 3 })));
    assert!(matches!(decode("name,x\nAnn,1\n\"Bob,2\nEve,3\n"), Err(ListError::OpenQuote { line: 3 })));
}

#[test]
fn a_row_that_stops_in_its_middle_is_refused() {
    let many: String = (1..500).map(|id| sdn_row(id, "A")).collect();
    for torn in ["500", "500,\"DOE, Jane\"", "500,\"DOE, Jane\",\"individual\",\"X\",-0-"] {
        assert!(matches!(decode(format!("{many}{torn}")), Err(ListError::TornRow { line: 500 })), "{torn}");
    }
    assert!(decode(format!("{many}500\n")).is_ok(), "with a line end it is one malformed row of many");
}

#[test]
fn a_cut_archive_is_refused_wherever_it_is_cut() {
    let list = hundred_names().join("\n");
    for packed in [gzip(list.as_bytes()), zstd(list.as_bytes())] {
        for length in 5..packed.len() {
            let result = decode(&packed[..length]);
            assert!(
                matches!(result, Err(ListError::TornArchive)),
                "{length} of {}: {result:?}",
                packed.len()
            );
        }
    }
}

#[test]
fn a_damaged_archive_is_refused() {
    let list = hundred_names().join("\n");
    for mut packed in [gzip(list.as_bytes()), zstd(list.as_bytes())] {
        let last = packed.len() - 6;
        packed[last] ^= 0x55;
        let result = decode(&packed);
        assert!(matches!(result, Err(ListError::DamagedArchive(_) | ListError::TornArchive)), "{result:?}");
    }
}

#[test]
fn a_wrong_checksum_is_refused_though_the_content_unpacks() {
    let list = hundred_names().join("\n");
    let (gzip, zstd) = (gzip(list.as_bytes()), zstd(list.as_bytes()));
    // The checksum is the last four bytes of zstd; four bytes with the length follow it in gzip.
    for (mut packed, from_end) in [(gzip, 5), (zstd, 1)] {
        let position = packed.len() - from_end;
        packed[position] ^= 1;
        let result = decode(&packed);
        assert!(matches!(result, Err(ListError::DamagedArchive(_))), "{result:?}");
    }
}

#[test]
fn too_many_malformed_rows_are_refused_with_numbers() {
    let mut names = hundred_names();
    (names[4], names[7]) = ("a\u{7}b".to_owned(), "x".repeat(2000));
    match decode(names.join("\n")) {
        Err(error @ ListError::TooManyMalformed { malformed: 2, lines: 100, first_line: 5 }) => {
            assert!(error.to_string().starts_with("2 of 100 lines are malformed, the first on line 5"));
        }
        other => panic!("{other:?}"),
    }
    let lenient = ListLimits::default().with_max_malformed(Ratio::new(0.02).unwrap());
    assert_eq!(decode_with(names.join("\n").as_bytes(), &options().with_limits(lenient)).unwrap().len(), 98);
}

#[test]
fn a_list_in_another_format_than_the_set_one_is_refused() {
    let ofac = options().with_format(ListFormat::OfacSdn);
    let refused = decode_with(b"Ann\nBob\n", &ofac);
    assert!(matches!(refused, Err(ListError::TooManyMalformed { malformed: 2, lines: 2, first_line: 1 })));
}

#[test]
fn an_unquoted_comma_makes_no_wrong_entry() {
    let refused = decode("name,country\nDoe, Jane,CZ\n");
    assert!(matches!(refused, Err(ListError::TooManyMalformed { first_line: 2, .. })), "{refused:?}");
}

#[test]
fn every_line_that_a_stray_quote_swallows_is_malformed() {
    let mut rows: Vec<String> = hundred_names().into_iter().map(|name| format!("{name},x")).collect();
    rows[10].insert(0, '"');
    rows[20].insert(0, '"');
    match decode(format!("name,id\n{}\n", rows.join("\n"))) {
        Err(ListError::TooManyMalformed { malformed, lines, first_line: 12 }) => {
            assert_eq!((malformed, lines), (11, 100));
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_null_name_is_malformed() {
    let refused = decode([sdn_row(1, "A"), sdn_row(2, "-0- ")].concat());
    assert!(matches!(refused, Err(ListError::TooManyMalformed { malformed: 1, lines: 2, first_line: 2 })));
}

#[test]
fn a_list_over_its_limits_is_refused() {
    let limits = ListLimits::default().with_max_entries(2).with_max_bytes(8);
    let limited = options().with_limits(limits);
    assert_eq!(decode_with(b"Ann\nBob\n", &limited).unwrap().len(), 2);
    assert!(matches!(decode_with(b"Ann\nBobb\n", &limited), Err(ListError::TooManyBytes { max: 8 })));
    assert!(matches!(decode_with(b"A\nB\nC\n", &limited), Err(ListError::TooManyEntries { max: 2 })));
}

#[test]
fn an_archive_that_unpacks_without_end_is_stopped_at_the_limit() {
    let max = 1 << 20;
    let limited = options().with_limits(ListLimits::default().with_max_bytes(max));
    let bomb = b"Ann Bee\n".repeat(1 << 20);
    for packed in [gzip(&bomb), zstd(&bomb)] {
        let mut decoder = ListDecoder::open(packed.as_slice(), &limited).unwrap();
        assert!(matches!(decoder.find_map(Result::err), Some(ListError::TooManyBytes { .. })));
        assert!(decoder.tally().entries <= max / 8, "nothing beyond the limit is decoded");
        assert!(decoder.next().is_none(), "nothing follows a refusal");
    }
}

#[test]
fn a_missing_column_is_refused_without_showing_the_header() {
    for format in [ListFormat::Csv, ListFormat::OpenSanctions] {
        let result = decode_with(b"Jane Doe,CZ\nAnn,CZ\n", &options().with_format(format));
        let Err(error @ ListError::NoSuchColumn { .. }) = result else { panic!("{format}: {result:?}") };
        assert!(!error.to_string().contains("Jane"), "a header may be a row of names");
    }
}

#[test]
fn a_failing_input_is_no_refusal_however_it_is_packed() {
    struct Failing<'a>(&'a [u8]);
    impl Read for Failing<'_> {
        fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
            if self.0.is_empty() { Err(io::ErrorKind::ConnectionReset.into()) } else { self.0.read(out) }
        }
    }
    let list = hundred_names().join("\n");
    for content in [Vec::new(), list.clone().into_bytes(), gzip(list.as_bytes()), zstd(list.as_bytes())] {
        let input = Failing(&content[..content.len() / 2]);
        let error =
            ListDecoder::open(input, &options()).and_then(|decoder| decoder.collect::<Result<Vec<_>, _>>());
        match error.unwrap_err() {
            ListError::Read(cause) => assert_eq!(cause.kind(), io::ErrorKind::ConnectionReset),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn names_of_formats_survive_their_text_form() {
    for format in ListFormat::ALL {
        assert_eq!(format.to_string().parse(), Ok(format));
    }
    assert_eq!("xml".parse::<ListFormat>(), Err(UnknownListFormat));
}

proptest! {
    #[test]
    fn no_content_makes_the_decoder_panic(
        start in prop::sample::select(vec![
            &b""[..], b"name,x\n", b"\x1f\x8b\x08\0\0\0\0\0\0\x03", b"\x28\xb5\x2f\xfd", b"\x50\x2a\x4d\x18",
        ]),
        rest in prop::collection::vec(any::<u8>(), 0..200),
    ) {
        let _ = decode([start, &rest].concat());
    }

    #[test]
    fn no_damage_to_an_archive_makes_the_decoder_panic(at in any::<prop::sample::Index>(), flip in 1..=u8::MAX) {
        let list = hundred_names().join("\n");
        for mut packed in [gzip(list.as_bytes()), zstd(list.as_bytes())] {
            let at = at.index(packed.len());
            packed[at] ^= flip;
            let _ = decode(&packed);
        }
    }
}
