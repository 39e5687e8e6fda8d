use std::io::Cursor;

use serde_json::{Value, json};

use super::*;

const HEADER: &str =
    r#""trans_id";"account_id";"date";"type";"operation";"amount";"balance";"k_symbol";"bank";"account""#;
const ACCOUNT: &str = "\"account_id\";\"district_id\";\"frequency\";\"date\"\r\n576;1;\"POPLATEK MESICNE\";930101\r\n2378;2;\"POPLATEK \"\"TYDNE\"\"\";930101\r\n";
const DISTRICT: &str =
    "A1;A2;A3\r\n1;\"Hl.m. Praha\";\"Prague\"\r\n2;\"Benesov; u Prahy\";\"central Bohemia\"\r\n";

fn bank(transactions: &str) -> BerkaRows {
    BerkaRows::new(Cursor::new(transactions.to_owned()), Cursor::new(ACCOUNT), Cursor::new(DISTRICT)).unwrap()
}

fn rows(text: &str) -> Vec<Row> {
    let mut bank = bank(&format!("{HEADER}\r\n{text}"));
    std::iter::from_fn(|| bank.next_row().unwrap()).collect()
}

fn only_row(text: &str) -> Row {
    let mut rows = rows(text);
    assert_eq!(rows.len(), 1, "{text}");
    rows.remove(0)
}

fn only_event(text: &str) -> Value {
    match only_row(text) {
        Row::Event { json, .. } => serde_json::from_slice(&json).unwrap(),
        other => panic!("{text} became {other:?}"),
    }
}

fn reason(text: &str) -> String {
    match only_row(text) {
        Row::Unusable { line: 2, reason } => reason,
        other => panic!("{text} became {other:?}"),
    }
}

#[test]
fn a_deposit_is_made_at_the_branch_of_the_accounts_district() {
    let event = only_event("695247;2378;930101;\"PRIJEM\";\"VKLAD\";700.00;700.00;\"\";;\r\n");
    assert_eq!(
        event,
        json!({
            "type": "operation", "id": "berka-695247", "client": "A2378", "branch": "Benesov; u Prahy",
            "operation": "deposit", "amount": 70_000, "currency": "CZK", "occurred_at": "1993-01-01T00:00:00Z"
        })
    );
}

#[test]
fn a_withdrawal_in_cash_or_by_card_is_one() {
    for operation in ["VYBER", "VYBER KARTOU"] {
        let row = format!("1450116;576;981231;\"VYDAJ\";\"{operation}\";5400.10;45384.20;\"\";\"\";\"0\"\n");
        let event = only_event(&row);
        assert_eq!(
            event,
            json!({
                "type": "operation", "id": "berka-1450116", "client": "A576", "branch": "Hl.m. Praha",
                "operation": "withdraw", "amount": 540_010, "currency": "CZK",
                "occurred_at": "1998-12-31T00:00:00Z"
            })
        );
    }
}

#[test]
fn a_transfer_runs_from_or_to_the_account() {
    let sent = only_event("7;576;930105;\"VYDAJ\";\"PREVOD NA UCET\";12.30;1;\"\";\"YZ\";\"62457513\"\r\n");
    assert_eq!(
        sent,
        json!({
            "type": "transaction", "id": "berka-7", "sender": "A576", "receiver": "YZ-62457513",
            "amount": 1230, "currency": "CZK", "occurred_at": "1993-01-05T00:00:00Z"
        })
    );
    let received =
        only_event("8;576;930105;\"PRIJEM\";\"PREVOD Z UCTU\";1;1;\"DUCHOD\";\"YZ\";\"62457513\"\r\n");
    assert_eq!((&received["sender"], &received["receiver"]), (&json!("YZ-62457513"), &json!("A576")));
}

#[test]
fn rows_that_are_no_events_are_skipped_with_a_reason() {
    let cases = [
        ("1;576;930101;\"PRIJEM\";\"\";24.20;1;\"UROK\";;", "no operation"),
        ("1;576;930101;\"PRIJEM\";\"SIPO\";24.20;1;\"\";;", "other operation"),
        ("1;576;930101;\"VYDAJ\";\"PREVOD NA UCET\";24.20;1;\"\";;", "no counterparty"),
        ("1;576;930101;\"VYDAJ\";\"PREVOD NA UCET\";24.20;1;\"\";\"AB\";\"\"", "no counterparty"),
        ("1;576;930101;\"PRIJEM\";\"PREVOD Z UCTU\";24.20;1;\"\";\"\";\"123\"", "no counterparty"),
        ("1;576;930101;\"PRIJEM\";\"VKLAD\";0.00;1;\"\";;", "amount 0"),
        ("1;576;930101;\"VYDAJ\";\"PREVOD NA UCET\";0;1;\"\";\"AB\";\"1\"", "amount 0"),
    ];
    for (row, reason) in cases {
        assert_eq!(only_row(&format!("{row}\r\n")), Row::Skipped(reason), "{row}");
    }
}

#[test]
fn rows_that_should_be_events_and_are_none_say_why() {
    let cases = [
        ("1;99;930101;\"PRIJEM\";\"VKLAD\";1.00;1;\"\";;", "account 99 is not in account.asc"),
        ("1;576;930101;\"PRIJEM\";\"VKLAD\";-1.00;1;\"\";;", "amount is no positive number"),
        ("1;576;930101;\"PRIJEM\";\"VKLAD\";;1;\"\";;", "amount is no positive number"),
        ("1;576;930231;\"PRIJEM\";\"VKLAD\";1.00;1;\"\";;", "date is none"),
        ("1;576;19930101;\"PRIJEM\";\"VKLAD\";1.00;1;\"\";;", "date is none"),
        (";576;930101;\"PRIJEM\";\"VKLAD\";1.00;1;\"\";;", "trans_id is no number"),
        ("1;576;930101;\"PRIJEM\";\"VKLAD\";1.00;1", "7 columns instead of 10"),
        ("1;576;930101;\"PRIJEM\";\"VKLAD\";1.00;1;\"\";;;", "11 columns instead of 10"),
        ("1;576;930101;\"PRIJEM;VKLAD;1.00;1;;;", "a quote is not closed"),
    ];
    for (row, expected) in cases {
        let reason = reason(&format!("{row}\n"));
        assert!(reason.contains(expected), "{row} was refused with: {reason}");
    }
}

#[test]
fn a_last_line_is_torn_wherever_it_is_cut_off() {
    let row = "8;576;930105;\"VYDAJ\";\"PREVOD NA UCET\";123.00;456.00;\"SIPO\";\"YZ\";\"62457513\"";
    for length in 1..row.len() {
        let cut = row.get(..length).unwrap();
        assert_eq!(only_row(cut), Row::Torn { line: 2 }, "{cut}");
    }
    for whole in [row.to_owned(), format!("{row}\r"), format!("{row}\n"), format!("{row}\r\n")] {
        assert!(matches!(only_row(&whole), Row::Event { .. }), "{whole:?}");
    }
}

#[test]
fn a_last_line_without_line_end_is_taken_when_nothing_can_be_missing() {
    let cash = "695247;2378;930101;\"PRIJEM\";\"VKLAD\";700.00;700.00;\"\";;";
    assert!(matches!(only_row(cash), Row::Event { .. }));
    let unquoted = "8;576;930105;\"VYDAJ\";\"PREVOD NA UCET\";123.00;456.00;\"SIPO\";YZ;6245";
    assert_eq!(only_row(unquoted), Row::Torn { line: 2 });
}

#[test]
fn blank_lines_and_an_end_of_file_mark_are_no_rows() {
    let text = "\r\n695247;2378;930101;\"PRIJEM\";\"VKLAD\";700.00;700.00;\"\";;\r\n  \n\u{1a}";
    assert!(matches!(rows(text).as_slice(), [Row::Event { line: 3, .. }]));
}

#[test]
fn columns_are_found_by_name() {
    let text =
        "account;bank;amount;operation;date;account_id;trans_id\n1;AB;1.5;PREVOD NA UCET;930101;576;3\n";
    let row = bank(text).next_row().unwrap().unwrap();
    let Row::Event { json, id, .. } = row else { panic!("{row:?}") };
    let event: Value = serde_json::from_slice(&json).unwrap();
    assert_eq!(
        (id.as_deref(), &event["receiver"], &event["amount"]),
        (Some("berka-3"), &json!("AB-1"), &json!(150))
    );
}

#[test]
fn amounts_are_exact() {
    let cases = [
        ("700.00", 70_000),
        ("24.20", 2_420),
        ("24.2", 2_420),
        ("24", 2_400),
        ("0.01", 1),
        ("0.29", 29),
        ("1.10", 110),
        ("1.1000", 110),
        ("0", 0),
        ("0.000", 0),
        ("0007.00", 700),
        ("92233720368547758.07", i64::MAX),
    ];
    for (text, amount) in cases {
        assert_eq!(hundredths(text), Ok(amount), "{text}");
    }
    for text in
        ["", ".", ".5", "5.", "-1", "+1", "1,5", "1.001", "1e3", "1 0", "92233720368547758.08", "1.0x", "1.é"]
    {
        assert!(hundredths(text).is_err(), "{text} must be refused");
    }
}

#[test]
fn a_missing_column_file_or_district_is_named() {
    let no_column =
        BerkaRows::new(Cursor::new("trans_id;date\n"), Cursor::new(ACCOUNT), Cursor::new(DISTRICT));
    assert!(format!("{:#}", no_column.err().unwrap()).contains("trans.asc has no column `account_id`"));
    let empty = BerkaRows::new(Cursor::new(""), Cursor::new(ACCOUNT), Cursor::new(DISTRICT));
    assert!(format!("{:#}", empty.err().unwrap()).contains("trans.asc is empty"));
    let no_district = BerkaRows::new(Cursor::new(HEADER), Cursor::new(ACCOUNT), Cursor::new("A1;A2\n1;x\n"));
    assert!(format!("{:#}", no_district.err().unwrap()).contains("district 2, which is not in district.asc"));
    let torn = BerkaRows::new(
        Cursor::new(HEADER),
        Cursor::new("account_id;district_id\n576"),
        Cursor::new(DISTRICT),
    );
    assert!(format!("{:#}", torn.err().unwrap()).contains("account.asc, line 2: 1 columns instead of 2"));
    let folder = tempfile::tempdir().unwrap();
    let no_file = BerkaRows::open(folder.path()).err().unwrap();
    assert!(format!("{no_file:#}").contains("trans.asc"), "{no_file:#}");
    let no_folder = BerkaRows::open(&folder.path().join("trans.asc")).err().unwrap();
    assert!(no_folder.to_string().contains("is no folder"), "{no_folder:#}");
}
