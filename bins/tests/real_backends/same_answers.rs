//! The same events give the same answers, client by client: on the embedded store, on MongoDB with Redis, and through a
//! dispatcher with three workers on these.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use mini_platform_bins::client::{PlatformClient, path_segment};
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use serde_json::Value;

use crate::support::servers::Servers;
use crate::support::{Running, complaint, printed};
use crate::worker::start_worker;
use crate::{start_feeder, start_platform};

const SEED: u64 = 20_260_131;
const ROWS: usize = 4_000;
const ACCOUNTS: usize = 60;
const COUNTERPARTIES: usize = 25;
/// Small, so that many pages are followed.
const PAGE: usize = 13;

/// Writes a made-up bank of the shape of the PKDD'99 data; returns every client in it, and the listed one.
pub(crate) fn write_bank(folder: &Path) -> (BTreeSet<String>, String) {
    let mut random = StdRng::seed_from_u64(SEED);
    let districts = ["Hl.m. Praha", "Ústí n. Labem", "Brno - m\u{11b}sto"];
    let mut text = "A1;A2;A3\r\n".to_owned();
    for (number, name) in districts.iter().enumerate() {
        write!(text, "{};\"{name}\";\"x\"\r\n", number + 1).unwrap();
    }
    fs::write(folder.join("district.asc"), text).unwrap();
    let mut text = "\"account_id\";\"district_id\";\"frequency\";\"date\"\r\n".to_owned();
    for account in 1..=ACCOUNTS {
        write!(text, "{account};{};\"POPLATEK MESICNE\";930101\r\n", account % districts.len() + 1).unwrap();
    }
    fs::write(folder.join("account.asc"), text).unwrap();
    let counterparties: Vec<(String, String)> = (0..COUNTERPARTIES)
        .map(|_| {
            (
                ["YZ", "ST", "CD"].choose(&mut random).unwrap().to_string(),
                random.random_range(1..99_999_999).to_string(),
            )
        })
        .collect();
    let mut clients: BTreeSet<String> = (1..=ACCOUNTS).map(|account| format!("A{account}")).collect();
    clients.extend(counterparties.iter().map(|(bank, account)| format!("{bank}-{account}")));
    let mut text = "\"trans_id\";\"account_id\";\"date\";\"type\";\"operation\";\"amount\";\"balance\";\
                    \"k_symbol\";\"bank\";\"account\"\r\n"
        .to_owned();
    for id in 1..=ROWS {
        let account = random.random_range(1..=ACCOUNTS);
        let date = format!(
            "{:02}{:02}{:02}",
            random.random_range(93..99),
            random.random_range(1..13),
            random.random_range(1..29)
        );
        let amount = format!("{}.{:02}", random.random_range(1..50_000), random.random_range(0..100));
        let operations = ["VKLAD", "VYBER", "VYBER KARTOU", "PREVOD NA UCET", "PREVOD Z UCTU", ""];
        let operation = operations.choose(&mut random).unwrap();
        let (bank, other) = match operation.starts_with("PREVOD") {
            true => counterparties.choose(&mut random).unwrap().clone(),
            false => Default::default(),
        };
        write!(
            text,
            "{id};{account};{date};\"PRIJEM\";\"{operation}\";{amount};1.00;\"\";\"{bank}\";\"{other}\"\r\n"
        )
        .unwrap();
    }
    fs::write(folder.join("trans.asc"), text).unwrap();
    let (bank, account) = &counterparties[0];
    (clients, format!("{bank}-{account}"))
}

/// Takes away what may differ: when it was recorded, and how a store writes its page tokens.
fn comparable(mut answer: Value) -> Value {
    fn strip(value: &mut Value) {
        match value {
            Value::Object(fields) => {
                fields.remove("recorded_at");
                fields.remove("next_page_token");
                fields.values_mut().for_each(strip);
            }
            Value::Array(items) => items.iter_mut().for_each(strip),
            _ => {}
        }
    }
    strip(&mut answer);
    answer
}

/// Everything that can be read of a client.
pub(crate) async fn everything(platform: &PlatformClient, client: &str) -> Vec<Value> {
    let base = format!("/v1/clients/{}", path_segment(client));
    let mut answers = vec![comparable(platform.get(&base).await.unwrap())];
    for list in [
        "transactions?",
        "transactions?direction=sent&",
        "transactions?direction=received&from=1995-01-01T00:00:00Z&to=1997-06-01T00:00:00Z&",
        "operations?",
        "operations?operation=withdraw&",
        "interactions?",
        "branches?",
    ] {
        answers.push(pages(platform, &format!("{base}/{list}limit={PAGE}")).await);
    }
    answers
}

async fn pages(platform: &PlatformClient, path: &str) -> Value {
    let (mut pages, mut token) = (Vec::new(), String::new());
    loop {
        let page = platform.get(&format!("{path}{token}")).await.unwrap();
        let next = page["next_page_token"].as_str().map(|token| format!("&page_token={token}"));
        pages.push(comparable(page));
        match next {
            Some(next) => token = next,
            None => return pages.into(),
        }
    }
}

/// Starts a feeder, a dispatcher and workers, and waits until they are ready.
fn start_cluster(servers: &Servers, workers: usize) -> (Running, Running, Vec<Running>) {
    let feeder = start_feeder(servers);
    let dispatcher = Running::dispatcher(&["dispatch.timeout=30s"]);
    let workers: Vec<_> = (0..workers).map(|_| start_worker(servers, &dispatcher.grpc(), &[])).collect();
    workers.iter().for_each(|worker| worker.wait_until_ready(true));
    (feeder, dispatcher, workers)
}

pub(crate) fn import(platform: &Running, folder: &Path) -> String {
    let output = platform.client(&["import", "--format", "berka", folder.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(0), "{}{}", printed(&output), complaint(&output));
    let summary = printed(&output);
    // All but how long it took.
    summary.lines().filter(|line| !line.contains("seconds") && !line.contains("events/s")).collect()
}

#[tokio::test]
async fn every_answer_about_every_client_is_the_same_everywhere() {
    let Some(servers) = Servers::find() else { return };
    let folder = tempfile::tempdir().unwrap();
    let (clients, listed) = write_bank(folder.path());
    let list = format!("name\n{listed}\n");
    let file = folder.path().join("list.csv");
    fs::write(&file, &list).unwrap();
    servers.upload(&list);
    let source = format!("feeder.source=file:{}", file.display());
    let embedded = Running::start(&folder.path().join("data"), &[&source, "dispatch.timeout=30s"]);
    let _feeder = start_feeder(&servers);
    let real = start_platform(&servers, &[]);
    let Some(cluster_servers) = Servers::find() else { return };
    cluster_servers.upload(&list);
    let (_cluster_feeder, dispatcher, _workers) = start_cluster(&cluster_servers, 3);
    let summary = import(&embedded, folder.path());
    assert_eq!(import(&real, folder.path()), summary);
    assert_eq!(import(&dispatcher, folder.path()), summary);
    let [embedded, real, dispatcher] =
        [&embedded, &real, &dispatcher].map(|platform| PlatformClient::new(platform.base().parse().unwrap()));
    let (mut items, mut followed) = (0, 0);
    for client in &clients {
        let (expected, found) = (everything(&embedded, client).await, everything(&real, client).await);
        assert_eq!(found, expected, "what is known of {client}");
        assert_eq!(everything(&dispatcher, client).await, expected, "what the cluster knows of {client}");
        for list in &found[1..] {
            let pages = list.as_array().unwrap();
            followed += pages.len() - 1;
            items += pages.iter().map(|page| page["items"].as_array().unwrap().len()).sum::<usize>();
        }
    }
    println!("{} clients, {items} items, {followed} pages followed", clients.len());
    assert!(
        items > 2 * ROWS && followed > 300,
        "the comparison has something to compare: {items} items, {followed} pages"
    );
}
