//! Every metric of the platform's core: its name, unit and meaning.
//!
//! They go through the [`metrics`] facade: who runs a program chooses a recorder, and without one nothing is kept.
//! Labels come from closed sets and never name a client, an entry or a place.

use metrics::Unit;

/// Makes a constant of each metric's name, and [`describe`] of all of them.
macro_rules! metrics_table {
    ($($(#[doc = $text:literal])+ $constant:ident = $kind:ident($unit:ident, $name:literal);)+) => {
        $($(#[doc = $text])+ pub const $constant: &str = $name;)+

        /// Tells the recorder what each metric means. Called once, after the recorder is installed.
        pub fn describe() {
            $(metrics_table!(@$kind $constant, Unit::$unit, concat!($($text),+).trim());)+
        }
    };
    (@counter $name:ident, $unit:expr, $text:expr) => { metrics::describe_counter!($name, $unit, $text) };
    (@gauge $name:ident, $unit:expr, $text:expr) => { metrics::describe_gauge!($name, $unit, $text) };
    (@histogram $name:ident, $unit:expr, $text:expr) => { metrics::describe_histogram!($name, $unit, $text) };
}

metrics_table! {
    /// Looks of the feeder, by `result`: replaced, unchanged, stale, refused, source_failed, registry_failed, timed_out.
    FEEDER_REFRESHES = counter(Count, "mini_platform_feeder_refreshes_total");
    /// Looks that ended with a list that is kept out, by `reason`; goes up at every look as long as it lasts.
    FEEDER_REFUSALS = counter(Count, "mini_platform_feeder_refusals_total");
    /// How long a look took, with reading, checking and loading the list if it changed.
    FEEDER_REFRESH_DURATION = histogram(Seconds, "mini_platform_feeder_refresh_duration_seconds");
    /// Different names on the list in force, as of the last look.
    FEEDER_LIST_ENTRIES = gauge(Count, "mini_platform_feeder_list_entries");
    /// When the list in force was published, in seconds since 1970.
    FEEDER_LIST_PUBLISHED = gauge(Seconds, "mini_platform_feeder_list_published_timestamp_seconds");
    /// When the registry was last known to hold the newest list of its sources, in seconds since 1970.
    FEEDER_LIST_CONFIRMED = gauge(Seconds, "mini_platform_feeder_list_confirmed_timestamp_seconds");
    /// How long ago that was at the last look; grows while sources fail or their list is refused.
    FEEDER_LIST_AGE = gauge(Seconds, "mini_platform_feeder_list_age_seconds");

    /// Calls of a backend that failed and were made again, by `port`.
    PORT_RETRIES = counter(Count, "mini_platform_port_retries_total");
    /// Calls of a backend that were given up although a retry could have helped, by `port`.
    PORT_RETRIES_EXHAUSTED = counter(Count, "mini_platform_port_retries_exhausted_total");

    /// Batches that were screened, by `answered_by`: copy (in the process) or registry (a round trip).
    LIST_COPY_SCREENINGS = counter(Count, "mini_platform_list_copy_screenings_total");
    /// Whether the copy of the fraud list may answer: 1 while it was confirmed within its bound, else 0.
    LIST_COPY_FRESH = gauge(Count, "mini_platform_list_copy_fresh");
    /// Different names in the copy of the fraud list.
    LIST_COPY_ENTRIES = gauge(Count, "mini_platform_list_copy_entries");
    /// Memory that the copy of the fraud list takes.
    LIST_COPY_BYTES = gauge(Bytes, "mini_platform_list_copy_bytes");
    /// Loads of the fraud list into the process, by `result`: loaded or failed.
    LIST_COPY_LOADS = counter(Count, "mini_platform_list_copy_loads_total");
    /// How long a load of the fraud list into the process took.
    LIST_COPY_LOAD_DURATION = histogram(Seconds, "mini_platform_list_copy_load_duration_seconds");

    /// Requests to workers, by `kind` (ingest: a batch, fetch) and `result`: ok, no_workers, overloaded, timeout, failed.
    DISPATCHER_REQUESTS = counter(Count, "mini_platform_dispatcher_requests_total");
    /// How long a request to workers took, all tries together, by `kind`: ingest or fetch.
    DISPATCHER_REQUEST_DURATION = histogram(Seconds, "mini_platform_dispatcher_request_duration_seconds");
    /// Tries at another worker after one had failed.
    DISPATCHER_RETRIES = counter(Count, "mini_platform_dispatcher_retries_total");
    /// Tries at another worker while one was slow.
    DISPATCHER_HEDGES = counter(Count, "mini_platform_dispatcher_hedges_total");
    /// Workers that were passed over for a while because they stood out by failing.
    DISPATCHER_EJECTIONS = counter(Count, "mini_platform_dispatcher_ejections_total");
    /// Requests under way to workers.
    DISPATCHER_IN_FLIGHT = gauge(Count, "mini_platform_dispatcher_in_flight");

    /// Workers of the cluster, by `state`: joining, ready, ejected, draining.
    DISPATCHER_WORKERS = gauge(Count, "mini_platform_dispatcher_workers");
    /// Requests of workers to join, by `result`: joined, renewed, or why they were refused: cluster_full,
    /// protocol_version, token, id_taken, not_dialable, shutting_down.
    DISPATCHER_JOINS = counter(Count, "mini_platform_dispatcher_joins_total");

    /// Events that were parked, by `reason`: no_workers, timeout, screening, storing, linking, worker, logging, outage.
    PARKING_PARKED = counter(Count, "mini_platform_parking_parked_total");
    /// Events that could be neither finished nor parked.
    PARKING_REFUSED = counter(Count, "mini_platform_parking_refused_total");
    /// Parcels that were settled after a try, by `result`: done, retried, postponed, dead, lease_lost.
    PARKING_REDRIVEN = counter(Count, "mini_platform_parking_redriven_total");
    /// Parcels in the parking lot that are not dead, as of the last look.
    PARKING_WAITING = gauge(Count, "mini_platform_parking_waiting");
    /// Dead letters, as of the last look.
    PARKING_DEAD = gauge(Count, "mini_platform_parking_dead_letters");
    /// How long the oldest parcel has waited at the last look.
    PARKING_OLDEST_AGE = gauge(Seconds, "mini_platform_parking_oldest_age_seconds");
    /// Bytes of records that wait for the long-term log.
    OUTBOX_BYTES = gauge(Bytes, "mini_platform_outbox_bytes");
    /// Age of the oldest record that waits for the long-term log, since its request was finished.
    OUTBOX_LAG = gauge(Seconds, "mini_platform_outbox_lag_seconds");
    /// Records that the long-term log took from the outbox; after a failure some are taken twice.
    OUTBOX_PUBLISHED = counter(Count, "mini_platform_outbox_published_records_total");
    /// Tries to bring records from the outbox to the long-term log that failed.
    OUTBOX_PUBLISH_FAILURES = counter(Count, "mini_platform_outbox_publish_failures_total");
    /// Lines of an outbox that hold no record, because the disk damaged them; they are put aside.
    OUTBOX_DAMAGED = counter(Count, "mini_platform_outbox_damaged_lines_total");

    /// Clients whose links were compared with their events.
    RECONCILE_CLIENTS = counter(Count, "mini_platform_reconcile_clients_total");
    /// Links that differed from the stored events, by `kind`: missing, older, newer, surplus.
    RECONCILE_DIFFERENCES = counter(Count, "mini_platform_reconcile_differences_total");
    /// Differences that were repaired.
    RECONCILE_REPAIRS = counter(Count, "mini_platform_reconcile_repairs_total");
}

#[cfg(test)]
pub(crate) mod probe;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_metric_is_described_and_named_after_the_platform() {
        let probe = probe::Metrics::default();
        metrics::with_local_recorder(&probe, describe);
        let described = probe.described();
        assert_eq!(described.get(FEEDER_LIST_ENTRIES).map(String::as_str), {
            Some("Different names on the list in force, as of the last look.")
        });
        assert_eq!(described.len(), 37);
        for name in described.keys() {
            assert!(name.starts_with("mini_platform_"), "{name}");
        }
    }
}
