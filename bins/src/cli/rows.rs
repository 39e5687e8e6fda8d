//! What a source of events is made of, and how it is read ahead of the network.

use std::collections::BTreeMap;

use anyhow::Context;
use bytes::Bytes;
use tokio::sync::mpsc;

/// When a block is closed: large enough to be one write, small enough to keep progress smooth.
const BLOCK_BYTES: usize = 32 * 1024;

/// Rows of a block, when most of them are skipped.
const BLOCK_ROWS: u64 = 1024;

/// Blocks that are read ahead.
const BLOCKS_AHEAD: usize = 4;

/// How many unusable rows are kept to be shown.
pub(super) const EXAMPLES: usize = 5;

/// One row of a source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Row {
    /// An event to submit.
    Event {
        /// Where it is in the source.
        line: u64,
        /// Its idempotency key, to match the result with; `None` when the platform makes one.
        id: Option<Box<str>>,
        /// The event on one line, without line end.
        json: Vec<u8>,
    },
    /// No event by the rules of the format, for this reason.
    Skipped(&'static str),
    /// Something that should be an event and is none.
    Unusable {
        /// Where it is in the source.
        line: u64,
        /// What is wrong with it.
        reason: String,
    },
    /// The last line, cut off in the middle.
    Torn {
        /// Where it is in the source.
        line: u64,
    },
}

/// A source of rows, read one at a time.
pub(super) trait RowSource {
    /// Reads the next row; `None` at the end.
    fn next_row(&mut self) -> anyhow::Result<Option<Row>>;

    /// Returns how far reading is, in the unit of the source's length.
    fn position(&self) -> u64;

    /// Whether the next row may have to wait for somebody to write it.
    fn may_wait(&self) -> bool {
        false
    }
}

/// What was read and is not submitted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct RowCounts {
    /// Rows of any kind.
    pub(super) rows: u64,
    /// Events without an id.
    pub(super) without_id: u64,
    /// Rows that are no events, by reason.
    pub(super) skipped: BTreeMap<&'static str, u64>,
    /// Rows that should have been events.
    pub(super) unusable: u64,
    /// The first of these: line and reason.
    pub(super) unusable_examples: Vec<(u64, String)>,
    /// The line that is cut off.
    pub(super) torn: Option<u64>,
}

/// A submitted line that has no result yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct SentLine {
    /// Where it is in the source.
    pub(super) line: u64,
    /// Its idempotency key, if it has one.
    pub(super) id: Option<Box<str>>,
}

/// Rows that travel together.
#[derive(Debug, Default)]
pub(super) struct Block {
    /// The events, a line each.
    pub(super) body: Bytes,
    /// Which line of the source each of them is.
    pub(super) lines: Vec<SentLine>,
    /// What else was read.
    pub(super) counts: RowCounts,
    /// How far the source is read.
    pub(super) position: u64,
}

/// Collects rows into a block.
#[derive(Default)]
struct BlockBuilder {
    body: Vec<u8>,
    block: Block,
}

impl BlockBuilder {
    fn add(&mut self, row: Row) {
        let counts = &mut self.block.counts;
        counts.rows += 1;
        match row {
            Row::Event { line, id, json } => {
                counts.without_id += u64::from(id.is_none());
                self.body.extend_from_slice(&json);
                self.body.push(b'\n');
                self.block.lines.push(SentLine { line, id });
            }
            Row::Skipped(reason) => *counts.skipped.entry(reason).or_default() += 1,
            Row::Unusable { line, reason } => {
                counts.unusable += 1;
                if counts.unusable_examples.len() < EXAMPLES {
                    counts.unusable_examples.push((line, reason));
                }
            }
            Row::Torn { line } => counts.torn = Some(line),
        }
    }

    fn is_full(&self) -> bool {
        self.body.len() >= BLOCK_BYTES || self.block.counts.rows >= BLOCK_ROWS
    }

    fn build(self, position: u64) -> Block {
        Block { body: self.body.into(), position, ..self.block }
    }
}

fn next_block(source: &mut impl RowSource) -> anyhow::Result<Option<Block>> {
    let mut builder = BlockBuilder::default();
    while let Some(row) = source.next_row()? {
        builder.add(row);
        if builder.is_full() || source.may_wait() {
            break;
        }
    }
    let block = builder.build(source.position());
    Ok((block.counts.rows > 0).then_some(block))
}

/// The blocks of a source, read ahead by a thread of their own.
///
/// Reading may wait for a disk or for a person at the keyboard, so it does not happen on the runtime. The
/// thread ends with the source, or at the first block that nobody takes any more.
#[derive(Debug)]
pub(super) struct Blocks(mpsc::Receiver<anyhow::Result<Block>>);

impl Blocks {
    pub(super) fn read_ahead(mut source: impl RowSource + Send + 'static) -> anyhow::Result<Self> {
        let (blocks, receiver) = mpsc::channel(BLOCKS_AHEAD);
        let read = move || {
            while let Some(block) = next_block(&mut source).transpose() {
                let is_last = block.is_err();
                if blocks.blocking_send(block).is_err() || is_last {
                    return;
                }
            }
        };
        std::thread::Builder::new().name("rows".to_owned()).spawn(read).context("cannot start a thread")?;
        Ok(Self(receiver))
    }

    /// Waits for the next block; `None` at the end of the source. Safe to cancel.
    pub(super) async fn next(&mut self) -> anyhow::Result<Option<Block>> {
        self.0.recv().await.transpose()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Rows(std::vec::IntoIter<Row>);

    impl RowSource for Rows {
        fn next_row(&mut self) -> anyhow::Result<Option<Row>> {
            Ok(self.0.next())
        }

        fn position(&self) -> u64 {
            0
        }
    }

    fn event(line: u64, id: Option<&str>) -> Row {
        Row::Event { line, id: id.map(Into::into), json: b"{}".to_vec() }
    }

    #[test]
    fn a_block_holds_the_lines_and_counts_the_rest() {
        let rows = vec![
            event(1, Some("e1")),
            Row::Skipped("amount 0"),
            Row::Unusable { line: 3, reason: "no date".to_owned() },
            event(4, None),
            Row::Torn { line: 5 },
        ];
        let block = next_block(&mut Rows(rows.into_iter())).unwrap().unwrap();
        assert_eq!(block.body, "{}\n{}\n");
        assert_eq!(block.lines.iter().map(|sent| sent.line).collect::<Vec<_>>(), [1, 4]);
        let counts = block.counts;
        assert_eq!((counts.rows, counts.without_id, counts.unusable, counts.torn), (5, 1, 1, Some(5)));
        assert_eq!(counts.skipped.get("amount 0"), Some(&1));
    }

    #[tokio::test]
    async fn every_row_travels_in_order_over_as_many_blocks_as_it_takes() {
        let rows: Vec<Row> = (1..=5000).map(|line| event(line, None)).collect();
        let mut blocks = Blocks::read_ahead(Rows(rows.into_iter())).unwrap();
        let mut seen = Vec::new();
        let mut count = 0;
        while let Some(block) = blocks.next().await.unwrap() {
            seen.extend(block.lines.iter().map(|sent| sent.line));
            count += 1;
        }
        assert_eq!(seen, (1..=5000).collect::<Vec<_>>());
        assert!(count > 1, "a block has a limit");
    }

    struct Broken;

    impl RowSource for Broken {
        fn next_row(&mut self) -> anyhow::Result<Option<Row>> {
            anyhow::bail!("the disk is gone")
        }

        fn position(&self) -> u64 {
            0
        }
    }

    #[tokio::test]
    async fn a_source_that_cannot_be_read_says_so_once() {
        let mut blocks = Blocks::read_ahead(Broken).unwrap();
        assert!(blocks.next().await.is_err());
        assert!(blocks.next().await.unwrap().is_none());
    }
}
