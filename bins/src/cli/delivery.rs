//! Brings the rows of a source to the platform and matches every result with its line.
//!
//! Events go out in requests of some ten thousand lines, one request after the other, so that the
//! platform sees them in the order of the source. Sending and reading results happen at the same time;
//! either side can slow the other down.

use std::collections::VecDeque;
use std::pin::pin;
use std::time::Duration;

use anyhow::{anyhow, bail};
use bytes::Bytes;
use futures_util::future::{Either, select};
use futures_util::stream::poll_fn;
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::acknowledged::AcknowledgedFile;
use super::progress::Progress;
use super::rows::{Block, Blocks, RowCounts, SentLine};
use super::tally::Tally;
use crate::client::{ClientError, EventResult, PlatformClient};

/// Lines of one request.
///
/// Long enough to make the pause between two requests invisible, short enough that a broken connection
/// leaves only this many events in doubt.
const LINES_PER_REQUEST: usize = 20_000;

/// Blocks between the reader and the connection.
const BODY_BLOCKS: usize = 2;

/// How long a source may pause before the open request is ended, so that a slow source (a person, a pipe)
/// neither waits for its results nor holds a request open.
const SOURCE_PAUSE: Duration = Duration::from_millis(500);

/// A source with its name.
pub(super) struct Source {
    /// What messages call it.
    pub(super) name: String,
    /// Its rows.
    pub(super) blocks: Blocks,
}

/// Delivers sources and counts what becomes of their rows.
pub(super) struct Delivery<'a> {
    pub(super) client: &'a PlatformClient,
    pub(super) tally: Tally,
    pub(super) progress: Progress,
    pub(super) acknowledged: Option<AcknowledgedFile>,
}

/// A block that is on its way, without its body.
struct OpenBlock {
    lines: Vec<SentLine>,
    counts: RowCounts,
    position: u64,
}

impl Delivery<'_> {
    /// Delivers a whole source.
    ///
    /// # Errors
    /// The source cannot be read, or the platform does not answer every line. The tally is true in either
    /// case; the rest of the source is neither read nor counted.
    pub(super) async fn deliver(&mut self, mut source: Source) -> anyhow::Result<()> {
        while let Some(block) = source.blocks.next().await? {
            if block.lines.is_empty() {
                self.tally.add_rows(&source.name, block.counts);
                self.progress.show(block.position, &self.tally);
            } else {
                self.request(&source.name, block, &mut source.blocks).await?;
            }
        }
        Ok(())
    }

    /// Makes one request of `first` and the blocks behind it.
    async fn request(&mut self, name: &str, first: Block, blocks: &mut Blocks) -> anyhow::Result<()> {
        let (body, lines) = mpsc::channel(BODY_BLOCKS);
        let (sent, open) = mpsc::unbounded_channel();
        let mut open = OpenLines { lines: VecDeque::new(), position: 0, blocks: open };
        let outcome = {
            let feeding = pin!(feed(first, blocks, body, sent));
            let answering = pin!(self.read_results(name, lines, &mut open));
            match select(feeding, answering).await {
                Either::Left((fed, answering)) => answering.await.and(fed),
                Either::Right((Err(error), _)) => Err(error),
                Either::Right((Ok(()), _)) => Err(anyhow!("the platform stopped reading before the end")),
            }
        };
        let unanswered = open.close(name, &mut self.tally);
        if let Err(error) = outcome {
            if !was_never_sent(&error) {
                self.tally.add_unanswered(unanswered);
            }
            return Err(error);
        }
        self.tally.add_unanswered(unanswered);
        if unanswered > 0 {
            bail!("the platform left {unanswered} events without a result");
        }
        Ok(())
    }

    async fn read_results(
        &mut self,
        name: &str,
        mut lines: mpsc::Receiver<Bytes>,
        open: &mut OpenLines,
    ) -> anyhow::Result<()> {
        let body = poll_fn(move |context| lines.poll_recv(context));
        let mut results = self.client.post_events(body).await?;
        while let Some(batch) = results.next_batch().await? {
            for result in &batch {
                let sent = open
                    .next(name, &mut self.tally)
                    .ok_or_else(|| anyhow!("the platform answered more results than there are events"))?;
                check_match(name, &sent, result)?;
                self.tally.add_result(name, sent.line, result);
                if let Some(acknowledged) = &mut self.acknowledged {
                    acknowledged.note(result)?;
                }
            }
            if let Some(acknowledged) = &mut self.acknowledged {
                acknowledged.flush()?;
            }
            self.progress.show(open.position, &self.tally);
        }
        Ok(())
    }
}

/// Whether a request failed before the platform could see any of it.
fn was_never_sent(error: &anyhow::Error) -> bool {
    matches!(error.downcast_ref(), Some(ClientError::Connect { .. } | ClientError::Request { .. }))
}

/// Feeds one request until it is long enough, or the source ends or pauses.
async fn feed(
    first: Block,
    blocks: &mut Blocks,
    body: mpsc::Sender<Bytes>,
    sent: mpsc::UnboundedSender<OpenBlock>,
) -> anyhow::Result<()> {
    let mut lines = 0;
    let mut next = Some(first);
    while let Some(Block { body: bytes, lines: block_lines, counts, position }) = next {
        lines += block_lines.len();
        // Before its bytes, so that a result always finds its line.
        let is_taken = sent.send(OpenBlock { lines: block_lines, counts, position }).is_ok();
        if !is_taken || (!bytes.is_empty() && body.send(bytes).await.is_err()) {
            // The side that reads results knows why.
            return Ok(());
        }
        if lines >= LINES_PER_REQUEST {
            return Ok(());
        }
        next = match timeout(SOURCE_PAUSE, blocks.next()).await {
            Ok(block) => block?,
            Err(_) => return Ok(()),
        };
    }
    Ok(())
}

/// The lines of one request that have no result yet, in order.
struct OpenLines {
    lines: VecDeque<SentLine>,
    position: u64,
    blocks: mpsc::UnboundedReceiver<OpenBlock>,
}

impl OpenLines {
    /// Takes the line that the next result belongs to.
    fn next(&mut self, name: &str, tally: &mut Tally) -> Option<SentLine> {
        while self.lines.is_empty() {
            let block = self.blocks.try_recv().ok()?;
            self.open(block, name, tally);
        }
        self.lines.pop_front()
    }

    fn open(&mut self, block: OpenBlock, name: &str, tally: &mut Tally) {
        tally.add_rows(name, block.counts);
        self.position = block.position;
        self.lines.extend(block.lines);
    }

    /// Counts the lines that never got a result.
    fn close(mut self, name: &str, tally: &mut Tally) -> u64 {
        while let Ok(block) = self.blocks.try_recv() {
            self.open(block, name, tally);
        }
        u64::try_from(self.lines.len()).unwrap_or(u64::MAX)
    }
}

fn check_match(name: &str, sent: &SentLine, result: &EventResult) -> anyhow::Result<()> {
    let matches = match (&sent.id, &result.id) {
        (Some(sent), Some(answered)) => **sent == **answered,
        (None, Some(_)) => true,
        // An event that is too broken to be read is answered without its id.
        (_, None) => !result.outcome.is_acknowledged(),
    };
    if !matches {
        bail!("the platform answered for another event than the one of {name}:{}", sent.line);
    }
    Ok(())
}
