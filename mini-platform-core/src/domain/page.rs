//! Bounded answers and their continuation.

use std::fmt;
use std::str::FromStr;

use data_encoding::BASE64URL_NOPAD;

/// The most items on one page.
pub const MAX_PAGE_SIZE: u16 = 1000;

/// The longest page token, in bytes: a position is at most a name and a time.
const MAX_TOKEN_BYTES: usize = 1024;

/// First byte of every token, so that the form can change.
const TOKEN_FORM: u8 = 1;

/// Says why a page cannot be asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidPage {
    /// The size is zero or above [`MAX_PAGE_SIZE`].
    #[error("must be 1 to {MAX_PAGE_SIZE}")]
    Size,
    /// The token was not made here, or was made for another query.
    #[error("is not a token that this query answered; start again without it")]
    Token,
}

/// How many items a page may hold: 1 to [`MAX_PAGE_SIZE`], 100 by default.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PageSize(u16);

impl PageSize {
    /// Checks a number and makes a page size of it.
    ///
    /// # Errors
    /// Zero or above [`MAX_PAGE_SIZE`].
    pub fn new(size: u16) -> Result<Self, InvalidPage> {
        if (1..=MAX_PAGE_SIZE).contains(&size) { Ok(Self(size)) } else { Err(InvalidPage::Size) }
    }

    /// Returns the number of items.
    #[must_use]
    pub fn get(self) -> usize {
        usize::from(self.0)
    }
}

impl Default for PageSize {
    fn default() -> Self {
        Self(100)
    }
}

/// An opaque continuation: a position, bound to the query that it belongs to.
///
/// It names the last item that was answered, so items that arrive in between make no gap and no double.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct PageToken(String);

impl PageToken {
    /// Makes the token for the position behind which the next page of a query starts.
    #[must_use]
    pub(crate) fn seal(fingerprint: u64, position: &[u8]) -> Self {
        let mut bytes = Vec::with_capacity(9 + position.len());
        bytes.push(TOKEN_FORM);
        bytes.extend_from_slice(&fingerprint.to_be_bytes());
        bytes.extend_from_slice(position);
        Self(BASE64URL_NOPAD.encode(&bytes))
    }

    /// Returns the position of a token that was made for the query of this fingerprint.
    pub(crate) fn open(&self, fingerprint: u64) -> Result<Vec<u8>, InvalidPage> {
        let bytes = BASE64URL_NOPAD.decode(self.0.as_bytes()).map_err(|_| InvalidPage::Token)?;
        let rest = bytes.strip_prefix(&[TOKEN_FORM]).ok_or(InvalidPage::Token)?;
        let position = rest.strip_prefix(&fingerprint.to_be_bytes()).ok_or(InvalidPage::Token)?;
        Ok(position.to_vec())
    }

    /// Opens a position that is text.
    pub(crate) fn open_text(&self, fingerprint: u64) -> Result<String, InvalidPage> {
        String::from_utf8(self.open(fingerprint)?).map_err(|_| InvalidPage::Token)
    }

    /// Returns the token as text: base64url without padding.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for PageToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PageToken(<opaque>)")
    }
}

impl FromStr for PageToken {
    type Err = InvalidPage;

    fn from_str(text: &str) -> Result<Self, InvalidPage> {
        if (1..=MAX_TOKEN_BYTES).contains(&text.len()) {
            Ok(Self(text.to_owned()))
        } else {
            Err(InvalidPage::Token)
        }
    }
}

/// A bounded answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page<T> {
    /// The items, in the order that the query promises.
    pub items: Vec<T>,
    /// Asks for what follows; `None` on the last page.
    pub next: Option<PageToken>,
}

impl<T> Page<T> {
    /// Makes a page of up to `size` items out of up to `size + 1`: the one too many says that there is more.
    ///
    /// `token` makes the token that continues after an item.
    #[must_use]
    pub fn cut(mut items: Vec<T>, size: PageSize, token: impl FnOnce(&T) -> PageToken) -> Self {
        let more = items.len() > size.get();
        items.truncate(size.get());
        let next = if more { items.last().map(token) } else { None };
        Self { items, next }
    }
}
