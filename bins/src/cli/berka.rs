//! Import of the PKDD'99 bank data ("Berka"): a folder with `trans.asc`, `account.asc` and `district.asc`.
//!
//! | row of `trans.asc` | event |
//! |---|---|
//! | `VKLAD` | deposit of `A<account>` at the branch of the account's district |
//! | `VYBER`, `VYBER KARTOU` | withdrawal, likewise |
//! | `PREVOD NA UCET` | transaction `A<account>` → `<bank>-<account>` |
//! | `PREVOD Z UCTU` | transaction `<bank>-<account>` → `A<account>` |
//!
//! Other rows are skipped. Amounts become hellers of CZK, dates midnight UTC, ids `berka-<trans_id>`.
//! Accounts and districts are kept in memory; `trans.asc` is read line by line.

use std::collections::HashMap;
use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, bail};
use mini_platform_core::domain::Timestamp;

use super::delimited::{Cell, cells};
use super::event_line::EventLine;
use super::lines::{Line, LineReader};
use super::rows::{Row, RowSource};

/// The file whose rows are the events.
pub(super) const TRANSACTIONS: &str = "trans.asc";
const ACCOUNTS: &str = "account.asc";
const DISTRICTS: &str = "district.asc";

const CURRENCY: &str = "CZK";

/// What some systems put behind the last line of a text file.
const END_OF_FILE: &[u8] = b"\x1A";

/// The rows of `trans.asc`.
pub(super) struct BerkaRows {
    lines: LineReader,
    columns: Columns,
    /// The branch of each account, by account id.
    branches: HashMap<String, Arc<str>>,
}

/// Where the columns of `trans.asc` are.
struct Columns {
    count: usize,
    trans_id: usize,
    account_id: usize,
    date: usize,
    operation: usize,
    amount: usize,
    bank: usize,
    account: usize,
}

/// What a row does, by its column `operation`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Operation {
    Deposit,
    Withdraw,
    TransferTo,
    TransferFrom,
}

impl Operation {
    /// Reads the column, or returns the reason to skip the row.
    fn read(text: &str) -> Result<Self, &'static str> {
        match text {
            "VKLAD" => Ok(Self::Deposit),
            "VYBER" | "VYBER KARTOU" => Ok(Self::Withdraw),
            "PREVOD NA UCET" => Ok(Self::TransferTo),
            "PREVOD Z UCTU" => Ok(Self::TransferFrom),
            "" => Err("no operation"),
            _ => Err("other operation"),
        }
    }

    fn is_transfer(self) -> bool {
        matches!(self, Self::TransferTo | Self::TransferFrom)
    }
}

impl BerkaRows {
    /// Opens the three files of a folder and reads the two small ones.
    ///
    /// # Errors
    /// A file or a column is missing, or the small files do not fit together.
    pub(super) fn open(folder: &Path) -> anyhow::Result<Self> {
        if !folder.is_dir() {
            bail!(
                "{} is no folder: --format berka takes the one that holds {TRANSACTIONS}, {ACCOUNTS} and {DISTRICTS}",
                folder.display()
            );
        }
        let open = |name| {
            let path = folder.join(name);
            File::open(&path).with_context(|| format!("cannot open {}", path.display()))
        };
        Self::new(open(TRANSACTIONS)?, open(ACCOUNTS)?, open(DISTRICTS)?)
            .with_context(|| format!("cannot read the bank data in {}", folder.display()))
    }

    fn new(
        transactions: impl Read + Send + 'static,
        accounts: impl Read + Send + 'static,
        districts: impl Read + Send + 'static,
    ) -> anyhow::Result<Self> {
        let branches = branches(accounts, districts)?;
        let mut lines = LineReader::new(transactions);
        let columns = Columns::find(&Header::read(TRANSACTIONS, &mut lines)?)?;
        Ok(Self { lines, columns, branches })
    }
}

impl RowSource for BerkaRows {
    fn next_row(&mut self) -> anyhow::Result<Option<Row>> {
        loop {
            let Some(line) = self.lines.next_line().with_context(|| format!("cannot read {TRANSACTIONS}"))?
            else {
                return Ok(None);
            };
            if !is_blank(line.text) {
                return Ok(Some(read_row(line, &self.columns, &self.branches)));
            }
        }
    }

    fn position(&self) -> u64 {
        self.lines.position()
    }
}

fn is_blank(text: &[u8]) -> bool {
    text.trim_ascii().is_empty() || text == END_OF_FILE
}

fn read_row(line: Line<'_>, columns: &Columns, branches: &HashMap<String, Arc<str>>) -> Row {
    let number = line.number;
    let unusable = |reason: String| Row::Unusable { line: number, reason };
    let found = match read_cells(line) {
        Ok(found) => found,
        Err(_) if !line.is_ended => return Row::Torn { line: number },
        Err(reason) => return unusable(reason),
    };
    if found.len() < columns.count && !line.is_ended {
        return Row::Torn { line: number };
    }
    if found.len() != columns.count {
        return unusable(format!("{} columns instead of {}", found.len(), columns.count));
    }
    let row = TransRow { cells: &found, columns };
    let operation = match Operation::read(row.text(columns.operation)) {
        Ok(operation) => operation,
        Err(reason) => return Row::Skipped(reason),
    };
    // Without a line end, an account number without quotes may be cut off in the middle.
    if !line.is_ended && operation.is_transfer() && !found.last().is_some_and(|cell| cell.is_quoted) {
        return Row::Torn { line: number };
    }
    row.event(number, operation, branches).unwrap_or_else(unusable)
}

fn read_cells(line: Line<'_>) -> Result<Vec<Cell<'_>>, String> {
    if line.is_too_long {
        return Err("too long".to_owned());
    }
    let text = std::str::from_utf8(line.text).map_err(|_| "not UTF-8".to_owned())?;
    cells(text).map_err(|error| error.to_string())
}

/// One whole row of `trans.asc`.
struct TransRow<'a> {
    cells: &'a [Cell<'a>],
    columns: &'a Columns,
}

impl TransRow<'_> {
    fn text(&self, column: usize) -> &str {
        self.cells.get(column).map_or("", |cell| cell.text.trim())
    }

    /// Makes an event of the row, or says what is wrong with it.
    fn event(
        &self,
        line: u64,
        operation: Operation,
        branches: &HashMap<String, Arc<str>>,
    ) -> Result<Row, String> {
        let columns = self.columns;
        let (bank, account) = (self.text(columns.bank), self.text(columns.account));
        if operation.is_transfer() && (bank.is_empty() || account.is_empty()) {
            return Ok(Row::Skipped("no counterparty"));
        }
        let amount = hundredths(self.text(columns.amount))?;
        if amount == 0 {
            return Ok(Row::Skipped("amount 0"));
        }
        let account_id = digits("account_id", self.text(columns.account_id))?;
        let client = format!("A{account_id}");
        let counterparty = format!("{bank}-{account}");
        let branch =
            || branches.get(account_id).ok_or_else(|| format!("account {account_id} is not in {ACCOUNTS}"));
        let id = format!("berka-{}", digits("trans_id", self.text(columns.trans_id))?);
        let occurred_at = midnight(self.text(columns.date))?;
        let mut event = match operation {
            Operation::Deposit => EventLine::deposit(&client, branch()?, amount),
            Operation::Withdraw => EventLine::withdraw(&client, branch()?, amount),
            Operation::TransferTo => EventLine::transaction(&client, &counterparty, amount),
            Operation::TransferFrom => EventLine::transaction(&counterparty, &client, amount),
        };
        event.id = Some(&id);
        event.currency = Some(CURRENCY);
        event.occurred_at = Some(&occurred_at);
        let json = serde_json::to_vec(&event).map_err(|error| error.to_string())?;
        Ok(Row::Event { line, id: Some(id.into()), json })
    }
}

fn digits<'a>(column: &str, text: &'a str) -> Result<&'a str, String> {
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        Ok(text)
    } else {
        Err(format!("{column} is no number"))
    }
}

/// Turns a decimal number with up to two places into hundredths, exactly.
fn hundredths(text: &str) -> Result<i64, String> {
    let (whole, places) = text.split_once('.').unwrap_or((text, "0"));
    let (places, zeros) = places.split_at_checked(2).unwrap_or((places, ""));
    let is_number = [whole, places, zeros].into_iter().all(|part| part.bytes().all(|b| b.is_ascii_digit()));
    if whole.is_empty() || places.is_empty() || !is_number || zeros.bytes().any(|byte| byte != b'0') {
        return Err("amount is no positive number with two decimal places".to_owned());
    }
    format!("{whole}{places:0<2}").parse().map_err(|_| "amount is too large".to_owned())
}

/// Turns a date as YYMMDD, of the 20th century, into its first moment.
fn midnight(text: &str) -> Result<String, String> {
    let wrong = || "date is none, as YYMMDD".to_owned();
    let text = digits("date", text).map_err(|_| wrong())?;
    match (text.len(), text.get(..2), text.get(2..4), text.get(4..6)) {
        (6, Some(year), Some(month), Some(day)) => {
            let midnight = format!("19{year}-{month}-{day}T00:00:00Z");
            midnight.parse::<Timestamp>().map_err(|_| wrong())?;
            Ok(midnight)
        }
        _ => Err(wrong()),
    }
}

/// The names of a file's columns.
struct Header {
    file: &'static str,
    names: Vec<String>,
}

impl Header {
    fn read(file: &'static str, lines: &mut LineReader) -> anyhow::Result<Self> {
        let line = lines.next_line().with_context(|| format!("cannot read {file}"))?;
        let line = line.with_context(|| format!("{file} is empty"))?;
        let names =
            read_cells(line).map_err(|reason| anyhow::anyhow!("the first line of {file}: {reason}"))?;
        Ok(Self { file, names: names.into_iter().map(|cell| cell.text.trim().to_owned()).collect() })
    }

    fn column(&self, name: &str) -> anyhow::Result<usize> {
        self.names
            .iter()
            .position(|column| column == name)
            .with_context(|| format!("{} has no column `{name}` in its first line", self.file))
    }
}

impl Columns {
    fn find(header: &Header) -> anyhow::Result<Self> {
        Ok(Self {
            count: header.names.len(),
            trans_id: header.column("trans_id")?,
            account_id: header.column("account_id")?,
            date: header.column("date")?,
            operation: header.column("operation")?,
            amount: header.column("amount")?,
            bank: header.column("bank")?,
            account: header.column("account")?,
        })
    }
}

/// Reads two columns of a small file.
fn read_pairs(
    file: &'static str,
    input: impl Read + Send + 'static,
    columns: [&str; 2],
) -> anyhow::Result<Vec<(String, String)>> {
    let mut lines = LineReader::new(input);
    let header = Header::read(file, &mut lines)?;
    let [first, second] = columns;
    let (first, second) = (header.column(first)?, header.column(second)?);
    let mut pairs = Vec::new();
    while let Some(line) = lines.next_line().with_context(|| format!("cannot read {file}"))? {
        if is_blank(line.text) {
            continue;
        }
        let found =
            read_cells(line).map_err(|reason| anyhow::anyhow!("{file}, line {}: {reason}", line.number))?;
        if found.len() != header.names.len() {
            bail!("{file}, line {}: {} columns instead of {}", line.number, found.len(), header.names.len());
        }
        let text = |column: usize| found.get(column).map_or("", |cell| cell.text.trim()).to_owned();
        pairs.push((text(first), text(second)));
    }
    Ok(pairs)
}

/// Finds the branch of every account: the name of its district.
fn branches(
    accounts: impl Read + Send + 'static,
    districts: impl Read + Send + 'static,
) -> anyhow::Result<HashMap<String, Arc<str>>> {
    let districts: HashMap<String, Arc<str>> = read_pairs(DISTRICTS, districts, ["A1", "A2"])?
        .into_iter()
        .map(|(district, name)| (district, name.into()))
        .collect();
    let mut branches = HashMap::new();
    for (account, district) in read_pairs(ACCOUNTS, accounts, ["account_id", "district_id"])? {
        let branch = districts.get(&district).with_context(|| {
            format!("account {account} of {ACCOUNTS} is in district {district}, which is not in {DISTRICTS}")
        })?;
        branches.insert(account, Arc::clone(branch));
    }
    Ok(branches)
}

#[cfg(test)]
mod tests;
