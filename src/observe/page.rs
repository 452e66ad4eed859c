//! A page in Prometheus' text format, version 0.0.4.

use std::fmt::{Display, Write};

use metrics_exporter_prometheus::formatting::{write_help_line, write_type_line};

use super::control::Handle;
use super::histogram::Buckets;
use super::metric::Metric;

/// What a scrape of the page is told it gets.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// A page as far as it is written: one family after the other, each once.
#[derive(Debug, Default)]
pub struct Page {
    text: String,
}

/// Label names with their values; the values may hold anything.
pub type Labels<'a> = &'a [(&'static str, &'a str)];

impl Page {
    /// Starts a family; nothing is written before its first sample.
    pub fn family<'a>(&'a mut self, metric: &'a Metric) -> Family<'a> {
        Family { text: &mut self.text, metric, begun: false }
    }

    /// Appends what the control plane counts through the `metrics` crate.
    pub fn append(&mut self, control: &Handle) {
        self.text.push_str(&control.render());
    }

    /// The whole page.
    pub fn into_text(self) -> String {
        self.text
    }
}

/// The family that is being written.
#[derive(Debug)]
pub struct Family<'a> {
    text: &'a mut String,
    metric: &'a Metric,
    begun: bool,
}

impl Family<'_> {
    /// Writes a counter's or a gauge's sample. The same labels may come only once.
    pub fn sample(&mut self, labels: Labels<'_>, value: impl Display) {
        self.begin();
        self.line("", labels, value);
    }

    /// Writes a histogram's samples. The same labels may come only once.
    pub fn histogram(&mut self, labels: Labels<'_>, buckets: &Buckets) {
        self.begin();
        let mut bounded = labels.to_vec();
        for (le, count) in buckets.cumulative() {
            bounded.push(("le", le));
            self.line("_bucket", &bounded, count);
            bounded.pop();
        }
        self.line("_sum", labels, buckets.sum().as_secs_f64());
        self.line("_count", labels, buckets.count());
    }

    fn begin(&mut self) {
        if !std::mem::replace(&mut self.begun, true) {
            write_help_line(self.text, self.metric.name, None, None, self.metric.help);
            write_type_line(self.text, self.metric.name, None, None, self.metric.kind.as_str());
        }
    }

    // Not the exporter's own `write_metric_line`: that one takes a backslash in a value for an escape already made, so
    // two different values can become the same series.
    fn line(&mut self, suffix: &str, labels: Labels<'_>, value: impl Display) {
        self.text.push_str(self.metric.name);
        self.text.push_str(suffix);
        for (index, (name, value)) in labels.iter().enumerate() {
            self.text.push(if index == 0 { '{' } else { ',' });
            self.text.push_str(name);
            self.text.push_str("=\"");
            for character in value.chars() {
                match character {
                    '\\' => self.text.push_str("\\\\"),
                    '"' => self.text.push_str("\\\""),
                    '\n' => self.text.push_str("\\n"),
                    other => self.text.push(other),
                }
            }
            self.text.push('"');
        }
        if !labels.is_empty() {
            self.text.push('}');
        }
        writeln!(self.text, " {value}").ok();
    }
}

#[cfg(test)]
mod tests {
    use super::super::metric::{BUILD_INFO, DURATION, IN_FLIGHT};
    use super::*;

    #[test]
    fn a_family_without_samples_leaves_no_trace() {
        let mut page = Page::default();
        page.family(&IN_FLIGHT);
        assert_eq!(page.into_text(), "");
    }

    #[test]
    fn label_values_are_escaped_so_that_different_ones_stay_different() {
        let mut page = Page::default();
        let mut family = page.family(&BUILD_INFO);
        family.sample(&[("version", "a\\b\"c\nd")], 1);
        family.sample(&[("version", "a\\\\b")], 1);
        assert_eq!(
            page.into_text(),
            "# HELP frontgate_build_info Always 1; the version is in the label.\n\
             # TYPE frontgate_build_info gauge\n\
             frontgate_build_info{version=\"a\\\\b\\\"c\\nd\"} 1\n\
             frontgate_build_info{version=\"a\\\\\\\\b\"} 1\n"
        );
    }

    #[test]
    fn a_histogram_ends_with_its_infinite_bucket_sum_and_count() {
        let mut page = Page::default();
        page.family(&DURATION).histogram(&[("route", "a")], &Buckets::default());
        let text = page.into_text();
        let lines: Vec<&str> = text.lines().skip(2).collect();
        assert_eq!(lines.len(), 16);
        assert_eq!(
            &lines[13..],
            [
                "frontgate_request_duration_seconds_bucket{route=\"a\",le=\"+Inf\"} 0",
                "frontgate_request_duration_seconds_sum{route=\"a\"} 0",
                "frontgate_request_duration_seconds_count{route=\"a\"} 0",
            ]
        );
    }
}
