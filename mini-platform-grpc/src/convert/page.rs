//! Pages: which one is asked for, and what is on it.

use mini_platform_core::domain::{
    BranchLink, Interaction, InvalidPage, MAX_PAGE_SIZE, Page, PageSize, PageToken, StoredEvent, TimeRange,
};

use super::{ConvertError, InField, items, optional_timestamp};
use crate::v1;

/// Which page a query asks for.
#[derive(Debug, Default)]
pub(super) struct PageAsked {
    pub(super) size: PageSize,
    pub(super) token: Option<PageToken>,
}

impl TryFrom<v1::PageRequest> for PageAsked {
    type Error = ConvertError;

    fn try_from(page: v1::PageRequest) -> Result<Self, ConvertError> {
        Ok(Self {
            size: page_size(page.size).in_field("size")?,
            token: token(&page.token).in_field("token")?,
        })
    }
}

/// Takes a page that may be left out.
pub(super) fn page_asked(page: Option<v1::PageRequest>) -> Result<PageAsked, ConvertError> {
    page.map_or_else(|| Ok(PageAsked::default()), |page| page.try_into())
        .map_err(|error: ConvertError| error.within("page"))
}

pub(super) fn page_request(size: PageSize, token: Option<&PageToken>) -> v1::PageRequest {
    let size = u32::try_from(size.get()).unwrap_or(u32::from(MAX_PAGE_SIZE));
    v1::PageRequest { size, token: token_text(token) }
}

fn page_size(size: u32) -> Result<PageSize, InvalidPage> {
    match size {
        0 => Ok(PageSize::default()),
        _ => PageSize::new(u16::try_from(size).map_err(|_| InvalidPage::Size)?),
    }
}

/// Takes a token; there is none in an empty text.
fn token(text: &str) -> Result<Option<PageToken>, InvalidPage> {
    if text.is_empty() { Ok(None) } else { text.parse().map(Some) }
}

fn token_text(token: Option<&PageToken>) -> String {
    token.map(|token| token.as_str().to_owned()).unwrap_or_default()
}

/// Converts pages of one kind of item.
macro_rules! page {
    ($message:ty, $item:ty, $items:ident) => {
        impl From<&Page<$item>> for $message {
            fn from(page: &Page<$item>) -> Self {
                Self {
                    $items: page.items.iter().map(Into::into).collect(),
                    next_page_token: token_text(page.next.as_ref()),
                }
            }
        }

        impl TryFrom<$message> for Page<$item> {
            type Error = ConvertError;

            fn try_from(page: $message) -> Result<Self, ConvertError> {
                Ok(Self {
                    items: items(page.$items, stringify!($items), usize::from(MAX_PAGE_SIZE))?,
                    next: token(&page.next_page_token).in_field("next_page_token")?,
                })
            }
        }
    };
}

page!(v1::EventPage, StoredEvent, events);
page!(v1::InteractionPage, Interaction, interactions);
page!(v1::BranchPage, BranchLink, branches);

impl From<TimeRange> for v1::TimeRange {
    fn from(range: TimeRange) -> Self {
        let TimeRange { from, to } = range;
        Self { from_micros: from.map(|at| at.as_micros()), to_micros: to.map(|at| at.as_micros()) }
    }
}

impl TryFrom<v1::TimeRange> for TimeRange {
    type Error = ConvertError;

    fn try_from(range: v1::TimeRange) -> Result<Self, ConvertError> {
        Ok(Self {
            from: optional_timestamp(range.from_micros, "from_micros")?,
            to: optional_timestamp(range.to_micros, "to_micros")?,
        })
    }
}
