//! Whatever the events and whatever the damage, a repair makes what a rebuild makes.

use mini_platform_core::domain::{Edge, Event};
use mini_platform_core::testkit::{deposit, transfer, withdrawal};
use proptest::prelude::{Strategy, any};
use proptest::{collection, prop_oneof, proptest};

use super::support::{Platform, links, received, sent, used};

const NAMES: [&str; 4] = ["ann", "bob", "cyd", "Žofie/%20"];

fn name() -> impl Strategy<Value = &'static str> {
    (0..NAMES.len()).prop_map(|place| NAMES[place])
}

fn two_names() -> impl Strategy<Value = (&'static str, &'static str)> {
    (name(), name()).prop_filter("nobody pays themselves", |(one, other)| one != other)
}

fn event() -> impl Strategy<Value = Event> {
    let id = any::<u64>().prop_map(|number| format!("e{number}"));
    (id, two_names(), 0..6_i64, 0..3_u8).prop_map(|(id, (one, other), seconds, kind)| match kind {
        0 => transfer(&id, one, other, seconds),
        1 => deposit(&id, one, other, seconds),
        _ => withdrawal(&id, one, other, seconds),
    })
}

fn edge() -> impl Strategy<Value = Edge> {
    (two_names(), 0..8_i64, 0..3_u8).prop_map(|((one, other), seconds, kind)| match kind {
        0 => sent(one, other, seconds),
        1 => received(one, other, seconds),
        _ => used(one, other, seconds),
    })
}

#[derive(Debug, Clone)]
enum Step {
    Ingest(Event),
    StoreOnly(Event),
    Damage(Edge),
    Lose(Edge),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => event().prop_map(Step::Ingest),
        1 => event().prop_map(Step::StoreOnly),
        2 => edge().prop_map(Step::Damage),
        2 => edge().prop_map(Step::Lose),
    ]
}

/// Returns the links that the events imply, linked one by one.
async fn expected(steps: &[Step]) -> Platform {
    let platform = Platform::new().await;
    for step in steps {
        if let Step::Ingest(event) | Step::StoreOnly(event) = step {
            platform.ingest([event.clone()]).await;
        }
    }
    platform
}

proptest! {
    #[test]
    fn what_is_repaired_equals_what_is_rebuilt(steps in collection::vec(step(), 0..40)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(async {
            let platform = Platform::new().await;
            for step in &steps {
                match step {
                    Step::Ingest(event) => platform.ingest([event.clone()]).await,
                    Step::StoreOnly(event) => platform.append_only([event.clone()], 1).await,
                    Step::Damage(edge) => platform.damage(std::slice::from_ref(edge)).await,
                    Step::Lose(edge) => platform.lose(std::slice::from_ref(edge)).await,
                }
            }
            platform.assert_repairable().await;
            let expected = expected(&steps).await;
            assert_eq!(
                links(&platform.adjacency.inner).await,
                links(&expected.adjacency.inner).await,
                "what the worker links"
            );
        });
    }
}
