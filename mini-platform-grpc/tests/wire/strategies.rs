//! Any valid domain value.

use std::time::Duration;

use mini_platform_core::domain::{
    Amount, BranchId, BranchLink, ClientId, Currency, Epoch, Etag, Event, EventBatch, EventFilter, EventId,
    EventQuery, EventScreening, Incarnation, IngestOutcome, Interaction, JoinToken, ListEntry, ListInfo,
    ListVersion, NeighbourQuery, NodeAddress, OccurredAt, OperationType, Page, PageSize, PageToken,
    PartyRole, ProtocolVersion, Recording, Screening, StoredEvent, TimeRange, Timestamp, Verdict, WorkerId,
};
use mini_platform_core::port::{
    ClientOverview, FetchAnswer, FetchQuery, HeartbeatAnswer, JoinAnswer, JoinRejection, JoinRequest,
    MembershipLease,
};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

/// 0001-01-01T00:00:00Z and 9999-12-30T22:00:00Z, as `event.proto` says.
pub(crate) const TIMES: std::ops::RangeInclusive<i64> = -62_135_596_800_000_000..=253_402_207_200_000_000;

/// Names in many scripts, up to `max` characters.
fn name(max: usize) -> impl Strategy<Value = String> {
    let longest = "a".repeat(max);
    prop_oneof![
        8 => "[a-zA-Z0-9./%'\"éß🦀محمد]{1,20}( [a-zA-Z]{1,20})?",
        4 => vec(any::<char>().prop_filter("no control characters", |c| !c.is_control()), 1..=max / 4)
            .prop_map(|chars| chars.into_iter().collect::<String>().trim().to_owned())
            .prop_filter("not only white space", |text| !text.is_empty()),
        1 => Just(longest),
    ]
}

fn client() -> impl Strategy<Value = ClientId> {
    name(256).prop_map(|text| ClientId::new(text).unwrap())
}

fn branch() -> impl Strategy<Value = BranchId> {
    name(256).prop_map(|text| BranchId::new(text).unwrap())
}

fn event_id() -> impl Strategy<Value = EventId> {
    "[!-~]{1,64}".prop_map(|text| EventId::new(text).unwrap())
}

pub(crate) fn timestamp() -> impl Strategy<Value = Timestamp> {
    prop_oneof![TIMES, select(vec![*TIMES.start(), -1, 0, 1, *TIMES.end()])]
        .prop_map(|micros| Timestamp::from_micros(micros).unwrap())
}

fn occurred_at() -> impl Strategy<Value = OccurredAt> {
    prop_oneof![timestamp().prop_map(OccurredAt::Given), timestamp().prop_map(OccurredAt::Received)]
}

fn amount() -> impl Strategy<Value = Amount> {
    prop_oneof![1..=i64::MAX, Just(1), Just(i64::MAX)]
        .prop_map(|units| Amount::from_minor_units(units).unwrap())
}

fn currency() -> impl Strategy<Value = Currency> {
    select(vec!["EUR", "CZK", "JPY", "KWD"]).prop_map(|code| code.parse().unwrap())
}

fn transaction() -> impl Strategy<Value = Event> {
    let parties = (client(), client()).prop_filter("nobody pays themselves", |(one, other)| one != other);
    (event_id(), parties, amount(), currency(), occurred_at()).prop_map(
        |(id, (sender, receiver), amount, currency, at)| {
            Event::transaction(id, sender, receiver, amount, currency, at).unwrap()
        },
    )
}

fn operation() -> impl Strategy<Value = Event> {
    let kind = select(vec![OperationType::Deposit, OperationType::Withdraw]);
    (event_id(), client(), branch(), kind, amount(), currency(), occurred_at()).prop_map(
        |(id, client, branch, kind, amount, currency, at)| {
            Event::operation(id, client, branch, kind, amount, currency, at)
        },
    )
}

pub(crate) fn event() -> impl Strategy<Value = Event> {
    prop_oneof![transaction(), operation()]
}

pub(crate) fn stored_event() -> impl Strategy<Value = StoredEvent> {
    (event(), timestamp()).prop_map(|(event, recorded_at)| StoredEvent { event, recorded_at })
}

pub(crate) fn batch() -> impl Strategy<Value = EventBatch> {
    vec(event(), 1..12).prop_filter_map("different ids", |events| EventBatch::new(events).ok())
}

fn list_version() -> impl Strategy<Value = ListVersion> {
    (timestamp(), "[!-~]{1,128}").prop_map(|(at, etag)| ListVersion::new(at, Etag::new(etag).unwrap()))
}

fn party() -> impl Strategy<Value = PartyRole> {
    select(vec![PartyRole::Sender, PartyRole::Receiver, PartyRole::Depositor, PartyRole::Withdrawer])
}

pub(crate) fn screening() -> impl Strategy<Value = EventScreening> {
    prop_oneof![
        list_version().prop_map(|version| EventScreening::None { version }),
        list_version().prop_map(|version| EventScreening::Clear { version }),
        (list_version(), party(), name(1024)).prop_map(|(version, party, entry)| {
            EventScreening::Hit { version, party, entry: ListEntry::new(entry).unwrap() }
        }),
    ]
}

fn recording() -> impl Strategy<Value = Recording> {
    (timestamp(), timestamp()).prop_map(|(occurred_at, recorded_at)| Recording { occurred_at, recorded_at })
}

pub(crate) fn result() -> impl Strategy<Value = IngestOutcome> {
    let recording = || proptest::option::of(recording());
    prop_oneof![
        (screening(), recording())
            .prop_map(|(screening, recording)| IngestOutcome::stored(screening, recording)),
        (screening(), recording())
            .prop_map(|(screening, recording)| IngestOutcome::duplicate(screening, recording)),
        screening().prop_map(IngestOutcome::fraudulent),
        screening().prop_map(IngestOutcome::conflict),
    ]
}

pub(crate) fn results() -> impl Strategy<Value = Vec<IngestOutcome>> {
    vec(result(), 0..12)
}

pub(crate) fn worker_id() -> impl Strategy<Value = WorkerId> {
    "[!-~]{1,128}".prop_map(|text| WorkerId::new(text).unwrap())
}

fn page_size() -> impl Strategy<Value = PageSize> {
    (1..=1000u16).prop_map(|size| PageSize::new(size).unwrap())
}

fn token() -> impl Strategy<Value = Option<PageToken>> {
    let text = prop_oneof!["[A-Za-z0-9_-]{1,64}", Just("a".repeat(1024))];
    proptest::option::of(text.prop_map(|text| text.parse().unwrap()))
}

fn page<T: std::fmt::Debug>(item: impl Strategy<Value = T>) -> impl Strategy<Value = Page<T>> {
    (vec(item, 0..4), token()).prop_map(|(items, next)| Page { items, next })
}

fn range() -> impl Strategy<Value = TimeRange> {
    let end = || proptest::option::of(timestamp());
    (end(), end()).prop_map(|(from, to)| TimeRange { from, to })
}

fn filter() -> impl Strategy<Value = EventFilter> {
    select(vec![
        EventFilter::Transactions,
        EventFilter::Sent,
        EventFilter::Received,
        EventFilter::Operations,
        EventFilter::Deposits,
        EventFilter::Withdrawals,
    ])
}

fn event_query() -> impl Strategy<Value = EventQuery> {
    let after = proptest::option::of(stored_event());
    (client(), filter(), range(), page_size(), after).prop_map(|(client, filter, range, size, after)| {
        let query = EventQuery::new(client, filter).with_range(range).with_size(size);
        match after {
            Some(after) => query.clone().with_token(&query.token_after(&after)).unwrap(),
            None => query,
        }
    })
}

fn neighbour_query() -> impl Strategy<Value = NeighbourQuery> {
    (client(), page_size(), proptest::option::of(name(256))).prop_map(|(client, size, after)| {
        let query = NeighbourQuery::new(client).with_size(size);
        match after {
            Some(after) => query.clone().with_token(&query.token_after(&after)).unwrap(),
            None => query,
        }
    })
}

pub(crate) fn fetch_query() -> impl Strategy<Value = FetchQuery> {
    prop_oneof![
        4 => event_query().prop_map(FetchQuery::Events),
        2 => neighbour_query().prop_map(FetchQuery::Interactions),
        2 => neighbour_query().prop_map(FetchQuery::Branches),
        1 => client().prop_map(FetchQuery::Overview),
        1 => event_id().prop_map(FetchQuery::Event),
        1 => Just(FetchQuery::ListInForce),
        1 => client().prop_map(FetchQuery::Check),
    ]
}

fn interaction() -> impl Strategy<Value = Interaction> {
    let times = prop_oneof![
        timestamp().prop_map(|at| (Some(at), None)),
        timestamp().prop_map(|at| (None, Some(at))),
        (timestamp(), timestamp()).prop_map(|(sent, received)| (Some(sent), Some(received))),
    ];
    (client(), times).prop_map(|(client, (sent, received))| Interaction::new(client, sent, received).unwrap())
}

fn branch_link() -> impl Strategy<Value = BranchLink> {
    (branch(), timestamp()).prop_map(|(branch, last_at)| BranchLink { branch, last_at })
}

fn overview() -> impl Strategy<Value = ClientOverview> {
    (page(stored_event()), page(stored_event()), page(interaction()), page(branch_link())).prop_map(
        |(transactions, operations, interactions, branches)| ClientOverview {
            transactions,
            operations,
            interactions,
            branches,
        },
    )
}

fn list_info() -> impl Strategy<Value = ListInfo> {
    (list_version(), any::<u64>(), ".{0,80}", timestamp(), timestamp()).prop_map(
        |(version, entries, source, loaded_at, confirmed_at)| ListInfo {
            version,
            entries,
            source,
            loaded_at,
            confirmed_at,
        },
    )
}

fn check() -> impl Strategy<Value = Screening> {
    let entry = name(1024).prop_map(|entry| Verdict::Hit { entry: ListEntry::new(entry).unwrap() });
    (list_version(), prop_oneof![Just(Verdict::Clear), entry])
        .prop_map(|(version, verdict)| Screening { version, verdicts: vec![verdict] })
}

pub(crate) fn fetch_answer() -> impl Strategy<Value = FetchAnswer> {
    prop_oneof![
        page(stored_event()).prop_map(FetchAnswer::Events),
        page(interaction()).prop_map(FetchAnswer::Interactions),
        page(branch_link()).prop_map(FetchAnswer::Branches),
        overview().prop_map(|overview| FetchAnswer::Overview(Box::new(overview))),
        proptest::option::of(stored_event()).prop_map(|stored| FetchAnswer::Event(stored.map(Box::new))),
        proptest::option::of(list_info()).prop_map(FetchAnswer::ListInForce),
        check().prop_map(FetchAnswer::Check),
    ]
}

pub(crate) fn incarnation() -> impl Strategy<Value = Incarnation> {
    any::<u64>().prop_map(Incarnation)
}

pub(crate) fn epoch() -> impl Strategy<Value = Epoch> {
    any::<u64>().prop_map(Epoch)
}

fn address() -> impl Strategy<Value = NodeAddress> {
    let host = prop_oneof!["[a-z0-9.-]{1,60}", Just("[::1]".to_owned())];
    (host, 1..=u16::MAX).prop_map(|(host, port)| NodeAddress::new(format!("http://{host}:{port}")).unwrap())
}

pub(crate) fn join_request() -> impl Strategy<Value = JoinRequest> {
    let protocol = (1..=u32::MAX).prop_map(ProtocolVersion);
    (worker_id(), address(), incarnation(), protocol, ".{0,40}").prop_map(
        |(id, address, incarnation, protocol, token)| JoinRequest {
            id,
            address,
            incarnation,
            protocol,
            token: JoinToken::new(token),
        },
    )
}

fn rejection() -> impl Strategy<Value = JoinRejection> {
    prop_oneof![
        any::<u32>().prop_map(|max| JoinRejection::ClusterFull { max_workers: max.try_into().unwrap() }),
        any::<u32>().prop_map(|number| JoinRejection::ProtocolVersion { supported: ProtocolVersion(number) }),
        Just(JoinRejection::Token),
        Just(JoinRejection::IdTaken),
        "[a-z :]{0,100}".prop_map(|reason| JoinRejection::NotDialable { reason }),
        Just(JoinRejection::ShuttingDown),
    ]
}

pub(crate) fn join_answer() -> impl Strategy<Value = JoinAnswer> {
    let day = 24 * 60 * 60 * 1_000_u64;
    let lease = (epoch(), 1..=day, any::<prop::sample::Index>()).prop_map(|(epoch, ttl, part)| {
        let interval = u64::try_from(part.index(usize::try_from(ttl).unwrap())).unwrap() + 1;
        let (ttl, heartbeat_interval) = (Duration::from_millis(ttl), Duration::from_millis(interval));
        MembershipLease { epoch, ttl, heartbeat_interval }
    });
    prop_oneof![lease.prop_map(JoinAnswer::Joined), rejection().prop_map(JoinAnswer::Rejected)]
}

pub(crate) fn heartbeat_answer() -> impl Strategy<Value = HeartbeatAnswer> {
    select(vec![HeartbeatAnswer::Renewed, HeartbeatAnswer::Unknown])
}
