//! `import --format berka` of a made-up bank into a real platform.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use std::fmt::Write as _;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

const PROGRAM: &str = env!("CARGO_BIN_EXE_mini-platform");

/// Rows of the made-up bank; one of each kind in turn.
const ROWS: usize = 300;
/// `operation;amount;bank;account` of each kind.
const KINDS: [&str; 10] = [
    r#""VKLAD";700.00;"";"#,
    r#""VYBER";24.20;"";"0""#,
    r#""VYBER KARTOU";0.29;"";"0""#,
    r#""PREVOD NA UCET";12.50;"YZ";"62457513""#,
    r#""PREVOD Z UCTU";5123.00;"ST";"42988401""#,
    r#""PREVOD NA UCET";1.00;"CD";"13""#,
    r#""";11.10;;"#,
    r#""PREVOD NA UCET";1.00;"";"#,
    r#""VKLAD";0.00;"";"#,
    r#""SIPO";5.00;"";"#,
];
const OF_EACH_KIND: u64 = 30;
/// The kinds that are events, without the one whose receiver is listed.
const CLEAR_KINDS: u64 = 5;
const LISTED: &str = "CD-13";

fn write_bank(folder: &Path) {
    let districts = "A1;A2;A3\r\n1;\"Hl.m. Praha\";\"Prague\"\r\n2;\"Benesov\";\"central Bohemia\"\r\n";
    std::fs::write(folder.join("district.asc"), districts).unwrap();
    let mut accounts = "\"account_id\";\"district_id\";\"frequency\";\"date\"\r\n".to_owned();
    for account in 1..=7 {
        write!(accounts, "{account};{};\"POPLATEK MESICNE\";930101\r\n", account % 2 + 1).unwrap();
    }
    std::fs::write(folder.join("account.asc"), accounts).unwrap();
    let mut rows = "\"trans_id\";\"account_id\";\"date\";\"type\";\"operation\";\"amount\";\"balance\";\
                    \"k_symbol\";\"bank\";\"account\"\r\n"
        .to_owned();
    for row in 0..ROWS {
        let [operation, amount, bank, account] =
            KINDS[row % KINDS.len()].split(';').collect::<Vec<_>>().try_into().unwrap();
        let (id, client, day) = (1000 + row, row % 7 + 1, row % 28 + 1);
        write!(
            rows,
            "{id};{client};9307{day:02};\"PRIJEM\";{operation};{amount};1.00;\"\";{bank};{account}\r\n"
        )
        .unwrap();
    }
    rows.push_str("2000;1;940331;\"PRIJE");
    std::fs::write(folder.join("trans.asc"), rows).unwrap();
}

/// A running platform, killed at the end of the test.
struct Platform {
    process: Child,
    url: String,
}

impl Drop for Platform {
    fn drop(&mut self) {
        self.process.kill().ok();
        self.process.wait().ok();
    }
}

impl Platform {
    fn start(folder: &Path) -> Self {
        let list = folder.join("fraud-list.txt");
        std::fs::write(&list, format!("Somebody Else\n{LISTED}\n")).unwrap();
        let mut process = Command::new(PROGRAM)
            .arg("up")
            .env("MINI_PLATFORM__HTTP__LISTEN", "127.0.0.1:0")
            .env("MINI_PLATFORM__EMBEDDED__DIR", folder.join("data"))
            .env("MINI_PLATFORM__FEEDER__SOURCE", format!("file:{}", list.display()))
            .current_dir(folder)
            .stdin(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut log = BufReader::new(process.stderr.take().unwrap()).lines();
        let url = log.by_ref().map_while(Result::ok).find_map(|line| {
            let (_, address) = line.split_once("listening on ")?;
            address.split_whitespace().next().map(str::to_owned)
        });
        // The log must not fill its pipe.
        std::thread::spawn(move || log.for_each(drop));
        let platform = Self { process, url: url.expect("the platform says where it listens") };
        platform.wait_until_the_list_is_loaded();
        platform
    }

    fn wait_until_the_list_is_loaded(&self) {
        let started = Instant::now();
        loop {
            let check = self.run(&["fetch", "fraud-list", "--check", LISTED]);
            if check.status.success() && String::from_utf8_lossy(&check.stdout).contains("hit") {
                return;
            }
            assert!(started.elapsed() < Duration::from_secs(30), "the fraud list is not loaded: {check:?}");
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    fn run(&self, args: &[&str]) -> Output {
        Command::new(PROGRAM).args(args).args(["--url", &self.url]).output().unwrap()
    }

    /// Imports the bank; returns the exit code and the summary.
    fn import(&self, folder: &Path) -> (Option<i32>, String) {
        let output = self.run(&["import", "--format", "berka", folder.to_str().unwrap()]);
        (output.status.code(), String::from_utf8(output.stdout).unwrap())
    }

    fn fetch(&self, args: &[&str]) -> serde_json::Value {
        let output = self.run(&[&["fetch"], args].concat());
        assert!(output.status.success(), "{output:?}");
        serde_json::from_slice(&output.stdout).unwrap()
    }
}

fn count(summary: &str, label: &str) -> u64 {
    let line = summary.lines().find_map(|line| line.trim().strip_prefix(label));
    line.unwrap_or_else(|| panic!("{label} is not in {summary}")).trim().parse().unwrap()
}

#[test]
fn a_bank_is_imported_once_however_often_it_is_imported() {
    let folder = tempfile::tempdir().unwrap();
    write_bank(folder.path());
    let platform = Platform::start(folder.path());
    let clear = CLEAR_KINDS * OF_EACH_KIND;
    for (round, stored, duplicate) in [(1, clear, 0), (2, 0, clear)] {
        let (code, summary) = platform.import(folder.path());
        assert_eq!(code, Some(0), "round {round}: {summary}");
        assert_eq!(count(&summary, "stored"), stored, "round {round}: {summary}");
        assert_eq!(count(&summary, "duplicate"), duplicate, "round {round}: {summary}");
        assert_eq!(count(&summary, "fraudulent"), OF_EACH_KIND);
        for reason in ["no operation", "no counterparty", "amount 0", "other operation"] {
            assert_eq!(count(&summary, reason), OF_EACH_KIND, "{reason}: {summary}");
        }
        assert_eq!(count(&summary, "rows read"), 301, "every row and the torn one");
        assert_eq!(count(&summary, "torn last lines"), 1);
    }
}

#[test]
fn what_was_imported_can_be_fetched() {
    let folder = tempfile::tempdir().unwrap();
    write_bank(folder.path());
    let platform = Platform::start(folder.path());
    assert_eq!(platform.import(folder.path()).0, Some(0));
    let event = platform.fetch(&["event", "berka-1002"]);
    assert_eq!((&event["client"], &event["branch"]), (&"A3".into(), &"Benesov".into()), "{event}");
    assert_eq!((&event["amount"], &event["currency"]), (&29.into(), &"CZK".into()), "{event}");
    let received = platform.fetch(&["client", "YZ-62457513", "transactions", "--all", "--limit", "7"]);
    assert_eq!(received["items"].as_array().map(Vec::len), Some(30), "pages are followed to the end");
    let listed = platform.fetch(&["client", LISTED]);
    assert_eq!(listed["interactions"]["items"], serde_json::json!([]), "fraudulent events leave no link");
}

#[test]
fn exit_codes_of_send_follow_the_outcome() {
    let folder = tempfile::tempdir().unwrap();
    let platform = Platform::start(folder.path());
    let send = |to: &str, amount: &str| {
        let args = ["send", "transaction", "--id", "e1", "--from", "A1", "--to", to, "--amount", amount];
        platform.run(&args).status.code()
    };
    assert_eq!(send(LISTED, "5"), Some(3), "fraudulent");
    assert_eq!(send("A2", "5"), Some(0), "stored");
    assert_eq!(send("A2", "5"), Some(0), "duplicate");
    assert_eq!(send("A2", "6"), Some(1), "conflict");
    assert_eq!(send("A1", "5"), Some(1), "rejected");
}
