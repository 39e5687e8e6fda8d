//! The commands of an operator, beside a running platform.

use crate::support::servers::Servers;
use crate::support::{complaint, printed};
use crate::{operate, start_feeder, start_platform};

#[test]
fn a_dry_run_names_who_would_come_and_go_and_changes_nothing() {
    let Some(servers) = Servers::find() else { return };
    servers.upload("name\nAnn Old\nBoth\nThird\n");
    let fed = operate(&servers, &["feed"]);
    assert_eq!(fed.status.code(), Some(0), "{}", complaint(&fed));
    assert!(printed(&fed).contains("in force: ") && printed(&fed).contains("3 entries"), "{}", printed(&fed));
    servers.upload_later("name\nBOTH\nThird\nZoe New\n");
    let lists = printed(&operate(&servers, &["lists"]));
    let preview = operate(&servers, &["feed", "--dry-run"]);
    assert_eq!(preview.status.code(), Some(0), "{}", complaint(&preview));
    let text = printed(&preview);
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines[..2], ["- Ann Old", "+ Zoe New"], "{text}");
    assert!(
        lines[2].starts_with("would come into force: ") && lines[2].contains("1 added and 1 removed"),
        "{text}"
    );
    assert_eq!(printed(&operate(&servers, &["lists"])), lists, "a dry run changes nothing");
    let again = operate(&servers, &["feed"]);
    assert_eq!(again.status.code(), Some(0), "{}", complaint(&again));
    assert!(printed(&operate(&servers, &["feed"])).starts_with("unchanged"));
}

#[test]
fn a_list_that_shrank_is_taken_once_somebody_allows_it() {
    let Some(servers) = Servers::find() else { return };
    servers.upload("name\nA\nB\nC\nD\nE\n");
    assert_eq!(operate(&servers, &["feed"]).status.code(), Some(0));
    servers.upload("name\nA\n");
    for arguments in [&["feed", "--dry-run"][..], &["feed"]] {
        let refused = operate(&servers, arguments);
        assert_eq!(refused.status.code(), Some(1), "{}{}", printed(&refused), complaint(&refused));
        let told = printed(&refused) + &complaint(&refused);
        assert!(told.contains("allow the list to shrink"), "{told}");
    }
    assert!(printed(&operate(&servers, &["lists"])).contains(" 5 entries"));
    let allowed = operate(&servers, &["feed", "--allow-shrink"]);
    assert_eq!(allowed.status.code(), Some(0), "{}", complaint(&allowed));
    assert!(printed(&operate(&servers, &["lists"])).lines().next().unwrap().contains(" 1 entries"));
}

#[test]
fn a_rollback_reaches_a_running_platform_and_the_feeder_lets_it_be() {
    let Some(servers) = Servers::find() else { return };
    servers.upload("name\nFirst\nBoth\n");
    assert_eq!(operate(&servers, &["feed"]).status.code(), Some(0));
    servers.upload("name\nBoth\nSecond\n");
    let feeder = start_feeder(&servers);
    let platform = start_platform(&servers, &[]);
    let listed =
        |name: &str| printed(&platform.client(&["fetch", "fraud-list", "--check", name])).contains("\"hit\"");
    assert!(listed("Second") && !listed("First"));
    let lists = printed(&operate(&servers, &["lists"]));
    let lines: Vec<&str> = lists.lines().collect();
    assert_eq!(lines.len(), 2, "{lists}");
    assert!(lines[0].starts_with("in force  ") && lines[1].starts_with("kept      "), "{lists}");
    assert!(lines[0].contains(&servers.source()), "{lists}");
    let older = lines[1].split_whitespace().nth(1).unwrap();
    let rolled = operate(&servers, &["rollback", older]);
    assert_eq!(rolled.status.code(), Some(0), "{}", complaint(&rolled));
    crate::support::wait_until(
        "the platform screens against the old list",
        || platform.log(),
        || listed("First"),
    );
    // Many looks of the feeder later.
    let looks = || {
        feeder
            .get("/metrics")
            .1
            .lines()
            .filter(|line| line.contains("{result=\"unchanged\"}"))
            .map(str::to_owned)
            .collect::<String>()
    };
    let before = looks();
    crate::support::wait_until("the feeder looked again", || feeder.log(), || looks() != before);
    assert!(printed(&operate(&servers, &["lists"])).contains(&format!("in force  {older}")));
    let unknown = operate(&servers, &["rollback", "2020-01-01T00:00:00Z_nothing"]);
    assert_eq!(unknown.status.code(), Some(70), "{}", complaint(&unknown));
    assert!(complaint(&unknown).contains("nothing was changed"), "{}", complaint(&unknown));
}
