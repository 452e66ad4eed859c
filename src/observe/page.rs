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
    written: Vec<&'static str>,
}

/// Label names with their values; the values may hold anything.
pub type Labels<'a> = &'a [(&'static str, &'a str)];

impl Page {
    /// Starts a family; nothing is written before its first sample.
    pub fn family<'a>(&'a mut self, metric: &'a Metric) -> Family<'a> {
        Family { page: self, metric, begun: false }
    }

    /// Appends what the control plane counts through the `metrics` crate, without families that are written already: a
    /// scraper refuses a whole page for one family that comes twice.
    pub fn append(&mut self, control: &Handle) {
        self.append_text(&control.render());
    }

    fn append_text(&mut self, text: &str) {
        let mut known = false;
        for line in text.lines() {
            let header = line.strip_prefix("# HELP ").or_else(|| line.strip_prefix("# TYPE "));
            if let Some((name, _)) = header.and_then(|header| header.split_once(' ')) {
                known = self.written.contains(&name);
            }
            if !known && !line.is_empty() {
                self.text.push_str(line);
                self.text.push('\n');
            }
        }
    }

    /// The whole page.
    pub fn into_text(self) -> String {
        self.text
    }
}

/// The family that is being written.
#[derive(Debug)]
pub struct Family<'a> {
    page: &'a mut Page,
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
            let Metric { name, kind, help } = *self.metric;
            write_help_line(&mut self.page.text, name, None, None, help);
            write_type_line(&mut self.page.text, name, None, None, kind.as_str());
            self.page.written.push(name);
        }
    }

    // Not the exporter's own `write_metric_line`: that one takes a backslash in a value for an escape already made, so
    // two different values can become the same series.
    fn line(&mut self, suffix: &str, labels: Labels<'_>, value: impl Display) {
        let text = &mut self.page.text;
        text.push_str(self.metric.name);
        text.push_str(suffix);
        for (index, (name, value)) in labels.iter().enumerate() {
            text.push(if index == 0 { '{' } else { ',' });
            text.push_str(name);
            text.push_str("=\"");
            for character in value.chars() {
                match character {
                    '\\' => text.push_str("\\\\"),
                    '"' => text.push_str("\\\""),
                    '\n' => text.push_str("\\n"),
                    other => text.push(other),
                }
            }
            text.push('"');
        }
        if !labels.is_empty() {
            text.push('}');
        }
        writeln!(text, " {value}").ok();
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
    fn a_family_that_is_written_already_is_not_appended_again() {
        let mut page = Page::default();
        page.family(&IN_FLIGHT).sample(&[], 1);
        let before = page.text.clone();
        let other = "# HELP other Help.\n# TYPE other counter\nother 2\n";
        let again = "# TYPE frontgate_in_flight gauge\nfrontgate_in_flight 3\n\n";
        page.append_text(&format!("{again}{other}{again}"));
        assert_eq!(page.into_text(), before + other);
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
