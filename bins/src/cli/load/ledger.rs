//! The ledger: what was asked of the platform and what it answered, on disk as it happens.
//!
//! One JSON object a line. A send is on disk before the request leaves, an answer before it counts, so whatever
//! ends the load, nothing was sent that the ledger does not have, and it can lose only answers that nobody saw. Writers wait for
//! their line, and lines that come together are flushed together. The order of lines tells what came before what.

use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::thread::JoinHandle;

use anyhow::{Context, anyhow, bail};
use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, oneshot};

use super::event::LoadEvent;

/// The form of the lines; another number is another program's.
const VERSION: u32 = 1;

/// Lines that wait for the disk. Whoever writes one waits for it, so that more would only be a longer queue.
const WAITING_LINES: usize = 4_096;

/// Bytes that are flushed together: a few milliseconds of any disk.
const GROUP_BYTES: usize = 1024 * 1024;

/// One line.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Entry {
    /// The first line: what was run.
    Run {
        version: u32,
        run: String,
        seed: u64,
        /// How many platforms events went to; more than one are dispatchers of one cluster.
        platforms: u8,
    },
    /// An event is about to be sent, again or for the first time.
    Send {
        id: String,
        attempt: u32,
        /// Which of the platforms it goes to.
        to: u8,
        /// With the first attempt only: the later ones send the same.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        event: Option<Box<LoadEvent>>,
        /// One of its subjects is said to be on the fraud list.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        listed: bool,
    },
    /// What came back, or that nothing did.
    Answer {
        id: String,
        attempt: u32,
        answer: Answer,
        /// Since the event was due, or sent again.
        ms: f64,
        /// Why it was no acknowledgement.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
    },
}

impl Entry {
    pub(super) fn run(run: &str, seed: u64, platforms: u8) -> Self {
        Self::Run { version: VERSION, run: run.to_owned(), seed, platforms }
    }
}

/// What became of one attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Answer {
    /// 201.
    Stored,
    /// 200.
    Duplicate,
    /// 202.
    Parked,
    /// 403.
    Fraudulent,
    /// 409.
    Conflict,
    /// 503: nothing is promised.
    Unavailable,
    /// The connection failed, broke, or stayed silent: nothing is known.
    Unanswered,
    /// Something that the platform does not promise to answer.
    Failed,
    /// There was no connection free in time, and the event was never sent.
    NotSent,
}

impl Answer {
    /// Every answer, in the order in which summaries show them.
    pub(super) const ALL: [Self; 9] = [
        Self::Stored,
        Self::Duplicate,
        Self::Parked,
        Self::Fraudulent,
        Self::Conflict,
        Self::Unavailable,
        Self::Unanswered,
        Self::Failed,
        Self::NotSent,
    ];

    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Stored => "stored",
            Self::Duplicate => "duplicate",
            Self::Parked => "parked",
            Self::Fraudulent => "fraudulent",
            Self::Conflict => "conflict",
            Self::Unavailable => "unavailable",
            Self::Unanswered => "unanswered",
            Self::Failed => "failed",
            Self::NotSent => "not sent",
        }
    }

    /// Whether the platform took the responsibility.
    pub(super) fn is_acknowledged(self) -> bool {
        self.is_finished() || self == Self::Parked
    }

    /// Whether the platform decided for good.
    pub(super) fn is_finished(self) -> bool {
        matches!(self, Self::Stored | Self::Duplicate | Self::Fraudulent | Self::Conflict)
    }

    /// Whether the same event may get another answer when it is sent again.
    pub(super) fn is_worth_another_try(self) -> bool {
        matches!(self, Self::Unavailable | Self::Unanswered)
    }
}

/// Lines on their way to the disk, with whom to tell when they are there.
type Waiting = (Vec<u8>, oneshot::Sender<()>);

/// Writes a ledger. Clones write to the same one.
#[derive(Debug, Clone)]
pub(super) struct Ledger {
    lines: mpsc::Sender<Waiting>,
}

/// The thread that writes a ledger's lines.
#[derive(Debug)]
pub(super) struct LedgerFile(JoinHandle<anyhow::Result<()>>);

impl Ledger {
    /// Makes a new file; one that is there already is another run's.
    pub(super) fn create(path: &Path) -> anyhow::Result<(Self, LedgerFile)> {
        let file = OpenOptions::new().create_new(true).write(true).open(path);
        let file = file.with_context(|| format!("cannot make the ledger {}", path.display()))?;
        let (lines, waiting) = mpsc::channel(WAITING_LINES);
        let path = path.to_owned();
        let writer = std::thread::Builder::new().name("ledger".to_owned());
        let writer = writer.spawn(move || write_all(file, &path, waiting))?;
        Ok((Self { lines }, LedgerFile(writer)))
    }

    /// Writes an entry, and waits until it is on disk.
    pub(super) async fn note(&self, entry: &Entry) -> anyhow::Result<()> {
        let mut line = serde_json::to_vec(entry)?;
        line.push(b'\n');
        let (written, on_disk) = oneshot::channel();
        let failed = || anyhow!("the ledger takes no more lines");
        self.lines.send((line, written)).await.map_err(|_| failed())?;
        on_disk.await.map_err(|_| failed())
    }
}

impl LedgerFile {
    /// Waits until all is written, once no [`Ledger`] is left.
    pub(super) fn close(self) -> anyhow::Result<()> {
        self.0.join().unwrap_or_else(|_| Err(anyhow!("the ledger's thread panicked")))
    }
}

fn write_all(mut file: File, path: &Path, mut waiting: mpsc::Receiver<Waiting>) -> anyhow::Result<()> {
    while let Some((mut group, written)) = waiting.blocking_recv() {
        let mut all_written = vec![written];
        while group.len() < GROUP_BYTES
            && let Ok((line, written)) = waiting.try_recv()
        {
            group.extend_from_slice(&line);
            all_written.push(written);
        }
        let flushed = file.write_all(&group).and_then(|()| file.sync_data());
        flushed.with_context(|| format!("cannot write the ledger {}", path.display()))?;
        for written in all_written {
            // Whoever waited may have been stopped meanwhile.
            let _ = written.send(());
        }
    }
    Ok(())
}

/// Reads a ledger line by line.
#[derive(Debug)]
pub(super) struct LedgerReader {
    path: PathBuf,
    file: BufReader<File>,
    line: u32,
}

impl LedgerReader {
    /// Opens a ledger, and returns the name of its run and to how many platforms it went.
    pub(super) fn open(path: &Path) -> anyhow::Result<(Self, String, u8)> {
        let file = File::open(path).with_context(|| format!("cannot read the ledger {}", path.display()))?;
        let mut reader = Self { path: path.to_owned(), file: BufReader::new(file), line: 0 };
        match reader.next()? {
            Some((_, Entry::Run { version: VERSION, run, platforms, .. })) => Ok((reader, run, platforms)),
            Some((_, Entry::Run { version, .. })) => {
                bail!("{} is a ledger of version {version}; this program reads {VERSION}", path.display())
            }
            _ => bail!("{} is no ledger of `load`", path.display()),
        }
    }

    /// Reads the next entry with the number of its line; `None` at the end. A last line that is cut off was never
    /// on disk as a whole, so nobody relied on it.
    pub(super) fn next(&mut self) -> anyhow::Result<Option<(u32, Entry)>> {
        let mut text = Vec::new();
        self.file.read_until(b'\n', &mut text).with_context(|| self.place("cannot be read"))?;
        if text.pop() != Some(b'\n') {
            return Ok(None);
        }
        self.line = self.line.checked_add(1).with_context(|| self.place("is too long"))?;
        let entry = serde_json::from_slice(&text).with_context(|| self.place("is no entry of a ledger"))?;
        Ok(Some((self.line, entry)))
    }

    fn place(&self, what: &str) -> String {
        format!("{}:{} {what}", self.path.display(), self.line)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn send(id: &str) -> Entry {
        let event =
            LoadEvent { id: id.to_owned(), client: Some("Zoë\n\"1\"".to_owned()), ..LoadEvent::default() };
        Entry::Send { id: id.to_owned(), attempt: 1, to: 0, event: Some(Box::new(event)), listed: true }
    }

    fn answer(id: &str, answer: Answer) -> Entry {
        Entry::Answer { id: id.to_owned(), attempt: 1, answer, ms: 1.25, reason: None }
    }

    fn entries(path: &Path) -> anyhow::Result<Vec<Entry>> {
        let (mut reader, ..) = LedgerReader::open(path)?;
        let entries = std::iter::from_fn(|| reader.next().transpose());
        entries.map(|entry| entry.map(|(_, entry)| entry)).collect()
    }

    #[tokio::test]
    async fn a_noted_entry_is_on_disk_and_read_back_in_order() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ledger");
        let (ledger, file) = Ledger::create(&path).unwrap();
        ledger.note(&Entry::run("r1", 7, 1)).await.unwrap();
        let mut noted = Vec::new();
        for outcome in Answer::ALL {
            for entry in [send("load-r1-1"), answer("load-r1-1", outcome)] {
                ledger.note(&entry).await.unwrap();
                noted.push(entry);
                assert_eq!(entries(&path).unwrap(), noted, "it is there as soon as it is noted");
            }
        }
        drop(ledger);
        file.close().unwrap();
        assert_eq!(LedgerReader::open(&path).unwrap().1, "r1");
    }

    #[tokio::test]
    async fn a_line_that_is_cut_off_is_left_out_at_the_end_and_refused_elsewhere() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ledger");
        let whole: Vec<String> = [Entry::run("r1", 7, 1), send("a"), send("b")]
            .iter()
            .map(|entry| serde_json::to_string(entry).unwrap())
            .collect();
        let text = whole.join("\n");
        std::fs::write(&path, &text).unwrap();
        assert_eq!(entries(&path).unwrap(), [send("a")], "the last line has no end");
        std::fs::write(&path, format!("{}\n", text.replace(&whole[1], "{\"send\":"))).unwrap();
        let error = entries(&path).unwrap_err().to_string();
        assert!(error.contains("ledger:2 is no entry"), "{error}");
    }

    #[tokio::test]
    async fn a_ledger_is_never_written_over_and_other_files_are_none() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ledger");
        std::fs::write(&path, "{\"run\":{\"version\":2,\"run\":\"r\",\"seed\":1,\"platforms\":1}}\n")
            .unwrap();
        assert!(Ledger::create(&path).is_err());
        assert!(LedgerReader::open(&path).unwrap_err().to_string().contains("version 2"));
        std::fs::write(&path, format!("{}\n", serde_json::to_string(&send("a")).unwrap())).unwrap();
        assert!(LedgerReader::open(&path).unwrap_err().to_string().contains("no ledger"));
    }
}
