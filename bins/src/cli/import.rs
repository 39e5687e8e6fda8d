//! `import`: brings files of events into a running platform.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};

use super::acknowledged::AcknowledgedFile;
use super::berka::{self, BerkaRows};
use super::delivery::{Delivery, Source};
use super::ndjson::NdjsonRows;
use super::progress::Progress;
use super::rows::Blocks;
use super::tally::{Summary, Tally};
use super::{Finish, PlatformArgs};

/// What stands for standard input among the files.
const STANDARD_INPUT: &str = "-";

/// Arguments of `import`.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = "\
Exit code: 0 when every row is accounted for (stored, duplicate, parked, fraudulent or skipped), \
1 when any was rejected, in conflict, unusable or left unanswered.

Importing again is safe as long as the events have ids: what was stored is answered `duplicate`.")]
pub struct ImportArgs {
    /// Files to import, `-` for standard input; a folder for berka
    #[arg(required = true, value_name = "FILE|DIR")]
    paths: Vec<PathBuf>,
    /// What the files hold
    #[arg(long, value_enum, default_value_t = ImportFormat::Ndjson)]
    format: ImportFormat,
    /// Add each acknowledged event to this file, as `id<TAB>outcome`, as soon as it is answered
    #[arg(long, value_name = "FILE")]
    acknowledged: Option<PathBuf>,
    #[command(flatten)]
    platform: PlatformArgs,
}

/// What an imported file holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum ImportFormat {
    /// One JSON event per line, as `POST /v1/events` takes them
    Ndjson,
    /// A folder with trans.asc, account.asc and district.asc of the PKDD'99 bank data
    Berka,
}

/// A source that is open and not yet read.
struct OpenedSource {
    name: String,
    /// In bytes, if it is known.
    length: Option<u64>,
    rows: OpenedRows,
}

enum OpenedRows {
    Ndjson(NdjsonRows),
    Berka(BerkaRows),
}

pub(super) async fn run(args: ImportArgs) -> anyhow::Result<Finish> {
    // All of them first, so that a wrong name is told before anything is sent.
    let sources = args.paths.iter().map(|path| open(path, args.format)).collect::<Result<Vec<_>, _>>()?;
    let acknowledged = args.acknowledged.as_deref().map(AcknowledgedFile::open).transpose()?;
    let client = args.platform.client();
    let progress = Progress::start(sources.iter().map(|source| source.length).sum());
    let mut delivery = Delivery { client: &client, tally: Tally::default(), progress, acknowledged };
    let outcome = deliver_all(&mut delivery, sources).await;
    let Delivery { tally, progress, .. } = delivery;
    let elapsed = progress.finish();
    let printed = print(&tally.summary(elapsed));
    if let Err(error) = &outcome {
        eprintln!("error: {error:#}\n{}", advice(&tally));
    }
    if outcome.is_err() || !tally.is_clean() {
        return Ok(Finish::Incomplete);
    }
    printed?;
    Ok(Finish::Complete)
}

fn print(summary: &Summary<'_>) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    write!(out, "{summary}")?;
    out.flush()
}

async fn deliver_all(delivery: &mut Delivery<'_>, sources: Vec<OpenedSource>) -> anyhow::Result<()> {
    for OpenedSource { name, length, rows } in sources {
        let blocks = match rows {
            OpenedRows::Ndjson(rows) => Blocks::read_ahead(rows)?,
            OpenedRows::Berka(rows) => Blocks::read_ahead(rows)?,
        };
        let source = Source { name: name.clone(), blocks };
        delivery.deliver(source).await.with_context(|| format!("the import of {name} stopped"))?;
        delivery.progress.next_source(length.unwrap_or(0));
    }
    Ok(())
}

/// Says where an import that stopped half-way stands.
fn advice(tally: &Tally) -> String {
    let mut text = format!(
        "{} events were answered, {} were sent and may or may not be stored; the rest was not sent.\n\
         Import again: what was stored is answered `duplicate`.",
        tally.answered(),
        tally.unanswered()
    );
    if tally.without_id() > 0 {
        text.push_str(&format!(
            "\nBut {} events carry no `id`: those would be stored a second time.",
            tally.without_id()
        ));
    }
    text
}

fn open(path: &Path, format: ImportFormat) -> anyhow::Result<OpenedSource> {
    match format {
        ImportFormat::Ndjson => open_ndjson(path),
        ImportFormat::Berka => {
            let name = path.join(berka::TRANSACTIONS);
            let rows = OpenedRows::Berka(BerkaRows::open(path)?);
            Ok(OpenedSource { length: length(&name), name: name.display().to_string(), rows })
        }
    }
}

fn open_ndjson(path: &Path) -> anyhow::Result<OpenedSource> {
    if path == Path::new(STANDARD_INPUT) {
        let rows = OpenedRows::Ndjson(NdjsonRows::new(std::io::stdin()));
        return Ok(OpenedSource { name: "standard input".to_owned(), length: None, rows });
    }
    let name = path.display().to_string();
    let file = File::open(path).with_context(|| format!("cannot open {name}"))?;
    if path.is_dir() {
        bail!("{name} is a folder: --format ndjson takes files");
    }
    Ok(OpenedSource { length: length(path), name, rows: OpenedRows::Ndjson(NdjsonRows::new(file)) })
}

/// Returns the length of a regular file; a pipe has none.
fn length(path: &Path) -> Option<u64> {
    path.metadata().ok().filter(std::fs::Metadata::is_file).map(|metadata| metadata.len())
}
