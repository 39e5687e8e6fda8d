//! Routes that answer page by page.

use anyhow::Context;
use serde_json::Value;

use super::Finish;
use super::output::{ItemsWriter, Layout, write_value};
use crate::client::{PlatformClient, path_segment};

/// Which page is shown, or all of them.
#[derive(Debug, Clone, Default, clap::Args)]
pub(super) struct PageArgs {
    /// Items per page
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..=1000))]
    limit: Option<u16>,
    /// Where a page continues: the `next_page_token` of the one before
    #[arg(long, value_name = "TOKEN", conflicts_with = "all")]
    pub(super) page_token: Option<String>,
    /// Follow the pages to the end
    #[arg(long)]
    pub(super) all: bool,
}

impl PageArgs {
    /// Shows what a route answers.
    pub(super) async fn show(&self, client: &PlatformClient, path: &str) -> anyhow::Result<Finish> {
        let layout = Layout::of_stdout();
        let mut page = client.get(&self.path(path, self.page_token.as_deref())).await?;
        if !self.all {
            write_value(std::io::stdout().lock(), layout, &page)?;
            return Ok(Finish::Complete);
        }
        let mut writer = ItemsWriter::start(std::io::BufWriter::new(std::io::stdout()), layout)?;
        loop {
            for item in items(&page)? {
                writer.write(item)?;
            }
            let Some(token) = next_page_token(&page) else { break };
            page = client.get(&self.path(path, Some(token))).await?;
        }
        writer.finish()?;
        Ok(Finish::Complete)
    }

    /// Makes the route of one page.
    pub(super) fn path(&self, path: &str, page_token: Option<&str>) -> String {
        let limit = self.limit.map(|limit| limit.to_string());
        with_parameters(path, &[("limit", limit.as_deref()), ("page_token", page_token)])
    }
}

/// Returns what a page holds.
pub(super) fn items(page: &Value) -> anyhow::Result<&[Value]> {
    let items = page.get("items").and_then(Value::as_array);
    items.map(Vec::as_slice).context("the answer is no page")
}

/// Returns where the next page continues, if there is one.
pub(super) fn next_page_token(page: &Value) -> Option<&str> {
    page.get("next_page_token").and_then(Value::as_str)
}

/// Adds those parameters to a route that have a value.
pub(super) fn with_parameters(path: &str, parameters: &[(&str, Option<&str>)]) -> String {
    let mut path = path.to_owned();
    let mut mark = if path.contains('?') { "&" } else { "?" };
    for (name, value) in parameters {
        let Some(value) = value else { continue };
        path.extend([mark, name, "=", &path_segment(value)]);
        mark = "&";
    }
    path
}
