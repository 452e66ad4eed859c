//! Every metric there is, with its help text, in one list.

/// A metric family as the exposition names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Metric {
    /// Its full name, unit and `_total` included.
    pub name: &'static str,
    /// What its samples are.
    pub kind: Kind,
    /// One line for a person.
    pub help: &'static str,
}

/// What a metric's samples are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Only grows, until the process ends.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Counts in buckets.
    Histogram,
}

impl Kind {
    /// As a `# TYPE` line says it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }
}

/// Declares each metric once: as a constant for who writes it, and in `ALL`.
macro_rules! metrics {
    ($($constant:ident $kind:ident $name:literal $help:literal)*) => {
        $(
            #[doc = $help]
            pub const $constant: Metric =
                Metric { name: $name, kind: Kind::$kind, help: $help };
        )*
        /// Every metric.
        pub const ALL: &[Metric] = &[$($constant),*];
    };
}

metrics! {
    REQUESTS Counter "frontgate_requests_total"
        "Exchanges that ended, by the status sent (0 if none) and how they ended."
    DURATION Histogram "frontgate_request_duration_seconds"
        "From the complete request head to the last byte of the answer."
    IN_FLIGHT Gauge "frontgate_in_flight"
        "Exchanges now."
    REFUSALS Counter "frontgate_refusals_total"
        "Answers of the gateway itself, by code."
    RETRIES Counter "frontgate_retries_total"
        "Attempts beyond the first, by what ended the one before."
    RETRIES_SUPPRESSED Counter "frontgate_retries_suppressed_total"
        "Attempts that the route would have had and that were not made, by what forbade them."
    ATTEMPTS Counter "frontgate_attempts_total"
        "Attempts at instances, by result."
    CHECKS Counter "frontgate_health_checks_total"
        "Checks whether instances are well, by result."
    RATE_LIMIT_KEYS Gauge "frontgate_rate_limit_keys"
        "Keys that the route's limits keep a number of in this process, also those with nothing used."
    RATE_LIMIT_OVERFLOW Counter "frontgate_rate_limit_overflow_total"
        "Requests whose key found no room in a limit's table, so that they shared one limit."
    CONNECTIONS Gauge "frontgate_connections"
        "Open client connections."
    UPSTREAM_CONNECTIONS Gauge "frontgate_upstream_connections"
        "Open connections to instances: active ones carry an exchange, idle ones are kept."
    INSTANCES Gauge "frontgate_instances"
        "Instances by what they are good for now."
    PANIC Gauge "frontgate_panic"
        "1 while so few instances are usable that all are used, else 0."
    EJECTIONS Counter "frontgate_ejections_total"
        "Instances left out for a while because they failed, by what gave them away."
    EJECTIONS_OVERFLOW Counter "frontgate_ejections_overflow_total"
        "Failures that would have ejected their instance, had not as many been out as may be."
    BREAKER_STATE Gauge "frontgate_breaker_state"
        "Where a breaker stands: 0 closed, 1 half open, 2 open. The instance is * for a service's own."
    REGISTRY_UP Gauge "frontgate_registry_up"
        "1 while every watch of the registry is live, else 0."
    REGISTRY_AGE Gauge "frontgate_registry_age_seconds"
        "How long ago a service's set of instances was last known to be right: 0 while its watch is live."
    REGISTRY_EVENTS Counter "frontgate_registry_events_total"
        "What was heard from registries."
    RATE_STORE_ERRORS Counter "frontgate_rate_store_errors_total"
        "Requests that a rate store did not count."
    RATE_STORE_UP Gauge "frontgate_rate_store_up"
        "Whether every worker reaches a rate store."
    AUTH_KEYS Gauge "frontgate_auth_keys"
        "Keys of its provider that a scheme checks tokens with; 0: no token can be checked."
    AUTH_KEY_FETCH_FAILURES Counter "frontgate_auth_key_fetch_failures_total"
        "Fetches of a provider's keys that failed."
    BUILD_INFO Gauge "frontgate_build_info"
        "Always 1; the version is in the label."
    PROCESS_CPU Counter "process_cpu_seconds_total"
        "Total user and system CPU time spent in seconds."
    PROCESS_OPEN_FDS Gauge "process_open_fds"
        "Number of open file descriptors."
    PROCESS_MAX_FDS Gauge "process_max_fds"
        "Maximum number of open file descriptors."
    PROCESS_VIRTUAL Gauge "process_virtual_memory_bytes"
        "Virtual memory size in bytes."
    PROCESS_VIRTUAL_MAX Gauge "process_virtual_memory_max_bytes"
        "Maximum amount of virtual memory available in bytes."
    PROCESS_RESIDENT Gauge "process_resident_memory_bytes"
        "Resident memory size in bytes."
    PROCESS_START Gauge "process_start_time_seconds"
        "Start time of the process since unix epoch in seconds."
    PROCESS_THREADS Gauge "process_threads"
        "Number of OS threads in the process."
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_say_what_they_are() {
        for (index, metric) in ALL.iter().enumerate() {
            assert!(ALL[..index].iter().all(|other| other.name != metric.name), "{}", metric.name);
            assert_eq!(
                metric.name.ends_with("_total"),
                metric.kind == Kind::Counter,
                "{}",
                metric.name
            );
            assert!(metric.help.ends_with('.') && !metric.help.contains('\n'), "{}", metric.name);
        }
    }
}
