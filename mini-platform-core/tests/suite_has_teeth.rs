//! Every conformance case rejects an adapter that is broken in the way the case is there for.
//!
//! The list of cases is the suites' own, so a case without a broken adapter here does not compile.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use futures_util::{StreamExt, stream};
use mini_platform_core::Worker;
use mini_platform_core::domain::*;
use mini_platform_core::error::*;
use mini_platform_core::memory::*;
use mini_platform_core::port::*;
use mini_platform_core::testkit::fraud_source::PublishedSource;
use mini_platform_core::testkit::long_term_log::LogStage;
use mini_platform_core::testkit::membership::{LEASE, MembershipStage};
use mini_platform_core::testkit::outbox::{MAX_BYTES, RestartedOutbox};
use mini_platform_core::testkit::parking_lot::{LIMITS, ParkingLotStage};
use mini_platform_core::testkit::worker_node::FRAUDSTERS;
use mini_platform_core::testkit::{Fixture, ManualClock, at, client, fraud_list, list_version};

macro_rules! emit_teeth_tests {
    ([] $suite:ident: $($case:ident),+ $(,)?) => {
        mod $suite {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $case() {
                    let broken = super::broken::$suite::$case().await;
                    let case = tokio::spawn(mini_platform_core::testkit::$suite::$case(broken));
                    let rejected = case.await.is_err_and(|error| error.is_panic());
                    assert!(rejected, "the case must reject an adapter that breaks its clause");
                }
            )+
        }
    };
}

mini_platform_core::event_store_cases! { [emit_teeth_tests], [] }
mini_platform_core::adjacency_store_cases! { [emit_teeth_tests], [] }
mini_platform_core::fraud_registry_cases! { [emit_teeth_tests], [] }
mini_platform_core::fraud_source_cases! { [emit_teeth_tests], [] }
mini_platform_core::worker_node_cases! { [emit_teeth_tests], [] }
mini_platform_core::membership_cases! { [emit_teeth_tests], [] }
mini_platform_core::long_term_log_cases! { [emit_teeth_tests], [] }
mini_platform_core::outbox_cases! { [emit_teeth_tests], [] }
mini_platform_core::parking_lot_cases! { [emit_teeth_tests], [] }

/// Adapters that break one clause each, named after the case that must notice.
mod broken {
    pub(crate) mod event_store {
        use super::super::events::{BrokenEvents, Defect};
        use super::super::*;

        type Broken = Fixture<dyn EventStore>;

        async fn with(defect: Defect) -> Broken {
            Fixture::new(Arc::new(BrokenEvents::new(defect)))
        }

        macro_rules! broken {
            ($($case:ident => $defect:ident),+ $(,)?) => {
                $(pub(crate) async fn $case() -> Broken { with(Defect::$defect).await })+
            };
        }

        broken! {
            es1_outcomes_are_dense_and_in_order => ReversesOutcomes,
            es2_second_append_is_duplicate => AlwaysSaysStored,
            es2_a_duplicate_carries_the_times_of_the_first_append => AnswersTheResendsRecording,
            es2_other_content_is_conflict_and_changes_nothing => TakesConflictForDuplicate,
            es2_untimed_resend_is_duplicate_with_the_stored_time => AnswersTheResendsTime,
            es3_racing_appends_store_once => ChecksThenActs,
            es3_losers_of_a_race_learn_the_times_of_the_winner => AnswersTheResendsRecording,
            es4_appended_is_visible_at_once => HidesTheLatest,
            es5_resending_a_partly_stored_batch_is_safe => DropsBatchesWithDuplicates,
            es6_get_answers_what_was_stored => ForgetsWhenItRecorded,
            es7_newest_first_and_ties_by_descending_id => OrdersTiesByAscendingId,
            es7_filters_select_by_role => IgnoresTheFilter,
            es7_an_unknown_client_has_an_empty_page => AnswersForAnn,
            es8_pages_have_no_gap_and_no_double => SkipsOneAfterAToken,
            es8_pages_survive_inserts => PagesByOffset,
            es8_the_last_page_has_no_token => AlwaysAnswersAToken,
            es9_ranges_are_half_open => IncludesTheEnd,
            es10_clients_that_look_alike_are_apart => ReadsByPrefix,
            es11_clients_come_in_byte_order => OrdersClientsByLength,
            es11_a_client_of_every_role_comes_once => AnswersClientsOfEachKind,
            es11_a_conflict_makes_no_client => KnowsClientsOfConflicts,
            es11_pages_hold_every_client_once => SkipsAClientAfterAToken,
            es11_pages_survive_inserts => PagesClientsByOffset,
        }
    }

    pub(crate) mod adjacency_store {
        use super::super::links::{BrokenLinks, Defect};
        use super::super::*;

        type Broken = Fixture<dyn AdjacencyStore>;

        macro_rules! broken {
            ($($case:ident => $defect:ident),+ $(,)?) => {
                $(pub(crate) async fn $case() -> Broken { Fixture::new(Arc::new(BrokenLinks::new(Defect::$defect))) })+
            };
        }

        broken! {
            as1_the_latest_time_wins_in_any_order => KeepsTheLastWritten,
            as1_each_side_keeps_its_own_time => SharesOneTime,
            as2_linking_again_changes_nothing => CountsRepeats,
            as3_every_edge_is_visible_at_once => LosesTheLastEdge,
            as3_racing_links_lose_nothing => ChecksThenActs,
            as4_both_sides_are_one_interaction => AnswersSidesApart,
            as5_neighbours_are_ordered_and_paged => ReversesPages,
            as5_pages_survive_new_links => PagesByOffset,
            as5_the_last_page_has_no_token => AlwaysAnswersAToken,
            as6_kinds_and_clients_are_apart => TakesBranchesForClients,
            as7_a_link_is_removed_at_exactly_its_time => RemovesAnyTime,
            as7_a_removed_link_leaves_no_older_time => RemovesTheLatestTimeOnly,
            as7_a_renewed_link_stays => RemovesWhatWasEverLinked,
            as7_a_side_is_removed_alone => RemovesBothSides,
            as7_other_links_stay => RemovesEveryLinkOfTheClient,
            as7_many_links_are_removed_at_once => RemovesTheFirstOnly,
            as7_a_racing_renewal_stays => ChecksThenRemoves,
            as7_a_removed_link_can_come_back => NeverGoesBackInTime,
            as8_every_client_with_a_link_is_answered => ForgetsClientsWithBranchesOnly,
            as8_pages_survive_changes => PagesClientsByOffset,
        }
    }

    pub(crate) mod fraud_registry {
        use super::super::registry::{BrokenRegistry, Defect};
        use super::super::*;

        type Broken = Fixture<dyn FraudRegistry>;

        macro_rules! broken {
            ($($case:ident => $defect:ident),+ $(,)?) => {
                $(pub(crate) async fn $case() -> Broken { Fixture::new(Arc::new(BrokenRegistry::new(Defect::$defect))) })+
            };
        }

        broken! {
            fr1_verdicts_are_dense_and_in_order => ReversesVerdicts,
            fr2_without_a_list_nothing_is_clear => ClearsWithoutAList,
            fr3_a_hit_names_the_entry_as_published => NamesTheSubject,
            fr4_replace_removes_and_adds => KeepsRemovedNames,
            fr4_readers_never_see_a_mix => MixesVersions,
            fr5_a_broken_stream_leaves_the_old_list => TakesWhatArrived,
            fr6_an_older_or_equal_list_is_stale => TakesAnyList,
            fr6_a_rollback_is_not_undone_by_the_same_list => ForgetsWhatWasRolledBack,
            fr8_the_last_versions_are_kept => ReversesHistory,
            fr9_rollback_puts_a_kept_version_in_force => OnlySaysItRolledBack,
            fr9_an_unknown_version_is_refused => RollsBackToAnything,
            fr10_equal_entries_count_once => CountsEveryEntry,
            fr11_entries_are_those_of_the_version => ReadsTheListInForce,
            fr11_an_unknown_version_is_refused => ReadsNothingOfUnknownVersions,
            fr11_equal_entries_come_once => ReadsEntriesAsTheyCame,
            fr11_a_large_list_is_read_whole => ReadsOneChunk,
            fr11_a_list_that_is_trimmed_is_never_read_short => ReadsWhatIsLeft,
            fr12_the_list_in_force_tells_when_it_was_confirmed => OnlySaysItConfirmed,
            fr12_only_the_version_in_force_is_confirmed => ConfirmsAnyVersion,
            fr12_a_change_of_the_list_takes_no_confirmation_back => ForgetsTheConfirmation,
        }
    }

    pub(crate) mod fraud_source {
        use super::super::source::{BrokenSource, Defect};
        use super::super::*;

        type Broken = Fixture<dyn PublishedSource>;

        macro_rules! broken {
            ($($case:ident => $defect:ident),+ $(,)?) => {
                $(pub(crate) async fn $case() -> Broken { Fixture::new(Arc::new(BrokenSource::new(Defect::$defect))) })+
            };
        }

        broken! {
            fs1_the_content_is_answered_whole => LosesTheLastByte,
            fs2_the_same_content_is_not_modified => AlwaysChanged,
            fs2_new_content_is_changed => NeverChangesAgain,
            fs4_pieces_are_bounded => AnswersOnePiece,
        }
    }

    pub(crate) mod worker_node {
        use super::super::worker::{BrokenWorker, Defect};
        use super::super::*;

        type Broken = Fixture<dyn WorkerNode>;

        macro_rules! broken {
            ($($case:ident => $defect:ident),+ $(,)?) => {
                $(pub(crate) async fn $case() -> Broken { Fixture::new(Arc::new(BrokenWorker::new(Defect::$defect).await)) })+
            };
        }

        broken! {
            wn1_outcomes_are_dense_and_in_order => ReversesOutcomes,
            wn1_screening_names_version_party_and_entry => HidesTheVerdict,
            wn1_what_is_stored_carries_the_times_under_which_it_is => AnswersTheResendsTime,
            wn1_what_is_not_stored_carries_no_times => SaysTimesOfEverything,
            wn2_a_fraudulent_event_leaves_no_trace => StoresBeforeScreening,
            wn2_a_fraudster_may_pay_and_deposit => ScreensEveryParty,
            wn3_a_resend_is_duplicate_and_changes_nothing => SaysStoredAgain,
            wn3_an_untimed_resend_does_not_move_links => LinksWhateverComes,
            wn3_a_conflict_leaves_no_link => LinksWhateverComes,
            wn5_every_fetch_answers_its_own_kind => AnswersTheListToEverything,
        }
    }

    pub(crate) mod membership {
        use super::super::memberships::{BrokenMembership, Defect};
        use super::super::*;

        type Broken = Fixture<MembershipStage>;

        macro_rules! broken {
            ($($case:ident => $defect:ident),+ $(,)?) => {
                $(pub(crate) async fn $case() -> Broken {
                    let stage = MembershipStage::default();
                    let broken = BrokenMembership::new(Defect::$defect, stage.cluster.clone());
                    Fixture::new(Arc::new(stage.reached_through(Arc::new(broken))))
                })+
            };
        }

        broken! {
            ms1_a_worker_that_answers_is_a_member => JoinsNobody,
            ms1_a_worker_that_is_not_reached_is_none => TakesEverybody,
            ms2_joining_again_keeps_the_membership => LeavesBeforeJoining,
            ms2_another_run_replaces_the_member => AnswersTheFirstEpoch,
            ms2_a_live_id_is_refused_at_another_address => TakesEverybody,
            ms3_a_lease_that_is_not_renewed_ends => AlwaysSaysRenewed,
            ms3_heartbeats_keep_a_membership => ForgetsToRenew,
            ms4_an_earlier_epoch_neither_renews_nor_leaves => ActsOnTheLatestEpoch,
            ms5_a_member_that_left_takes_no_requests => ForgetsToLeave,
            ms5_leaving_twice_is_no_error => LeavesOnlyOnce,
        }
    }

    pub(crate) mod long_term_log {
        use super::super::logs::{BrokenLog, Defect};
        use super::super::*;

        type Broken = Fixture<LogStage>;

        macro_rules! broken {
            ($($case:ident => $defect:ident),+ $(,)?) => {
                $(pub(crate) async fn $case() -> Broken {
                    Fixture::new(Arc::new(LogStage::of(Arc::new(BrokenLog::new(Defect::$defect)))))
                })+
            };
        }

        broken! {
            ll1_an_empty_log_has_no_records => FailsWhenEmpty,
            ll1_records_are_found_as_they_were => ForgetsWhenItRecorded,
            ll1_the_largest_call_is_found_whole => LosesTheLastRecord,
            ll1_racing_calls_lose_nothing => ReadsThenWrites,
            ll2_records_of_a_client_keep_their_order => ReadsInOrderOfId,
            ll2_reading_takes_nothing_away => TakesWhatItReads,
            ll2_a_reader_ends_although_the_log_grows => FollowsTheLog,
            ll3_publishing_again_keeps_the_order => KeepsTheLastOfEqualRecords,
            ll3_a_cancelled_call_does_not_come_later => PublishesInTheBackground,
        }
    }

    pub(crate) mod outbox {
        use super::super::outboxes::{BrokenOutbox, Defect};
        use super::super::*;

        type Broken = Fixture<dyn RestartedOutbox>;

        macro_rules! broken {
            ($($case:ident => $defect:ident),+ $(,)?) => {
                $(pub(crate) async fn $case() -> Broken { Fixture::new(Arc::new(BrokenOutbox::new(Defect::$defect))) })+
            };
        }

        broken! {
            ob1_records_are_read_in_the_order_of_append => ReadsInOrderOfId,
            ob1_the_largest_call_is_taken_whole => LosesTheLastRecord,
            ob1_racing_appends_lose_nothing => ReadsThenWrites,
            ob2_the_room_is_bounded => IsNeverFull,
            ob2_what_does_not_fit_is_not_taken => TakesWhatFits,
            ob2_racing_appends_share_the_room => LooksForRoomThenTakes,
            ob3_reading_takes_nothing_away => TakesWhatItReads,
            ob3_a_page_holds_what_was_asked_for_at_most => AnswersOneMore,
            ob3_a_restart_loses_nothing => SkipsOneAtARestart,
            ob4_what_is_forgotten_is_gone => ForgetsNothing,
            ob4_forgetting_gives_room => KeepsTheRoom,
            ob4_forgetting_again_changes_nothing => ForgetsOneEachTime,
            ob5_status_tells_the_bytes_that_wait => CountsBytesOfAllTime,
            ob5_wait_answers_while_something_is_there => WaitsForTheNextAppend,
            ob5_an_append_ends_the_wait => SleepsThroughAppends,
        }
    }

    pub(crate) mod parking_lot {
        use super::super::lots::{BrokenLot, Defect};
        use super::super::*;

        type Broken = Fixture<ParkingLotStage>;

        macro_rules! broken {
            ($($case:ident => $defect:ident),+ $(,)?) => {
                $(pub(crate) async fn $case() -> Broken {
                    let clock = Arc::new(ManualClock::new(at(0)));
                    let broken = BrokenLot::new(Defect::$defect, clock.clone());
                    Fixture::new(Arc::new(ParkingLotStage::new(Arc::new(broken), clock)))
                })+
            };
        }

        broken! {
            pl1_parked_parcels_are_there_at_once => LosesTheLastParcel,
            pl1_a_known_parcel_is_not_parked_again => ForgetsTheDead,
            pl1_a_forgotten_parcel_can_be_parked_again => RemembersForEver,
            pl2_a_lot_is_full_by_its_parcels => TakesWhatFits,
            pl2_a_lot_is_full_by_its_bytes => CountsNoBytes,
            pl2_dead_letters_take_room => GivesTheDeadNoRoom,
            pl2_a_full_lot_takes_what_it_knows => GivesTheKnownRoomAgain,
            pl3_a_lane_comes_in_the_order_of_parking => OrdersById,
            pl3_lanes_come_in_the_order_in_which_they_are_due => OrdersByName,
            pl3_no_more_come_than_are_asked_for => LeasesAll,
            pl3_a_leased_lane_is_not_due => HasALaneForEachParcel,
            pl3_clients_that_look_alike_have_lanes_of_their_own => HasALaneForEachLetter,
            pl4_racing_leasers_share_no_lane => ChecksThenActs,
            pl5_a_lease_that_is_settled_ends => HasALaneForEachParcel,
            pl5_a_lease_ends_with_its_time => LeasesForEver,
            pl5_a_lane_that_was_put_off_outlasts_its_lease => MakesNoPause,
            pl6_answers_are_dense_and_in_order => ReversesAnswers,
            pl6_a_late_settlement_changes_nothing => SettlesForTheHolder,
            pl6_settling_twice_is_lease_lost => AlwaysSaysSettled,
            pl7_what_is_done_is_forgotten => BuriesWhatIsDone,
            pl7_a_retry_keeps_the_front_place => RetriesBehindTheLane,
            pl7_a_lane_waits_for_its_pause => MakesNoPause,
            pl7_the_longest_pause_counts => MakesTheLastPause,
            pl8_attempts_count_what_was_tried => CountsEveryTry,
            pl9_a_dead_letter_leaves_its_lane => HoldsTheDeadsLaneUp,
            pl9_a_dead_letter_can_be_read => ForgetsTheCause,
            pl10_a_redriven_parcel_comes_behind_its_lane => OrdersById,
            pl10_a_redriven_parcel_is_due_at_once => OnlySaysItRedrove,
            pl10_only_dead_letters_are_redriven_or_discarded => AlwaysSaysThereWasOne,
            pl10_discard_forgets_a_dead_letter => OnlySaysItDiscarded,
            pl11_pages_are_by_ascending_id => ReversesPages,
            pl11_pages_of_parcels_survive_changes => PagesByOffset,
            pl11_pages_of_dead_letters_survive_changes => PagesByOffset,
            pl11_the_last_page_has_no_token => AlwaysAnswersAToken,
            pl12_status_counts_what_is_held => CountsNoBytesOfTheDead,
            pl13_contents_come_back_byte_by_byte => TakesContentsForText,
        }
    }
}

/// A query that one page answers.
fn all_clients() -> ClientQuery {
    ClientQuery::default().with_size(PageSize::new(1000).unwrap())
}

/// Answers a page by counting what was answered so far.
fn page_by_offset(
    answered: &AtomicUsize,
    query: &ClientQuery,
    mut clients: Vec<ClientId>,
) -> Result<Page<ClientId>, StoreError> {
    let start = if query.after().is_some() { answered.load(Ordering::SeqCst) } else { 0 };
    clients.drain(..start.min(clients.len()));
    answered.store(start + query.size().get(), Ordering::SeqCst);
    Ok(Page::cut(clients, query.size(), |last| query.token_after(last.as_str())))
}

mod events {
    use super::*;

    #[derive(Clone, Copy, PartialEq)]
    pub(crate) enum Defect {
        ReversesOutcomes,
        AlwaysSaysStored,
        TakesConflictForDuplicate,
        AnswersTheResendsTime,
        AnswersTheResendsRecording,
        ChecksThenActs,
        HidesTheLatest,
        DropsBatchesWithDuplicates,
        ForgetsWhenItRecorded,
        OrdersTiesByAscendingId,
        IgnoresTheFilter,
        AnswersForAnn,
        SkipsOneAfterAToken,
        PagesByOffset,
        AlwaysAnswersAToken,
        IncludesTheEnd,
        ReadsByPrefix,
        OrdersClientsByLength,
        AnswersClientsOfEachKind,
        SkipsAClientAfterAToken,
        PagesClientsByOffset,
        KnowsClientsOfConflicts,
    }

    pub(crate) struct BrokenEvents {
        defect: Defect,
        inner: MemoryEventStore,
        answered: AtomicUsize,
        racers: tokio::sync::Barrier,
        /// Every client of an event that was to be appended.
        met: Mutex<Vec<ClientId>>,
    }

    impl BrokenEvents {
        pub(crate) fn new(defect: Defect) -> Self {
            let inner = MemoryEventStore::default();
            let (answered, met) = (AtomicUsize::new(0), Mutex::default());
            Self { defect, inner, answered, racers: tokio::sync::Barrier::new(16), met }
        }

        async fn known(&self, batch: &EventBatch) -> Vec<bool> {
            let mut known = Vec::new();
            for event in batch.events() {
                known.push(self.inner.get(event.id()).await.unwrap().is_some());
            }
            known
        }

        fn asked(&self, query: &EventQuery) -> EventQuery {
            let wider = TimeRange {
                to: query.range().to.map(|to| Timestamp::from_micros(to.as_micros() + 1).unwrap()),
                ..query.range()
            };
            match self.defect {
                Defect::IgnoresTheFilter => {
                    EventQuery::new(query.client().clone(), EventFilter::Transactions)
                }
                Defect::AnswersForAnn => EventQuery::new(client("ann"), query.filter()),
                Defect::IncludesTheEnd => query.clone().with_range(wider),
                _ => query.clone(),
            }
        }

        async fn by_offset(&self, query: &EventQuery) -> Page<StoredEvent> {
            let start = if query.after().is_some() { self.answered.load(Ordering::SeqCst) } else { 0 };
            let all = EventQuery::new(query.client().clone(), query.filter())
                .with_size(PageSize::new(1000).unwrap());
            let mut items = self.inner.query(&all).await.unwrap().items;
            items.drain(..start.min(items.len()));
            let page = Page::cut(items, query.size(), |last| query.token_after(last));
            self.answered.store(start + page.items.len(), Ordering::SeqCst);
            page
        }
    }

    #[async_trait]
    impl EventStore for BrokenEvents {
        async fn append(
            &self,
            batch: &EventBatch,
            recorded_at: Timestamp,
        ) -> Result<Vec<AppendOutcome>, StoreError> {
            let known = self.known(batch).await;
            let parties = batch.events().iter().flat_map(Event::parties).map(|(_, client)| client.clone());
            self.met.lock().unwrap().extend(parties);
            if self.defect == Defect::DropsBatchesWithDuplicates && known.contains(&true) {
                let recording = Recording { occurred_at: at(0), recorded_at };
                return Ok(vec![AppendOutcome::Duplicate(recording); batch.len()]);
            }
            if self.defect == Defect::ChecksThenActs {
                self.racers.wait().await;
            }
            let mut outcomes = self.inner.append(batch, recorded_at).await?;
            for ((outcome, event), known) in outcomes.iter_mut().zip(batch.events()).zip(known) {
                match (self.defect, *outcome) {
                    (Defect::AlwaysSaysStored, _) => *outcome = AppendOutcome::Stored,
                    (Defect::ChecksThenActs, _) if !known => *outcome = AppendOutcome::Stored,
                    (Defect::TakesConflictForDuplicate, AppendOutcome::Conflict) => {
                        let occurred_at = event.occurred_at().timestamp();
                        *outcome = AppendOutcome::Duplicate(Recording { occurred_at, recorded_at });
                    }
                    (Defect::AnswersTheResendsTime, AppendOutcome::Duplicate(first)) => {
                        let occurred_at = event.occurred_at().timestamp();
                        *outcome = AppendOutcome::Duplicate(Recording { occurred_at, ..first });
                    }
                    (Defect::AnswersTheResendsRecording, AppendOutcome::Duplicate(first)) => {
                        *outcome = AppendOutcome::Duplicate(Recording { recorded_at, ..first });
                    }
                    _ => {}
                }
            }
            if self.defect == Defect::ReversesOutcomes {
                outcomes.reverse();
            }
            Ok(outcomes)
        }

        async fn get(&self, id: &EventId) -> Result<Option<StoredEvent>, StoreError> {
            let found = self.inner.get(id).await?;
            Ok(match self.defect {
                Defect::HidesTheLatest => None,
                Defect::ForgetsWhenItRecorded => {
                    found.map(|stored| StoredEvent { recorded_at: at(0), ..stored })
                }
                _ => found,
            })
        }

        async fn query(&self, query: &EventQuery) -> Result<Page<StoredEvent>, StoreError> {
            if self.defect == Defect::PagesByOffset {
                return Ok(self.by_offset(query).await);
            }
            let mut page = self.inner.query(&self.asked(query)).await?;
            match self.defect {
                Defect::SkipsOneAfterAToken if query.after().is_some() && page.items.len() > 1 => {
                    page.items.remove(0);
                }
                Defect::OrdersTiesByAscendingId => page.items.sort_by(|a, b| {
                    let key = |stored: &StoredEvent| EventPosition::of(stored);
                    key(b).at.cmp(&key(a).at).then(key(a).id.cmp(&key(b).id))
                }),
                Defect::AlwaysAnswersAToken => {
                    page.next = page.items.last().map(|last| query.token_after(last));
                }
                Defect::ReadsByPrefix => {
                    let longer = EventQuery::new(client(&format!("{}a", query.client())), query.filter());
                    page.items.append(&mut self.inner.query(&longer).await?.items);
                }
                _ => {}
            }
            Ok(page)
        }

        async fn clients(&self, query: &ClientQuery) -> Result<Page<ClientId>, StoreError> {
            if self.defect == Defect::PagesClientsByOffset {
                return page_by_offset(
                    &self.answered,
                    query,
                    self.inner.clients(&all_clients()).await?.items,
                );
            }
            let mut page = self.inner.clients(query).await?;
            match self.defect {
                Defect::OrdersClientsByLength => page.items.sort_by_key(|client| client.as_str().len()),
                Defect::SkipsAClientAfterAToken if query.after().is_some() && page.items.len() > 1 => {
                    page.items.remove(0);
                }
                Defect::AnswersClientsOfEachKind => {
                    for name in page.items.clone() {
                        let operations = EventQuery::new(name.clone(), EventFilter::Operations);
                        if !self.inner.query(&operations).await?.items.is_empty() {
                            page.items.push(name);
                        }
                    }
                    page.items.sort();
                }
                Defect::KnowsClientsOfConflicts => {
                    page.items.extend(self.met.lock().unwrap().iter().cloned());
                    page.items.sort();
                    page.items.dedup();
                }
                _ => {}
            }
            Ok(page)
        }
    }
}

mod links {
    use super::*;

    #[derive(Clone, Copy, PartialEq)]
    pub(crate) enum Defect {
        KeepsTheLastWritten,
        SharesOneTime,
        CountsRepeats,
        LosesTheLastEdge,
        ChecksThenActs,
        AnswersSidesApart,
        ReversesPages,
        PagesByOffset,
        AlwaysAnswersAToken,
        TakesBranchesForClients,
        RemovesAnyTime,
        RemovesTheLatestTimeOnly,
        RemovesWhatWasEverLinked,
        RemovesBothSides,
        RemovesEveryLinkOfTheClient,
        RemovesTheFirstOnly,
        ChecksThenRemoves,
        NeverGoesBackInTime,
        ForgetsClientsWithBranchesOnly,
        PagesClientsByOffset,
    }

    /// Keeps the edges as they came, and makes sense of them, or nonsense, when it is asked.
    pub(crate) struct BrokenLinks {
        defect: Defect,
        edges: Mutex<Vec<Edge>>,
        answered: AtomicUsize,
        racers: tokio::sync::Barrier,
        removed: Mutex<Vec<Edge>>,
        /// How often `link` was called.
        links: tokio::sync::watch::Sender<u32>,
    }

    fn owner(edge: &Edge) -> &ClientId {
        match edge {
            Edge::Interaction { client, .. } | Edge::Branch { client, .. } => client,
        }
    }

    fn time(edge: &Edge) -> Timestamp {
        match edge {
            Edge::Interaction { at, .. } | Edge::Branch { at, .. } => *at,
        }
    }

    fn other_side(edge: &Edge) -> Edge {
        let mut edge = edge.clone();
        if let Edge::Interaction { side, .. } = &mut edge {
            *side = if *side == Side::Sent { Side::Received } else { Side::Sent };
        }
        edge
    }

    fn same_link(a: &Edge, b: &Edge) -> bool {
        match (a, b) {
            (
                Edge::Interaction { client: c1, counterparty: p1, side: s1, .. },
                Edge::Interaction { client: c2, counterparty: p2, side: s2, .. },
            ) => (c1, p1, s1) == (c2, p2, s2),
            (Edge::Branch { client: c1, branch: b1, .. }, Edge::Branch { client: c2, branch: b2, .. }) => {
                (c1, b1) == (c2, b2)
            }
            _ => false,
        }
    }

    fn later(edge: &Edge, by: usize) -> Edge {
        let mut edge = edge.clone();
        match &mut edge {
            Edge::Interaction { at, .. } | Edge::Branch { at, .. } => {
                *at = at.saturating_add(std::time::Duration::from_secs(by.try_into().unwrap()));
            }
        }
        edge
    }

    impl BrokenLinks {
        pub(crate) fn new(defect: Defect) -> Self {
            let racers = tokio::sync::Barrier::new(16);
            let (edges, removed) = (Mutex::default(), Mutex::default());
            let links = tokio::sync::watch::Sender::new(0);
            Self { defect, edges, answered: AtomicUsize::new(0), racers, removed, links }
        }

        fn understood(&self) -> Vec<Edge> {
            let edges = self.edges.lock().unwrap().clone();
            let mut understood: Vec<Edge> = Vec::new();
            for (number, edge) in edges.iter().enumerate() {
                let before = edges.iter().take(number).filter(|other| *other == edge).count();
                match (self.defect, edge) {
                    (Defect::KeepsTheLastWritten, edge) => {
                        understood.retain(|other| !same_link(other, edge));
                        understood.push(edge.clone());
                    }
                    (Defect::SharesOneTime, Edge::Interaction { client, counterparty, at, .. }) => {
                        for side in [Side::Sent, Side::Received] {
                            let (client, counterparty) = (client.clone(), counterparty.clone());
                            understood.push(Edge::Interaction { client, counterparty, side, at: *at });
                        }
                    }
                    (Defect::CountsRepeats, edge) => understood.push(later(edge, before)),
                    (Defect::TakesBranchesForClients, Edge::Branch { client, branch, at }) => {
                        let (client, counterparty) = (client.clone(), branch.as_str().parse().unwrap());
                        understood.push(Edge::Interaction {
                            client,
                            counterparty,
                            side: Side::Sent,
                            at: *at,
                        });
                        understood.push(edge.clone());
                    }
                    (_, edge) => understood.push(edge.clone()),
                }
            }
            understood
        }

        async fn memory(&self) -> MemoryAdjacencyStore {
            let memory = MemoryAdjacencyStore::default();
            memory.link(&self.understood()).await.unwrap();
            memory
        }

        fn spoil<T: Clone>(
            &self,
            query: &NeighbourQuery,
            mut page: Page<T>,
            name: impl Fn(&T) -> String,
        ) -> Page<T> {
            match self.defect {
                Defect::ReversesPages => page.items.reverse(),
                Defect::AlwaysAnswersAToken => {
                    page.next = page.items.last().map(|last| query.token_after(&name(last)));
                }
                _ => {}
            }
            page
        }
    }

    #[async_trait]
    impl AdjacencyStore for BrokenLinks {
        async fn link(&self, edges: &[Edge]) -> Result<(), StoreError> {
            let before = self.edges.lock().unwrap().clone();
            if self.defect == Defect::ChecksThenActs {
                self.racers.wait().await;
            }
            let kept = match self.defect {
                Defect::LosesTheLastEdge => edges.len().saturating_sub(1),
                _ => edges.len(),
            };
            let removed = self.removed.lock().unwrap().clone();
            let stale = |edge: &&Edge| {
                self.defect == Defect::NeverGoesBackInTime
                    && removed.iter().any(|other| same_link(other, edge) && time(edge) <= time(other))
            };
            let edges = edges.iter().take(kept).filter(|edge| !stale(edge)).cloned();
            *self.edges.lock().unwrap() = before.into_iter().chain(edges).collect();
            self.links.send_modify(|links| *links += 1);
            Ok(())
        }

        async fn unlink(&self, edges: &[Edge]) -> Result<(), StoreError> {
            let now = self.edges.lock().unwrap().clone();
            let newest = |edge: &Edge| now.iter().filter(|kept| same_link(kept, edge)).map(time).max();
            let meant: Vec<&Edge> = edges
                .iter()
                .filter(|edge| match self.defect {
                    Defect::RemovesAnyTime => true,
                    Defect::RemovesWhatWasEverLinked => now.contains(edge),
                    _ => newest(edge) == Some(time(edge)),
                })
                .collect();
            if self.defect == Defect::ChecksThenRemoves && !meant.is_empty() {
                let before = *self.links.borrow();
                self.links.subscribe().wait_for(|links| *links > before).await.unwrap();
            }
            let most = if self.defect == Defect::RemovesTheFirstOnly { 1 } else { meant.len() };
            let meant: Vec<&Edge> = meant.into_iter().take(most).collect();
            let goes = |kept: &Edge| {
                meant.iter().any(|edge| match self.defect {
                    Defect::RemovesTheLatestTimeOnly => kept == *edge,
                    Defect::RemovesBothSides => same_link(kept, edge) || same_link(kept, &other_side(edge)),
                    Defect::RemovesEveryLinkOfTheClient => owner(kept) == owner(edge),
                    _ => same_link(kept, edge),
                })
            };
            self.edges.lock().unwrap().retain(|kept| !goes(kept));
            self.removed.lock().unwrap().extend(meant.iter().map(|edge| (*edge).clone()));
            Ok(())
        }

        async fn clients(&self, query: &ClientQuery) -> Result<Page<ClientId>, StoreError> {
            let memory = self.memory().await;
            if self.defect == Defect::PagesClientsByOffset {
                return page_by_offset(&self.answered, query, memory.clients(&all_clients()).await?.items);
            }
            let mut page = memory.clients(query).await?;
            if self.defect == Defect::ForgetsClientsWithBranchesOnly {
                let edges = self.edges.lock().unwrap().clone();
                let interacts = |edge: &&Edge| matches!(edge, Edge::Interaction { .. });
                page.items.retain(|name| edges.iter().filter(interacts).any(|edge| owner(edge) == name));
            }
            Ok(page)
        }

        async fn interactions(&self, query: &NeighbourQuery) -> Result<Page<Interaction>, StoreError> {
            let memory = self.memory().await;
            if self.defect == Defect::PagesByOffset {
                let start = if query.after().is_some() { self.answered.load(Ordering::SeqCst) } else { 0 };
                let all = NeighbourQuery::new(query.client().clone()).with_size(PageSize::new(1000).unwrap());
                let mut items = memory.interactions(&all).await?.items;
                items.drain(..start.min(items.len()));
                self.answered.store(start + query.size().get(), Ordering::SeqCst);
                return Ok(Page::cut(items, query.size(), |last| {
                    query.token_after(last.counterparty.as_str())
                }));
            }
            let mut page = memory.interactions(query).await?;
            if self.defect == Defect::AnswersSidesApart {
                let both = |link: &&Interaction| link.direction() == Direction::Both;
                page.items.extend(page.items.iter().find(both).cloned().into_iter().collect::<Vec<_>>());
            }
            Ok(self.spoil(query, page, |link| link.counterparty.to_string()))
        }

        async fn branches(&self, query: &NeighbourQuery) -> Result<Page<BranchLink>, StoreError> {
            let page = self.memory().await.branches(query).await?;
            Ok(self.spoil(query, page, |link| link.branch.to_string()))
        }
    }
}

mod registry {
    use super::*;

    #[derive(Clone, Copy, PartialEq)]
    pub(crate) enum Defect {
        ReversesVerdicts,
        ClearsWithoutAList,
        NamesTheSubject,
        KeepsRemovedNames,
        MixesVersions,
        TakesWhatArrived,
        TakesAnyList,
        ForgetsWhatWasRolledBack,
        ReversesHistory,
        OnlySaysItRolledBack,
        RollsBackToAnything,
        CountsEveryEntry,
        ReadsTheListInForce,
        ReadsNothingOfUnknownVersions,
        ReadsEntriesAsTheyCame,
        ReadsOneChunk,
        ReadsWhatIsLeft,
        OnlySaysItConfirmed,
        ConfirmsAnyVersion,
        ForgetsTheConfirmation,
    }

    type Entries = Vec<ListEntry>;

    pub(crate) struct BrokenRegistry {
        defect: Defect,
        inner: Mutex<Arc<MemoryFraudRegistry>>,
        lists: Mutex<Vec<(ListVersion, Entries)>>,
    }

    fn list(version: ListVersion, entries: Entries) -> FraudList {
        FraudList { version, source: "test".to_owned(), chunks: stream::iter([Ok(entries)]).boxed() }
    }

    impl BrokenRegistry {
        pub(crate) fn new(defect: Defect) -> Self {
            Self { defect, inner: Mutex::default(), lists: Mutex::default() }
        }

        fn inner(&self) -> Arc<MemoryFraudRegistry> {
            self.inner.lock().unwrap().clone()
        }

        /// The list before the one in force, to mix into its verdicts.
        async fn previous(&self, subjects: &[ClientId]) -> Vec<Verdict> {
            let before = self.lists.lock().unwrap().iter().rev().nth(1).cloned();
            let Some((version, entries)) = before else { return vec![Verdict::Clear; subjects.len()] };
            let previous = MemoryFraudRegistry::default();
            previous.replace(list(version, entries)).await.unwrap();
            previous.screen(subjects).await.unwrap().verdicts
        }
    }

    #[async_trait]
    impl FraudRegistry for BrokenRegistry {
        async fn screen(&self, subjects: &[ClientId]) -> Result<Screening, RegistryError> {
            let screening = self.inner().screen(subjects).await;
            if self.defect == Defect::ClearsWithoutAList && screening.is_err() {
                return Ok(Screening {
                    version: list_version(0),
                    verdicts: vec![Verdict::Clear; subjects.len()],
                });
            }
            let mut screening = screening?;
            match self.defect {
                Defect::ReversesVerdicts => screening.verdicts.reverse(),
                Defect::NamesTheSubject => {
                    for (verdict, subject) in screening.verdicts.iter_mut().zip(subjects) {
                        if let Verdict::Hit { entry } = verdict {
                            *entry = ListEntry::new(subject.as_str()).unwrap();
                        }
                    }
                }
                Defect::MixesVersions => {
                    let half = subjects.len() / 2;
                    screening.verdicts.truncate(half);
                    screening.verdicts.extend(self.previous(subjects).await.into_iter().skip(half));
                }
                _ => {}
            }
            Ok(screening)
        }

        async fn in_force(&self) -> Result<Option<ListInfo>, RegistryError> {
            self.inner().in_force().await
        }

        async fn history(&self) -> Result<Vec<ListInfo>, RegistryError> {
            let mut history = self.inner().history().await?;
            if self.defect == Defect::ReversesHistory {
                history.reverse();
            }
            Ok(history)
        }

        async fn replace(&self, new: FraudList) -> Result<ReplaceOutcome, RegistryError> {
            let (mut entries, mut failed) = (Vec::new(), None);
            let mut chunks = new.chunks;
            while let Some(chunk) = chunks.next().await {
                match chunk {
                    Ok(mut chunk) => entries.append(&mut chunk),
                    Err(error) => failed = Some(error),
                }
            }
            if let Some(error) = failed.filter(|_| self.defect != Defect::TakesWhatArrived) {
                return Err(RegistryError::Refused(error));
            }
            if self.defect == Defect::KeepsRemovedNames {
                entries.extend(self.lists.lock().unwrap().iter().flat_map(|(_, entries)| entries.clone()));
            }
            if self.defect == Defect::TakesAnyList {
                *self.inner.lock().unwrap() = Arc::default();
            }
            self.lists.lock().unwrap().push((new.version.clone(), entries.clone()));
            let count = entries.len().try_into().unwrap();
            Ok(match self.inner().replace(list(new.version, entries)).await? {
                ReplaceOutcome::Replaced(info) if self.defect == Defect::CountsEveryEntry => {
                    ReplaceOutcome::Replaced(ListInfo { entries: count, ..info })
                }
                outcome => outcome,
            })
        }

        async fn rollback(&self, version: &ListVersion) -> Result<ListInfo, RegistryError> {
            let in_force = self.inner().in_force().await?;
            match self.defect {
                Defect::OnlySaysItRolledBack => {
                    let history = self.inner().history().await?;
                    Ok(history.into_iter().find(|info| info.version == *version).unwrap())
                }
                Defect::RollsBackToAnything => Ok(in_force.unwrap()),
                Defect::ForgetsWhatWasRolledBack => {
                    let lists = self.lists.lock().unwrap().clone();
                    let (version, entries) = lists.into_iter().find(|(kept, _)| kept == version).unwrap();
                    *self.inner.lock().unwrap() = Arc::default();
                    self.inner().replace(list(version, entries)).await?;
                    Ok(self.inner().in_force().await?.unwrap())
                }
                Defect::ForgetsTheConfirmation => {
                    let info = self.inner().rollback(version).await?;
                    Ok(ListInfo { confirmed_at: info.loaded_at, ..info })
                }
                _ => self.inner().rollback(version).await,
            }
        }

        async fn confirm(&self, version: &ListVersion) -> Result<Option<ListInfo>, RegistryError> {
            let in_force = self.inner().in_force().await?;
            match (self.defect, in_force) {
                (Defect::OnlySaysItConfirmed, Some(info)) => {
                    Ok(Some(ListInfo { confirmed_at: SystemClock.now(), ..info }))
                }
                (Defect::ConfirmsAnyVersion, Some(info)) => self.inner().confirm(&info.version).await,
                _ => self.inner().confirm(version).await,
            }
        }

        async fn entries(&self, version: &ListVersion) -> Result<EntryStream, RegistryError> {
            let inner = self.inner();
            match self.defect {
                Defect::ReadsTheListInForce => inner.entries(&inner.in_force().await?.unwrap().version).await,
                Defect::ReadsNothingOfUnknownVersions => {
                    Ok(inner.entries(version).await.unwrap_or_else(|_| stream::empty().boxed()))
                }
                Defect::ReadsEntriesAsTheyCame => {
                    let lists = self.lists.lock().unwrap().clone();
                    let (_, entries) = lists.into_iter().find(|(kept, _)| kept == version).unwrap();
                    Ok(stream::iter([Ok(entries)]).boxed())
                }
                Defect::ReadsOneChunk => Ok(inner.entries(version).await?.take(1).boxed()),
                Defect::ReadsWhatIsLeft => {
                    let (chunks, version) = (inner.entries(version).await?, version.clone());
                    let is_kept = move |_: &_| {
                        let (inner, version) = (inner.clone(), version.clone());
                        async move { inner.entries(&version).await.is_ok() }
                    };
                    Ok(chunks.take_while(is_kept).boxed())
                }
                _ => inner.entries(version).await,
            }
        }
    }
}

mod source {
    use super::*;

    #[derive(Clone, Copy, PartialEq)]
    pub(crate) enum Defect {
        LosesTheLastByte,
        AlwaysChanged,
        NeverChangesAgain,
        AnswersOnePiece,
    }

    pub(crate) struct BrokenSource {
        defect: Defect,
        inner: MemoryFraudSource,
        published: AtomicI64,
    }

    impl BrokenSource {
        pub(crate) fn new(defect: Defect) -> Self {
            Self { defect, inner: MemoryFraudSource::default(), published: AtomicI64::new(0) }
        }
    }

    #[async_trait]
    impl FraudSource for BrokenSource {
        fn place(&self) -> String {
            self.inner.place()
        }

        async fn fetch_if_changed(&self, since: Option<ListVersion>) -> Result<Fetched, SourceError> {
            if since.is_some() && self.defect == Defect::NeverChangesAgain {
                return Ok(Fetched::NotModified);
            }
            let since = since.filter(|_| self.defect != Defect::AlwaysChanged);
            let Fetched::Changed(list) = self.inner.fetch_if_changed(since).await? else {
                return Ok(Fetched::NotModified);
            };
            let pieces: Vec<_> = list.bytes.collect().await;
            let mut whole: Vec<u8> = pieces.into_iter().flat_map(|piece| piece.unwrap().to_vec()).collect();
            if self.defect == Defect::LosesTheLastByte {
                whole.pop();
            }
            let bytes = stream::iter([Ok(whole.into())]).boxed();
            Ok(Fetched::Changed(RawList { bytes, ..list }))
        }
    }

    #[async_trait]
    impl PublishedSource for BrokenSource {
        async fn publish(&self, content: &[u8]) {
            let time = self.published.fetch_add(1, Ordering::Relaxed);
            self.inner.publish(list_version(time), content.to_vec());
        }
    }
}

mod worker {
    use super::*;

    #[derive(Clone, Copy, PartialEq)]
    pub(crate) enum Defect {
        ReversesOutcomes,
        HidesTheVerdict,
        AnswersTheResendsTime,
        SaysTimesOfEverything,
        StoresBeforeScreening,
        ScreensEveryParty,
        SaysStoredAgain,
        LinksWhateverComes,
        AnswersTheListToEverything,
    }

    pub(crate) struct BrokenWorker {
        defect: Defect,
        inner: Worker,
        events: Arc<MemoryEventStore>,
        adjacency: Arc<MemoryAdjacencyStore>,
    }

    impl BrokenWorker {
        pub(crate) async fn new(defect: Defect) -> Self {
            let registry = Arc::new(MemoryFraudRegistry::default());
            registry.replace(fraud_list(1, &FRAUDSTERS)).await.unwrap();
            let (events, adjacency) =
                (Arc::new(MemoryEventStore::default()), Arc::new(MemoryAdjacencyStore::default()));
            let parties = match defect {
                Defect::ScreensEveryParty => mini_platform_core::ScreenedParties::Both,
                _ => mini_platform_core::ScreenedParties::Brief,
            };
            let inner = Worker::new(events.clone(), adjacency.clone(), registry).with_parties(parties);
            Self { defect, inner, events, adjacency }
        }

        async fn link_all(&self, batch: &EventBatch) {
            let edges: Vec<Edge> = batch
                .events()
                .iter()
                .flat_map(|event| Edge::implied_by(event, event.occurred_at().timestamp()))
                .collect();
            self.adjacency.link(&edges).await.unwrap();
        }
    }

    #[async_trait]
    impl WorkerNode for BrokenWorker {
        async fn ingest(&self, batch: &EventBatch) -> Result<Vec<IngestOutcome>, IngestError> {
            if self.defect == Defect::StoresBeforeScreening {
                self.events.append(batch, at(0)).await.unwrap();
            }
            let mut outcomes = self.inner.ingest(batch).await?;
            match self.defect {
                Defect::ReversesOutcomes => outcomes.reverse(),
                Defect::HidesTheVerdict => {
                    for finished in &mut outcomes {
                        let version = finished.screening.version().clone();
                        finished.screening = EventScreening::Clear { version };
                    }
                }
                Defect::AnswersTheResendsTime | Defect::SaysTimesOfEverything => {
                    for (finished, event) in outcomes.iter_mut().zip(batch.events()) {
                        let occurred_at = event.occurred_at().timestamp();
                        let recorded_at = finished.recording.map_or(at(0), |first| first.recorded_at);
                        if self.defect == Defect::SaysTimesOfEverything || finished.recording.is_some() {
                            finished.recording = Some(Recording { occurred_at, recorded_at });
                        }
                    }
                }
                Defect::SaysStoredAgain => {
                    outcomes.iter_mut().for_each(|finished| finished.outcome = Outcome::Stored);
                }
                Defect::LinksWhateverComes => self.link_all(batch).await,
                _ => {}
            }
            Ok(outcomes)
        }

        async fn fetch(&self, query: &FetchQuery) -> Result<FetchAnswer, FetchError> {
            let asked = match self.defect {
                Defect::AnswersTheListToEverything => &FetchQuery::ListInForce,
                _ => query,
            };
            self.inner.fetch(asked).await
        }
    }
}

mod memberships {
    use super::*;
    use mini_platform_core::dispatcher::ClusterMembership;

    #[derive(Clone, Copy, PartialEq)]
    pub(crate) enum Defect {
        JoinsNobody,
        TakesEverybody,
        LeavesBeforeJoining,
        AnswersTheFirstEpoch,
        AlwaysSaysRenewed,
        ForgetsToRenew,
        ActsOnTheLatestEpoch,
        ForgetsToLeave,
        LeavesOnlyOnce,
    }

    pub(crate) struct BrokenMembership {
        defect: Defect,
        inner: ClusterMembership,
        /// The epochs that were given.
        epochs: Mutex<Vec<Epoch>>,
        left: AtomicUsize,
    }

    impl BrokenMembership {
        pub(crate) fn new(defect: Defect, inner: ClusterMembership) -> Self {
            Self { defect, inner, epochs: Mutex::default(), left: AtomicUsize::new(0) }
        }

        fn latest(&self) -> Option<Epoch> {
            self.epochs.lock().unwrap().last().copied()
        }

        fn acted_on(&self, epoch: Epoch) -> Epoch {
            match self.defect {
                Defect::ActsOnTheLatestEpoch => self.latest().unwrap_or(epoch),
                _ => epoch,
            }
        }
    }

    fn made_up() -> MembershipLease {
        MembershipLease { epoch: Epoch(7), ttl: LEASE, heartbeat_interval: LEASE / 3 }
    }

    #[async_trait]
    impl Membership for BrokenMembership {
        async fn join(&self, request: &JoinRequest) -> Result<JoinAnswer, Fault> {
            if self.defect == Defect::JoinsNobody {
                return Ok(JoinAnswer::Joined(made_up()));
            }
            if let (Defect::LeavesBeforeJoining, Some(latest)) = (self.defect, self.latest()) {
                self.inner.leave(&request.id, latest).await?;
            }
            let mut lease = match self.inner.join(request).await? {
                JoinAnswer::Rejected(_) if self.defect == Defect::TakesEverybody => made_up(),
                JoinAnswer::Rejected(rejection) => return Ok(JoinAnswer::Rejected(rejection)),
                JoinAnswer::Joined(lease) => lease,
            };
            let mut epochs = self.epochs.lock().unwrap();
            epochs.push(lease.epoch);
            if self.defect == Defect::AnswersTheFirstEpoch {
                lease.epoch = epochs.first().copied().unwrap();
            }
            Ok(JoinAnswer::Joined(lease))
        }

        async fn heartbeat(&self, id: &WorkerId, epoch: Epoch) -> Result<HeartbeatAnswer, Fault> {
            if matches!(self.defect, Defect::AlwaysSaysRenewed | Defect::ForgetsToRenew) {
                return Ok(HeartbeatAnswer::Renewed);
            }
            self.inner.heartbeat(id, self.acted_on(epoch)).await
        }

        async fn leave(&self, id: &WorkerId, epoch: Epoch) -> Result<(), Fault> {
            if self.defect == Defect::ForgetsToLeave {
                return Ok(());
            }
            if self.defect == Defect::LeavesOnlyOnce && self.left.fetch_add(1, Ordering::SeqCst) > 0 {
                return Err(Fault::new("dispatcher", "let a worker leave", FaultKind::Internal));
            }
            self.inner.leave(id, self.acted_on(epoch)).await
        }
    }
}

mod logs {
    use super::*;

    #[derive(Clone, Copy, PartialEq)]
    pub(crate) enum Defect {
        FailsWhenEmpty,
        ForgetsWhenItRecorded,
        LosesTheLastRecord,
        ReadsThenWrites,
        ReadsInOrderOfId,
        TakesWhatItReads,
        FollowsTheLog,
        KeepsTheLastOfEqualRecords,
        PublishesInTheBackground,
    }

    pub(crate) struct BrokenLog {
        defect: Defect,
        records: Arc<Mutex<Vec<LogRecord>>>,
        left: Mutex<Vec<LogRecord>>,
        racers: tokio::sync::Barrier,
    }

    impl BrokenLog {
        pub(crate) fn new(defect: Defect) -> Self {
            let (records, left) = (Arc::default(), Mutex::default());
            Self { defect, records, left, racers: tokio::sync::Barrier::new(16) }
        }
    }

    #[async_trait]
    impl LongTermLog for BrokenLog {
        async fn publish(&self, records: &[LogRecord]) -> Result<(), LogError> {
            let mut records = records.to_vec();
            match self.defect {
                Defect::LosesTheLastRecord => {
                    records.pop();
                }
                Defect::ReadsThenWrites => {
                    let mut all = self.records.lock().unwrap().clone();
                    self.racers.wait().await;
                    all.append(&mut records);
                    *self.records.lock().unwrap() = all;
                }
                Defect::KeepsTheLastOfEqualRecords => {
                    self.records.lock().unwrap().retain(|kept| !records.contains(kept));
                }
                Defect::PublishesInTheBackground => {
                    let own = records.clone();
                    self.left.lock().unwrap().extend_from_slice(&own);
                    // A call that is cancelled ends here, and leaves its records to the next one.
                    tokio::task::yield_now().await;
                    let left = std::mem::take(&mut *self.left.lock().unwrap());
                    records.extend(left.into_iter().filter(|record| !own.contains(record)));
                }
                _ => {}
            }
            self.records.lock().unwrap().append(&mut records);
            Ok(())
        }
    }

    #[async_trait]
    impl LogReader for BrokenLog {
        async fn records(&self) -> Result<RecordStream, LogError> {
            let mut records = match self.defect {
                Defect::TakesWhatItReads => std::mem::take(&mut *self.records.lock().unwrap()),
                _ => self.records.lock().unwrap().clone(),
            };
            match self.defect {
                Defect::FailsWhenEmpty if records.is_empty() => {
                    return Err(Fault::new("log", "read", FaultKind::Corrupt).into());
                }
                Defect::ForgetsWhenItRecorded => {
                    records.iter_mut().for_each(|record| record.recorded_at = None);
                }
                Defect::ReadsInOrderOfId => records.sort_by_key(|record| record.event.id().to_string()),
                _ => {}
            }
            let records = stream::iter(records.into_iter().map(Ok));
            Ok(match self.defect {
                Defect::FollowsTheLog => records.chain(stream::pending()).boxed(),
                _ => records.boxed(),
            })
        }
    }
}

mod outboxes {
    use super::*;

    #[derive(Clone, Copy, PartialEq)]
    pub(crate) enum Defect {
        ReadsInOrderOfId,
        LosesTheLastRecord,
        ReadsThenWrites,
        IsNeverFull,
        TakesWhatFits,
        LooksForRoomThenTakes,
        TakesWhatItReads,
        AnswersOneMore,
        SkipsOneAtARestart,
        ForgetsNothing,
        KeepsTheRoom,
        ForgetsOneEachTime,
        CountsBytesOfAllTime,
        WaitsForTheNextAppend,
        SleepsThroughAppends,
    }

    pub(crate) struct BrokenOutbox {
        defect: Defect,
        inner: MemoryOutbox,
        racers: tokio::sync::Barrier,
        appended: AtomicUsize,
        next_append: tokio::sync::Notify,
    }

    impl BrokenOutbox {
        pub(crate) fn new(defect: Defect) -> Self {
            let max_bytes = match defect {
                Defect::IsNeverFull | Defect::LooksForRoomThenTakes => u64::MAX,
                _ => MAX_BYTES,
            };
            Self {
                defect,
                inner: MemoryOutbox::new(max_bytes),
                racers: tokio::sync::Barrier::new(16),
                appended: AtomicUsize::new(0),
                next_append: tokio::sync::Notify::new(),
            }
        }

        async fn forget_one(&self) -> Result<(), LogError> {
            let page = self.inner.read(1).await?;
            self.inner.forget(page.end).await
        }
    }

    #[async_trait]
    impl Outbox for BrokenOutbox {
        async fn append(&self, records: &[LogRecord]) -> Result<(), LogError> {
            let bytes: usize = records.iter().map(|record| record.to_json().len() + 1).sum();
            let before = self.appended.fetch_add(bytes, Ordering::SeqCst);
            match self.defect {
                Defect::LosesTheLastRecord => {
                    return self.inner.append(records.split_last().unwrap().1).await;
                }
                Defect::ReadsThenWrites => {
                    let all = self.inner.read(usize::MAX).await?;
                    self.racers.wait().await;
                    // Forgets what others have appended meanwhile.
                    let now = self.inner.read(usize::MAX).await?;
                    self.inner.forget(now.end).await?;
                    self.inner.append(&[&all.records, records].concat()).await?;
                }
                Defect::TakesWhatFits => {
                    let mut result = Ok(());
                    for record in records {
                        result = result.and(self.inner.append(std::slice::from_ref(record)).await);
                    }
                    return result;
                }
                Defect::LooksForRoomThenTakes => {
                    if self.inner.status().bytes + bytes as u64 > MAX_BYTES {
                        return Err(LogError::Full);
                    }
                    self.racers.wait().await;
                    self.inner.append(records).await?;
                }
                Defect::KeepsTheRoom if (before + bytes) as u64 > MAX_BYTES => return Err(LogError::Full),
                _ => self.inner.append(records).await?,
            }
            self.next_append.notify_waiters();
            Ok(())
        }

        async fn read(&self, max: usize) -> Result<OutboxPage, LogError> {
            let max = if self.defect == Defect::AnswersOneMore { max + 1 } else { max };
            let mut page = self.inner.read(max).await?;
            match self.defect {
                Defect::ReadsInOrderOfId => page.records.sort_by_key(|record| record.event.id().to_string()),
                Defect::TakesWhatItReads => self.inner.forget(page.end).await?,
                _ => {}
            }
            Ok(page)
        }

        async fn forget(&self, before: OutboxPosition) -> Result<(), LogError> {
            match self.defect {
                Defect::ForgetsNothing => Ok(()),
                Defect::ForgetsOneEachTime => self.forget_one().await,
                _ => self.inner.forget(before).await,
            }
        }

        fn status(&self) -> OutboxStatus {
            match self.defect {
                Defect::CountsBytesOfAllTime => {
                    OutboxStatus { bytes: self.appended.load(Ordering::SeqCst) as u64 }
                }
                _ => self.inner.status(),
            }
        }

        async fn wait(&self) {
            match self.defect {
                Defect::WaitsForTheNextAppend => self.next_append.notified().await,
                Defect::SleepsThroughAppends if self.status().bytes == 0 => std::future::pending().await,
                _ => self.inner.wait().await,
            }
        }
    }

    #[async_trait]
    impl RestartedOutbox for BrokenOutbox {
        async fn restart(&self) {
            if self.defect == Defect::SkipsOneAtARestart {
                self.forget_one().await.unwrap();
            }
        }
    }
}

mod lots {
    use std::collections::{BTreeSet, HashMap};
    use std::time::Duration;

    use super::*;

    #[derive(Clone, Copy, PartialEq)]
    pub(crate) enum Defect {
        LosesTheLastParcel,
        ForgetsTheDead,
        RemembersForEver,
        TakesWhatFits,
        CountsNoBytes,
        GivesTheDeadNoRoom,
        GivesTheKnownRoomAgain,
        OrdersById,
        OrdersByName,
        LeasesAll,
        HasALaneForEachParcel,
        HasALaneForEachLetter,
        ChecksThenActs,
        LeasesForEver,
        MakesNoPause,
        ReversesAnswers,
        SettlesForTheHolder,
        AlwaysSaysSettled,
        BuriesWhatIsDone,
        RetriesBehindTheLane,
        MakesTheLastPause,
        CountsEveryTry,
        HoldsTheDeadsLaneUp,
        ForgetsTheCause,
        OnlySaysItRedrove,
        AlwaysSaysThereWasOne,
        OnlySaysItDiscarded,
        ReversesPages,
        PagesByOffset,
        AlwaysAnswersAToken,
        CountsNoBytesOfTheDead,
        TakesContentsForText,
    }

    pub(crate) struct BrokenLot {
        defect: Defect,
        inner: MemoryParkingLot,
        racers: tokio::sync::Barrier,
        answered: AtomicUsize,
        settled: AtomicUsize,
        seen: Mutex<Seen>,
    }

    #[derive(Default)]
    struct Seen {
        parked: BTreeSet<ParcelId>,
        /// Whose a parcel is, where its lane is not the client's.
        clients: HashMap<ParcelId, ClientId>,
        holders: HashMap<ParcelId, LeaseId>,
        burials: Vec<ClientId>,
    }

    /// A query that one page answers.
    fn all_parcels() -> ParcelQuery {
        ParcelQuery::default().with_size(PageSize::new(1000).unwrap())
    }

    impl BrokenLot {
        pub(crate) fn new(defect: Defect, clock: Arc<ManualClock>) -> Self {
            let unlimited = LotLimits { parcels: u64::MAX, bytes: u64::MAX };
            let limits = match defect {
                Defect::CountsNoBytes => LotLimits { bytes: u64::MAX, ..LIMITS },
                Defect::GivesTheDeadNoRoom => unlimited,
                _ => LIMITS,
            };
            let inner = MemoryParkingLot::new(limits, clock);
            let (answered, settled) = (AtomicUsize::new(0), AtomicUsize::new(0));
            Self {
                defect,
                inner,
                racers: tokio::sync::Barrier::new(16),
                answered,
                settled,
                seen: Mutex::default(),
            }
        }

        fn lane(&self, parcel: &Parcel) -> ClientId {
            let name = parcel.client.as_str();
            match self.defect {
                Defect::HasALaneForEachParcel => client(&format!("{name} {}", parcel.id)),
                Defect::HasALaneForEachLetter => client(&name.chars().take(1).collect::<String>()),
                _ => parcel.client.clone(),
            }
        }

        fn changed(&self, parcel: &Parcel) -> Parcel {
            self.seen.lock().unwrap().clients.insert(parcel.id, parcel.client.clone());
            let content = match self.defect {
                Defect::TakesContentsForText => {
                    let text = String::from_utf8_lossy(parcel.content.as_bytes()).into_owned();
                    ParcelContent::new(text).unwrap_or_else(|_| parcel.content.clone())
                }
                _ => parcel.content.clone(),
            };
            Parcel { client: self.lane(parcel), content, ..parcel.clone() }
        }

        /// Gives a parcel its client back.
        fn restored(&self, leased: &LeasedParcel) -> LeasedParcel {
            let mut seen = self.seen.lock().unwrap();
            let (lease, mut parked) = (leased.clone().done().lease(), leased.parked().clone());
            seen.holders.insert(parked.parcel.id, lease);
            if let Some(client) = seen.clients.get(&parked.parcel.id) {
                parked.parcel.client = client.clone();
            }
            LeasedParcel::new(lease, parked)
        }

        async fn settle_one(&self, settlement: Settlement) -> Settled {
            let id = settlement.parcel();
            let first = self.settled.fetch_add(1, Ordering::SeqCst) == 0;
            let Some(parked) = self.find(id).await else { return Settled::LeaseLost };
            let holder = self.seen.lock().unwrap().holders.get(&id).copied();
            let lease = match self.defect {
                Defect::SettlesForTheHolder => holder.unwrap(),
                _ => settlement.lease(),
            };
            let client = parked.parcel.client.clone();
            let leased = LeasedParcel::new(lease, parked);
            let mut redrives = false;
            let settlement = match (settlement.verdict(), self.defect) {
                (ParcelVerdict::Done, Defect::BuriesWhatIsDone) => leased.bury(DeathCause::Undecodable, None),
                (ParcelVerdict::Retry { reason, .. }, Defect::RetriesBehindTheLane) => {
                    redrives = true;
                    leased.bury(DeathCause::Undecodable, Some(reason))
                }
                (ParcelVerdict::Retry { reason, .. }, Defect::MakesNoPause) => {
                    leased.retry(reason, Duration::ZERO)
                }
                (ParcelVerdict::Retry { reason, .. }, Defect::MakesTheLastPause) if first => {
                    leased.retry(reason, Duration::ZERO)
                }
                (ParcelVerdict::Retry { reason, after, .. }, Defect::CountsEveryTry) => {
                    leased.retry(reason, after)
                }
                (ParcelVerdict::Done, _) => leased.done(),
                (ParcelVerdict::Retry { reason, after, counts: true }, _) => leased.retry(reason, after),
                (ParcelVerdict::Retry { reason, after, counts: false }, _) => leased.postpone(reason, after),
                (ParcelVerdict::Dead { cause, last }, _) => {
                    self.seen.lock().unwrap().burials.push(client);
                    leased.bury(cause, last)
                }
            };
            let settled = self.inner.settle(&[settlement]).await.unwrap().remove(0);
            if redrives && settled == Settled::Yes {
                self.inner.redrive(id).await.unwrap();
            }
            settled
        }

        async fn find(&self, id: ParcelId) -> Option<ParkedParcel> {
            let parked = self.inner.parked(&all_parcels()).await.unwrap().items;
            parked.into_iter().find(|parked| parked.parcel.id == id)
        }

        fn broken_page<T>(
            &self,
            query: &ParcelQuery,
            mut page: Page<T>,
            all: Vec<T>,
            id: impl Fn(&T) -> ParcelId,
        ) -> Page<T> {
            match self.defect {
                Defect::ReversesPages => page.items.reverse(),
                Defect::AlwaysAnswersAToken => {
                    let last = page.items.last().map_or(ParcelId::new(at(0), [0; 10]), id);
                    page.next = Some(query.token_after(last));
                }
                Defect::PagesByOffset => {
                    let start = query.after().map_or(0, |_| self.answered.load(Ordering::SeqCst));
                    let items = all.into_iter().skip(start).collect();
                    page = Page::cut(items, query.size(), |last| query.token_after(id(last)));
                    self.answered.store(start + page.items.len(), Ordering::SeqCst);
                }
                _ => {}
            }
            page
        }
    }

    #[async_trait]
    impl ParkingLot for BrokenLot {
        async fn park(&self, parcels: &[Parcel]) -> Result<(), LotError> {
            let mut parcels: Vec<Parcel> = parcels.iter().map(|parcel| self.changed(parcel)).collect();
            let status = self.inner.status().await?;
            let count = u64::try_from(parcels.len()).unwrap();
            match self.defect {
                Defect::LosesTheLastParcel => drop(parcels.pop()),
                Defect::ForgetsTheDead => {
                    for parcel in &parcels {
                        self.inner.discard(parcel.id).await?;
                    }
                }
                Defect::RemembersForEver => {
                    parcels.retain(|parcel| self.seen.lock().unwrap().parked.insert(parcel.id));
                }
                Defect::TakesWhatFits => {
                    for parcel in parcels {
                        self.inner.park(&[parcel]).await?;
                    }
                    return Ok(());
                }
                Defect::GivesTheDeadNoRoom if status.parked + count > LIMITS.parcels => {
                    return Err(LotError::Full);
                }
                Defect::GivesTheKnownRoomAgain if status.parked + status.dead + count > LIMITS.parcels => {
                    return Err(LotError::Full);
                }
                _ => {}
            }
            self.inner.park(&parcels).await
        }

        async fn lease(&self, request: LeaseRequest) -> Result<Vec<LeasedParcel>, LotError> {
            let parked = self.inner.parked(&all_parcels()).await?.items;
            let asked = match self.defect {
                Defect::LeasesAll => LeaseRequest::new(MAX_PARCELS, request.ttl()),
                Defect::LeasesForEver => LeaseRequest::new(request.max(), Duration::MAX),
                _ => request,
            };
            if self.defect == Defect::ChecksThenActs {
                self.racers.wait().await;
                let due = parked.into_iter().take(request.max());
                return Ok(due.map(|parked| LeasedParcel::new(LeaseId(0), parked)).collect());
            }
            let mut leased = self.inner.lease(asked).await?;
            match self.defect {
                Defect::OrdersById => leased.sort_by_key(|leased| leased.parked().parcel.id),
                Defect::OrdersByName => leased.sort_by_key(|leased| leased.parked().parcel.client.clone()),
                Defect::HoldsTheDeadsLaneUp => {
                    let burials = self.seen.lock().unwrap().burials.clone();
                    leased.retain(|leased| !burials.contains(&leased.parked().parcel.client));
                }
                _ => {}
            }
            Ok(leased.iter().map(|leased| self.restored(leased)).collect())
        }

        async fn settle(&self, settlements: &[Settlement]) -> Result<Vec<Settled>, LotError> {
            let mut answers = Vec::new();
            for settlement in settlements {
                answers.push(self.settle_one(*settlement).await);
            }
            match self.defect {
                Defect::ReversesAnswers => answers.reverse(),
                Defect::AlwaysSaysSettled => answers.fill(Settled::Yes),
                _ => {}
            }
            Ok(answers)
        }

        async fn status(&self) -> Result<LotStatus, LotError> {
            let parked = self.inner.parked(&all_parcels()).await?.items;
            let of_parked: usize = parked.iter().map(|parked| parked.parcel.content.as_bytes().len()).sum();
            let status = self.inner.status().await?;
            Ok(match self.defect {
                Defect::CountsNoBytesOfTheDead => {
                    LotStatus { bytes: u64::try_from(of_parked).unwrap(), ..status }
                }
                _ => status,
            })
        }

        async fn parked(&self, query: &ParcelQuery) -> Result<Page<ParkedParcel>, LotError> {
            let (page, all) =
                (self.inner.parked(query).await?, self.inner.parked(&all_parcels()).await?.items);
            Ok(self.broken_page(query, page, all, |parked| parked.parcel.id))
        }

        async fn dead_letters(&self, query: &ParcelQuery) -> Result<Page<DeadLetter>, LotError> {
            let (page, all) =
                (self.inner.dead_letters(query).await?, self.inner.dead_letters(&all_parcels()).await?.items);
            Ok(self.broken_page(query, page, all, |dead| dead.parked.parcel.id))
        }

        async fn dead_letter(&self, id: ParcelId) -> Result<Option<DeadLetter>, LotError> {
            let dead = self.inner.dead_letter(id).await?;
            Ok(match self.defect {
                Defect::ForgetsTheCause => {
                    dead.map(|dead| DeadLetter { cause: DeathCause::AttemptsSpent, ..dead })
                }
                _ => dead,
            })
        }

        async fn redrive(&self, id: ParcelId) -> Result<bool, LotError> {
            match self.defect {
                Defect::OnlySaysItRedrove => Ok(self.inner.dead_letter(id).await?.is_some()),
                Defect::AlwaysSaysThereWasOne => self.inner.redrive(id).await.map(|_| true),
                _ => self.inner.redrive(id).await,
            }
        }

        async fn discard(&self, id: ParcelId) -> Result<bool, LotError> {
            match self.defect {
                Defect::OnlySaysItDiscarded => Ok(self.inner.dead_letter(id).await?.is_some()),
                Defect::AlwaysSaysThereWasOne => self.inner.discard(id).await.map(|_| true),
                _ => self.inner.discard(id).await,
            }
        }
    }
}

#[test]
#[should_panic(expected = "the adapter answers")]
fn the_event_store_model_rejects_a_wrong_order() {
    mini_platform_core::testkit::model::event_store_agrees_with_memory(
        broken::event_store::es7_newest_first_and_ties_by_descending_id,
    );
}

#[test]
#[should_panic(expected = "the adapter answers")]
fn the_adjacency_model_rejects_the_last_write_winning() {
    mini_platform_core::testkit::model::adjacency_store_agrees_with_memory(
        broken::adjacency_store::as1_the_latest_time_wins_in_any_order,
    );
}

#[test]
#[should_panic(expected = "the adapter answers")]
fn the_registry_model_rejects_a_forgotten_rollback() {
    mini_platform_core::testkit::model::fraud_registry_agrees_with_memory(
        broken::fraud_registry::fr6_an_older_or_equal_list_is_stale,
    );
}

#[test]
#[should_panic(expected = "the adapter answers")]
fn the_parking_lot_model_rejects_the_longest_pause_lost() {
    mini_platform_core::testkit::model::parking_lot_agrees_with_memory(
        broken::parking_lot::pl7_the_longest_pause_counts,
    );
}

#[test]
#[should_panic(expected = "the adapter answers")]
fn the_parking_lot_model_rejects_a_lane_for_each_parcel() {
    mini_platform_core::testkit::model::parking_lot_agrees_with_memory(
        broken::parking_lot::pl3_a_leased_lane_is_not_due,
    );
}
