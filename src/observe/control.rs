//! What the control plane counts: through the `metrics` crate, where ease matters more than nanoseconds.

use std::sync::OnceLock;

use metrics::Recorder;
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};

use super::metric::{ALL, Kind};

/// Reads what was counted.
#[derive(Clone, Debug)]
pub struct Handle(PrometheusHandle);

impl Handle {
    pub(super) fn render(&self) -> String {
        self.0.render()
    }
}

/// Makes the macros of the `metrics` crate count, for the whole process. Calling it again gives the same handle.
pub fn install() -> Handle {
    static INSTALLED: OnceLock<Handle> = OnceLock::new();
    let handle = INSTALLED.get_or_init(|| {
        let recorder = PrometheusBuilder::new().build_recorder();
        for metric in ALL {
            match metric.kind {
                Kind::Counter => {
                    recorder.describe_counter(metric.name.into(), None, metric.help.into());
                }
                Kind::Gauge => {
                    recorder.describe_gauge(metric.name.into(), None, metric.help.into());
                }
                Kind::Histogram => {
                    recorder.describe_histogram(metric.name.into(), None, metric.help.into());
                }
            }
        }
        let handle = Handle(recorder.handle());
        if metrics::set_global_recorder(recorder).is_err() {
            tracing::warn!("another metrics recorder is installed: registry events are not shown");
        }
        handle
    });
    handle.clone()
}

#[cfg(test)]
mod tests {
    use super::super::metric::REGISTRY_EVENTS;
    use super::*;

    #[test]
    fn what_is_counted_shows_with_its_help_through_every_handle() {
        let first = install();
        let again = install();
        metrics::counter!(REGISTRY_EVENTS.name, "registry" => "t", "kind" => "set").increment(2);
        let help = format!("# HELP {} {}\n", REGISTRY_EVENTS.name, REGISTRY_EVENTS.help);
        for text in [first.render(), again.render()] {
            let sample = "frontgate_registry_events_total{registry=\"t\",kind=\"set\"} 2\n";
            assert!(text.contains(sample), "{text}");
            assert_eq!(text.matches(&help).count(), 1);
        }
    }
}
