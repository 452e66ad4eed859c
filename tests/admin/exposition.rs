//! A strict reader of Prometheus' text format: whatever a scraper might trip over is a failure.

use std::collections::{BTreeMap, BTreeSet};

type Labels = BTreeMap<String, String>;

/// A page that held to every rule.
pub(crate) struct Exposition {
    series: BTreeMap<(String, Labels), f64>,
}

impl Exposition {
    /// Panics with the line that breaks a rule: HELP, then TYPE, then all samples of a family in one place; each series
    /// once; histograms cumulative and complete.
    pub(crate) fn parse(text: &str) -> Self {
        assert!(text.ends_with('\n'), "the last line is not ended");
        let mut kinds = BTreeMap::new();
        let mut helped = BTreeSet::new();
        let mut series = BTreeMap::new();
        let mut family = String::new();
        for line in text.lines().filter(|line| !line.is_empty()) {
            if let Some(rest) = line.strip_prefix("# HELP ") {
                let (name, help) = rest.split_once(' ').unwrap_or_else(|| panic!("{line}"));
                assert!(!help.is_empty() && helped.insert(name.to_owned()), "{line}");
                family = name.to_owned();
            } else if let Some(rest) = line.strip_prefix("# TYPE ") {
                let (name, kind) = rest.split_once(' ').unwrap_or_else(|| panic!("{line}"));
                assert!(["counter", "gauge", "histogram"].contains(&kind), "{line}");
                assert_eq!(name, family, "TYPE does not follow HELP: {line}");
                assert!(kinds.insert(name.to_owned(), kind.to_owned()).is_none(), "{line}");
            } else {
                let (name, labels, value) = sample(line);
                let kind = kinds.get(&family).unwrap_or_else(|| panic!("without TYPE: {line}"));
                let suffix = name.strip_prefix(&family).unwrap_or_else(|| panic!("astray: {line}"));
                let fits = match kind.as_str() {
                    "histogram" => ["_bucket", "_sum", "_count"].contains(&suffix),
                    _ => suffix.is_empty(),
                };
                assert!(fits, "{line} in {family}");
                assert!(kind == "gauge" || value >= 0.0, "{line}");
                assert!(series.insert((name, labels), value).is_none(), "twice: {line}");
            }
        }
        let page = Self { series };
        for (name, _) in kinds.iter().filter(|(_, kind)| *kind == "histogram") {
            page.check_histogram(name);
        }
        page
    }

    /// The series with exactly these labels.
    pub(crate) fn value(&self, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        let labels = labels.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        self.series.get(&(name.to_owned(), labels)).copied()
    }

    fn check_histogram(&self, name: &str) {
        let mut buckets: BTreeMap<Labels, Vec<(f64, f64)>> = BTreeMap::new();
        let bucket = format!("{name}_bucket");
        for ((_, labels), count) in self.series.iter().filter(|((of, _), _)| *of == bucket) {
            let mut labels = labels.clone();
            let le = labels.remove("le").expect("a bucket has a bound").parse().unwrap();
            buckets.entry(labels).or_default().push((le, *count));
        }
        assert!(!buckets.is_empty(), "{name} has no bucket");
        for (labels, mut buckets) in buckets {
            buckets.sort_by(|a, b| a.0.total_cmp(&b.0));
            assert!(buckets.is_sorted_by(|a, b| a.1 <= b.1), "{name} {labels:?} is not cumulative");
            let (le, all) = *buckets.last().unwrap();
            assert!(le.is_infinite(), "{name} {labels:?} has no infinite bucket");
            let of = |suffix| self.series.get(&(format!("{name}{suffix}"), labels.clone()));
            assert_eq!(of("_count"), Some(&all), "{name} {labels:?}");
            assert!(of("_sum").is_some(), "{name} {labels:?} has no sum");
        }
    }
}

/// `name{label="value",…} number`.
fn sample(line: &str) -> (String, Labels, f64) {
    let end = line.find(['{', ' ']).unwrap_or_else(|| panic!("{line}"));
    let name = &line[..end];
    let legal = |c: char| c.is_ascii_alphanumeric() || c == '_';
    assert!(!name.is_empty() && name.chars().all(legal), "{line}");
    let mut labels = Labels::new();
    let mut rest = &line[end..];
    if let Some(inside) = rest.strip_prefix('{') {
        rest = inside;
        loop {
            let (label, after) = rest.split_once("=\"").unwrap_or_else(|| panic!("{line}"));
            assert!(!label.is_empty() && label.chars().all(legal), "{line}");
            let (value, after) = quoted(after).unwrap_or_else(|| panic!("{line}"));
            assert!(labels.insert(label.to_owned(), value).is_none(), "{line}");
            match after.strip_prefix(',') {
                Some(next) => rest = next,
                None => break rest = after.strip_prefix('}').unwrap_or_else(|| panic!("{line}")),
            }
        }
    }
    let value = rest.strip_prefix(' ').unwrap_or_else(|| panic!("{line}"));
    (name.to_owned(), labels, value.parse().unwrap_or_else(|_| panic!("{line}")))
}

/// A value up to its closing quote, and what follows.
fn quoted(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut characters = text.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => return Some((value, &text[at + 1..])),
            '\\' => value.push(match characters.next()?.1 {
                'n' => '\n',
                escaped @ ('"' | '\\') => escaped,
                _ => return None,
            }),
            other => value.push(other),
        }
    }
    None
}
