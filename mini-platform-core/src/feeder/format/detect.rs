//! Telling from the first block of a content what it is.

use super::layout::{Layout, ofac_name};
use super::rows::{Dialect, Row, Scanner};
use super::{ListError, ListFormat};

/// What separates the columns of a CSV list: the header decides.
const DELIMITERS: [u8; 3] = [b',', b';', b'\t'];

const LFS_POINTER: &str = "version https://git-lfs.github.com/spec/";

/// The first block of a content.
#[derive(Clone, Copy)]
pub(super) struct FirstBlock<'a> {
    pub(super) text: &'a [u8],
    /// Whether nothing follows.
    pub(super) is_whole: bool,
}

impl FirstBlock<'_> {
    /// Refuses what is no list in any format.
    pub(super) fn refuse_others(self) -> Result<(), ListError> {
        let text = self.text.trim_ascii_start();
        match text {
            [] if self.is_whole => Err(ListError::Empty),
            [b'<', b'!' | b'?' | b'a'..=b'z' | b'A'..=b'Z', ..] => Err(ListError::HtmlPage),
            [b'{', ..] | [b'[', b'{' | b'\n' | b'\r', ..] => Err(ListError::Json),
            _ if text.starts_with(LFS_POINTER.as_bytes()) => Err(ListError::LfsPointer),
            _ => Ok(()),
        }
    }

    /// Finds the layout of a format, or of the format that the content shows.
    pub(super) fn layout(self, format: ListFormat, column: &str) -> Result<Layout, ListError> {
        let found = match format {
            ListFormat::Text => Some(Layout::Text),
            ListFormat::OfacSdn => Some(Layout::OfacSdn),
            ListFormat::Csv => self.csv(column),
            ListFormat::OpenSanctions => self.open_sanctions(),
            ListFormat::Auto => {
                let ofac = || self.ofac();
                let csv = || self.csv(column);
                self.open_sanctions().or_else(ofac).or_else(csv).or(Some(Layout::Text))
            }
        };
        found.ok_or_else(|| {
            let column = if format == ListFormat::OpenSanctions { "aliases" } else { column };
            ListError::NoSuchColumn { column: column.to_owned() }
        })
    }

    fn ofac(self) -> Option<Layout> {
        let row = self.first_row(b',')?;
        ofac_name(&row).map(|_| Layout::OfacSdn)
    }

    fn open_sanctions(self) -> Option<Layout> {
        let header = self.first_row(b',')?;
        let (_, _) = (position(&header, "id")?, position(&header, "schema")?);
        let (name, aliases) = (position(&header, "name")?, position(&header, "aliases")?);
        Some(Layout::OpenSanctions { name, aliases, columns: header.len() })
    }

    fn csv(self, column: &str) -> Option<Layout> {
        DELIMITERS.iter().find_map(|&delimiter| {
            let header = self.first_row(delimiter)?;
            let name = position(&header, column)?;
            Some(Layout::Csv { delimiter, name, columns: header.len() })
        })
    }

    /// Returns the first row that is not blank, if it is whole.
    fn first_row(self, delimiter: u8) -> Option<Row> {
        let mut scanner = Scanner::new(Dialect::Delimited(delimiter));
        let (mut row, mut rest) = (Row::default(), self.text);
        loop {
            scanner.start(&mut row);
            let (used, complete) = scanner.scan(rest, &mut row);
            rest = rest.get(used..)?;
            if !complete {
                let is_row = self.is_whole && scanner.finish(&mut row).unwrap_or(false);
                return (is_row && !row.is_blank()).then_some(row);
            }
            if !row.is_blank() {
                return Some(row);
            }
        }
    }
}

fn position(header: &Row, column: &str) -> Option<usize> {
    header.fields().position(|field| field.trim().eq_ignore_ascii_case(column.trim()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn detected(text: &str) -> Layout {
        let block = FirstBlock { text: text.as_bytes(), is_whole: true };
        block.layout(ListFormat::Auto, "name").expect("anything is a text list at least")
    }

    #[test]
    fn the_treasurys_rows_are_known_by_their_shape() {
        let sdn = "7,\"DOE, Jane\",\"individual\",\"X\",-0- ,-0- ,-0- ,-0- ,-0- ,-0- ,-0- ,-0- ";
        assert_eq!(detected(sdn), Layout::OfacSdn);
        assert_eq!(detected("\r\n7,9,\"aka\",\"DOE, J\",-0- \r\n"), Layout::OfacSdn);
        assert_eq!(detected("7,9,\"pseudonym\",\"DOE, J\",-0- "), Layout::Text);
    }

    #[test]
    fn a_header_tells_the_layout_delimiter_and_column() {
        let csv = |delimiter, name, columns| Layout::Csv { delimiter, name, columns };
        assert_eq!(detected("name\nAnn\n"), csv(b',', 0, 1));
        assert_eq!(
            detected("country, \"Name\"\nCZ,Ann\n"),
            Layout::Text,
            "a quote inside a field is content"
        );
        assert_eq!(detected("country,\"Name\"\nCZ,Ann\n"), csv(b',', 1, 2));
        assert_eq!(detected("country;name;born\nCZ;Ann;\n"), csv(b';', 1, 3));
        assert_eq!(detected("name\tcountry"), csv(b'\t', 0, 2));
        let open_sanctions = "\"id\",\"schema\",\"name\",\"aliases\",\"birth_date\"\n";
        assert_eq!(detected(open_sanctions), Layout::OpenSanctions { name: 2, aliases: 3, columns: 5 });
    }

    #[test]
    fn anything_else_is_one_name_a_line() {
        for text in ["Ann\nname\n", "DOE, Jane\n", "\"open", "36\n", "surnames,x\n"] {
            assert_eq!(detected(text), Layout::Text, "{text}");
        }
    }

    #[test]
    fn a_header_that_does_not_end_in_the_first_block_is_not_believed() {
        let block = FirstBlock { text: b"name", is_whole: false };
        assert_eq!(block.layout(ListFormat::Auto, "name").ok(), Some(Layout::Text));
        assert!(matches!(block.layout(ListFormat::Csv, "name"), Err(ListError::NoSuchColumn { .. })));
    }

    #[test]
    fn what_is_no_list_in_any_format_is_refused() {
        let refused = |text: &str| FirstBlock { text: text.as_bytes(), is_whole: true }.refuse_others();
        for page in
            ["<!DOCTYPE html><html>", "\n\n <HTML lang=en>", "<?xml version=\"1.0\"?><Error/>", "<!-- -->"]
        {
            assert!(matches!(refused(page), Err(ListError::HtmlPage)), "{page}");
        }
        let pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 5\n";
        assert!(matches!(refused(pointer), Err(ListError::LfsPointer)));
        for json in ["{\"error\": \"not found\"}", "[\n  {}]", "[{\"name\": 1}]"] {
            assert!(matches!(refused(json), Err(ListError::Json)), "{json}");
        }
        assert!(matches!(refused(" \r\n\t"), Err(ListError::Empty)));
        for text in ["Ann", "<3", "[sic] Ann", "version 2"] {
            assert!(refused(text).is_ok(), "{text}");
        }
    }
}
