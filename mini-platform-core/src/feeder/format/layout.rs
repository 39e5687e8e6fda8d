//! Which fields of a row are names, per format.

use std::borrow::Cow;

use super::rows::{Dialect, Row};
use crate::domain::ListEntry;

/// What `sdn.csv` and `alt.csv` write for "nothing".
const OFAC_NULL: &str = "-0-";

/// The columns of the Treasury's `sdn.csv` (ent_num, SDN_Name, …) and `alt.csv` (ent_num, alt_num, alt_type,
/// alt_name, alt_remarks). Neither has a header.
const SDN_COLUMNS: usize = 12;
const ALT_COLUMNS: usize = 5;

/// What separates the values of one field in OpenSanctions' simple CSV.
const OPEN_SANCTIONS_SEPARATOR: char = ';';

/// Where the names are in the rows of a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Layout {
    Text,
    Csv { delimiter: u8, name: usize, columns: usize },
    OfacSdn,
    OpenSanctions { name: usize, aliases: usize, columns: usize },
}

/// A row is not of the list's format, or a name of it can be no entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Malformed;

impl Layout {
    /// Returns how the rows are divided.
    pub(super) fn dialect(self) -> Dialect {
        match self {
            Self::Text => Dialect::Lines,
            Self::Csv { delimiter, .. } => Dialect::Delimited(delimiter),
            Self::OfacSdn | Self::OpenSanctions { .. } => Dialect::Delimited(b','),
        }
    }

    /// Whether the first row names the columns.
    pub(super) fn has_header(self) -> bool {
        matches!(self, Self::Csv { .. } | Self::OpenSanctions { .. })
    }

    /// Whether a row has the columns that the format asks for.
    pub(super) fn fits(self, row: &Row) -> bool {
        match self {
            Self::Text => true,
            Self::Csv { columns, .. } | Self::OpenSanctions { columns, .. } => row.len() == columns,
            Self::OfacSdn => ofac_name(row).is_some(),
        }
    }

    /// Appends the entries of a row; those before a malformed one stay.
    pub(super) fn entries(self, row: &Row, out: &mut Vec<ListEntry>) -> Result<(), Malformed> {
        if !self.fits(row) || row.is_misquoted() {
            return Err(Malformed);
        }
        match self {
            Self::Text => push(row.field(0).unwrap_or_default(), out),
            Self::Csv { name, .. } => push_field(row.field(name), out),
            Self::OfacSdn => push_field(ofac_name(row).filter(|name| name.trim() != OFAC_NULL), out),
            Self::OpenSanctions { name, aliases, .. } => {
                push_field(row.field(name), out)?;
                let aliases = row.field(aliases).unwrap_or_default().split(OPEN_SANCTIONS_SEPARATOR);
                for alias in aliases.filter(|alias| !alias.trim().is_empty()) {
                    push_field(Some(alias), out)?;
                }
                Ok(())
            }
        }
    }
}

/// Returns the name of a row of `sdn.csv` or `alt.csv`, or `None` when it is a row of neither.
pub(super) fn ofac_name(row: &Row) -> Option<&str> {
    let is_number = |index| {
        row.field(index).is_some_and(|text: &str| {
            let digits = text.trim();
            !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit())
        })
    };
    match row.len() {
        SDN_COLUMNS if is_number(0) => row.field(1),
        ALT_COLUMNS if is_number(0) && is_number(1) && row.field(2).is_some_and(is_alias_type) => {
            row.field(3)
        }
        _ => None,
    }
}

/// Whether a field says "also", "formerly" or "now known as".
fn is_alias_type(text: &str) -> bool {
    ["aka", "fka", "nka"].iter().any(|alias_type| text.trim().eq_ignore_ascii_case(alias_type))
}

/// Pushes a name out of CSV, where a line end or a tab within quotes is layout, not content.
fn push_field(field: Option<&str>, out: &mut Vec<ListEntry>) -> Result<(), Malformed> {
    let field = field.ok_or(Malformed)?;
    let is_layout = |c: char| matches!(c, '\n' | '\r' | '\t');
    let name = if field.contains(is_layout) {
        Cow::from(field.split(is_layout).filter(|part| !part.is_empty()).collect::<Vec<_>>().join(" "))
    } else {
        Cow::from(field)
    };
    push(&name, out)
}

fn push(name: &str, out: &mut Vec<ListEntry>) -> Result<(), Malformed> {
    out.push(ListEntry::new(name).map_err(|_| Malformed)?);
    Ok(())
}
