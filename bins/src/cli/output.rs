//! JSON on standard output.

use std::io::{self, IsTerminal, Write};

use serde_json::Value;

/// How JSON is laid out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Layout {
    /// Indented, for people.
    Pretty,
    /// On one line, for programs.
    Line,
}

impl Layout {
    /// Chooses what fits whoever reads standard output.
    pub(super) fn of_stdout() -> Self {
        if io::stdout().is_terminal() { Self::Pretty } else { Self::Line }
    }

    fn text(self, value: &Value) -> serde_json::Result<String> {
        match self {
            Self::Pretty => serde_json::to_string_pretty(value),
            Self::Line => serde_json::to_string(value),
        }
    }
}

/// Writes one value and a line end.
pub(super) fn write_value(mut out: impl Write, layout: Layout, value: &Value) -> anyhow::Result<()> {
    writeln!(out, "{}", layout.text(value)?)?;
    out.flush()?;
    Ok(())
}

/// Writes `{"items": [...]}` item by item, so that any number of pages can follow each other.
pub(super) struct ItemsWriter<W> {
    out: W,
    layout: Layout,
    is_empty: bool,
}

impl<W: Write> ItemsWriter<W> {
    pub(super) fn start(mut out: W, layout: Layout) -> anyhow::Result<Self> {
        out.write_all(if layout == Layout::Pretty { b"{\n  \"items\": [" } else { b"{\"items\":[" })?;
        Ok(Self { out, layout, is_empty: true })
    }

    pub(super) fn write(&mut self, item: &Value) -> anyhow::Result<()> {
        if !std::mem::take(&mut self.is_empty) {
            self.out.write_all(b",")?;
        }
        let text = self.layout.text(item)?;
        match self.layout {
            Layout::Pretty => write!(self.out, "\n    {}", text.replace('\n', "\n    "))?,
            Layout::Line => self.out.write_all(text.as_bytes())?,
        }
        Ok(())
    }

    pub(super) fn finish(mut self) -> anyhow::Result<()> {
        let end: &[u8] = match self.layout {
            Layout::Pretty if self.is_empty => b"]\n}\n",
            Layout::Pretty => b"\n  ]\n}\n",
            Layout::Line => b"]}\n",
        };
        self.out.write_all(end)?;
        self.out.flush()?;
        Ok(())
    }
}

/// Whether an error only says that nobody reads the output any more.
pub(crate) fn is_closed(error: &anyhow::Error) -> bool {
    error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn written(layout: Layout, items: &[Value]) -> String {
        let mut text = Vec::new();
        let mut writer = ItemsWriter::start(&mut text, layout).unwrap();
        for item in items {
            writer.write(item).unwrap();
        }
        writer.finish().unwrap();
        String::from_utf8(text).unwrap()
    }

    #[test]
    fn items_written_one_by_one_look_like_one_document() {
        for items in [vec![], vec![json!({"a": 1})], vec![json!({"a": 1}), json!({"b": [2]})]] {
            let document = json!({ "items": items });
            assert_eq!(written(Layout::Line, &items), format!("{document}\n"));
            assert_eq!(written(Layout::Pretty, &items), format!("{document:#}\n"));
        }
    }
}
