//! A source of the feeder, and how its content is written.

use std::fmt;
use std::sync::Arc;

use super::format::{DecodeOptions, ListFormat, ListLimits};
use crate::domain::ListVersion;
use crate::error::{Fault, FaultKind, SourceError};
use crate::port::{Fetched, FraudSource, RawList};

/// A source, and how its content is written.
pub struct ListSource {
    source: Arc<dyn FraudSource>,
    options: DecodeOptions,
}

impl ListSource {
    /// Takes a source whose format is found out from its content.
    #[must_use]
    pub fn new(source: Arc<dyn FraudSource>) -> Self {
        Self { source, options: DecodeOptions::default() }
    }

    /// Sets the format of the content.
    #[must_use]
    pub fn with_format(mut self, format: ListFormat) -> Self {
        self.options = self.options.with_format(format);
        self
    }

    /// Sets the column of a CSV list that holds the names.
    #[must_use]
    pub fn with_column(mut self, column: impl Into<String>) -> Self {
        self.options = self.options.with_column(column);
        self
    }

    pub(super) fn place(&self) -> String {
        self.source.place()
    }

    /// Returns how to decode the content within limits.
    pub(super) fn options(&self, limits: ListLimits) -> DecodeOptions {
        self.options.clone().with_limits(limits)
    }

    /// Returns the content, or `None` when it is that of the given version.
    pub(super) async fn fetch(&self, since: Option<ListVersion>) -> Result<Option<RawList>, SourceError> {
        let must_answer = since.is_none();
        match self.source.fetch_if_changed(since).await? {
            Fetched::Changed(list) => Ok(Some(list)),
            Fetched::NotModified if must_answer => {
                Err(Fault::new("fraud source", "answer its content", FaultKind::Corrupt).into())
            }
            Fetched::NotModified => Ok(None),
        }
    }
}

impl fmt::Debug for ListSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ListSource")
            .field("place", &self.source.place())
            .field("options", &self.options)
            .finish()
    }
}
