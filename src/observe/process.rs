//! The process itself, as Prometheus clients expose it.

use std::fmt::Display;

use metrics_process::collector::{Metrics, collect};

use super::metric::{
    Metric, PROCESS_CPU, PROCESS_MAX_FDS, PROCESS_OPEN_FDS, PROCESS_RESIDENT, PROCESS_START,
    PROCESS_THREADS, PROCESS_VIRTUAL, PROCESS_VIRTUAL_MAX,
};
use super::page::Page;

/// Writes what the system says of this process; what it does not say is left out.
pub fn write(page: &mut Page) {
    let Metrics {
        cpu_seconds_total,
        open_fds,
        max_fds,
        virtual_memory_bytes,
        virtual_memory_max_bytes,
        resident_memory_bytes,
        start_time_seconds,
        threads,
    } = collect();
    one(page, &PROCESS_CPU, cpu_seconds_total);
    one(page, &PROCESS_OPEN_FDS, open_fds);
    one(page, &PROCESS_MAX_FDS, max_fds);
    one(page, &PROCESS_VIRTUAL, virtual_memory_bytes);
    one(page, &PROCESS_VIRTUAL_MAX, virtual_memory_max_bytes);
    one(page, &PROCESS_RESIDENT, resident_memory_bytes);
    one(page, &PROCESS_START, start_time_seconds);
    one(page, &PROCESS_THREADS, threads);
}

fn one(page: &mut Page, metric: &Metric, value: Option<impl Display>) {
    if let Some(value) = value {
        page.family(metric).sample(&[], value);
    }
}
