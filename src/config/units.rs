//! Durations and sizes as people write them.

use std::fmt::Write;
use std::time::Duration;

use super::model::{Rate, Share};

const DURATIONS: [(&str, u64); 5] =
    [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];

const SIZES: [(&str, u64); 4] = [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10), ("B", 1)];

/// `500ms`, `2s`, `1m30s`: whole numbers with the units d, h, m, s, ms, each once and the largest first.
pub fn parse_duration(text: &str) -> Option<Duration> {
    let mut rest = text;
    let mut millis: u64 = 0;
    let mut units = DURATIONS.iter();
    while !rest.is_empty() {
        let (number, unit);
        (number, rest) = split(rest, |c| c.is_ascii_digit());
        (unit, rest) = split(rest, |c| c.is_ascii_alphabetic());
        // The iterator goes on where the last unit was found, so a larger or equal one is not found any more.
        let (_, scale) = units.find(|(name, _)| *name == unit)?;
        millis = millis.checked_add(number.parse::<u64>().ok()?.checked_mul(*scale)?)?;
    }
    (!text.is_empty()).then(|| Duration::from_millis(millis))
}

/// `64KiB`, `1MiB`: a whole number with one of the units B, KiB, MiB, GiB. In bytes.
pub fn parse_size(text: &str) -> Option<usize> {
    let (number, unit) = split(text, |c| c.is_ascii_digit());
    let (_, scale) = SIZES.iter().find(|(name, _)| *name == unit)?;
    number.parse::<u64>().ok()?.checked_mul(*scale)?.try_into().ok()
}

/// `50%`, `12.5%`: at most two digits after the point.
pub fn parse_share(text: &str) -> Option<Share> {
    let number = text.strip_suffix('%')?;
    let (whole, part) = number.split_once('.').unwrap_or((number, "0"));
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    if !digits(whole) || !digits(part) || part.len() > 2 {
        return None;
    }
    let part = if part.len() == 1 { part.parse::<u32>().ok()? * 10 } else { part.parse().ok()? };
    Share::new(whole.parse::<u32>().ok()?.checked_mul(100)?.checked_add(part)?)
}

const PERIODS: [(&str, u64); 4] = [("s", 1), ("m", 60), ("h", 3_600), ("d", 86_400)];

/// `100/s`, `600/m`: a whole number in one of s, m, h, d.
pub fn parse_rate(text: &str) -> Option<Rate> {
    let (count, unit) = text.split_once('/')?;
    let (_, seconds) = PERIODS.iter().find(|(name, _)| *name == unit)?;
    let digits = count.bytes().all(|byte| byte.is_ascii_digit());
    let count = count.parse().ok().filter(|_| digits)?;
    Some(Rate { count, per: Duration::from_secs(*seconds) })
}

/// As [`parse_rate`] reads it.
pub fn show_rate(rate: Rate) -> String {
    let period = PERIODS.iter().find(|(_, seconds)| *seconds == rate.per.as_secs());
    format!("{}/{}", rate.count, period.map_or("s", |(name, _)| name))
}

/// As [`parse_share`] reads it.
pub fn show_share(share: Share) -> String {
    let (whole, part) = (share.hundredths() / 100, share.hundredths() % 100);
    match (part, part % 10) {
        (0, _) => format!("{whole}%"),
        (_, 0) => format!("{whole}.{}%", part / 10),
        _ => format!("{whole}.{part:02}%"),
    }
}

/// As [`parse_duration`] reads it; below a millisecond nothing is left.
pub fn show_duration(duration: Duration) -> String {
    let mut rest = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    let mut text = String::new();
    for (unit, scale) in DURATIONS {
        // Days are read and not written: `24h` says more.
        if unit != "d" && rest >= scale {
            write!(text, "{}{unit}", rest / scale).ok();
            rest %= scale;
        }
    }
    if text.is_empty() { "0s".to_owned() } else { text }
}

/// As [`parse_size`] reads it, in the largest unit that divides it.
pub fn show_size(bytes: usize) -> String {
    let bytes = bytes as u64;
    let whole = SIZES.iter().find(|(_, scale)| bytes > 0 && bytes.is_multiple_of(*scale));
    whole.map_or_else(|| "0B".to_owned(), |(unit, scale)| format!("{}{unit}", bytes / scale))
}

fn split(text: &str, take: impl Fn(char) -> bool) -> (&str, &str) {
    text.split_at(text.find(|c| !take(c)).unwrap_or(text.len()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn shares_are_read_as_people_write_them() {
        let hundredths = |text| parse_share(text).map(Share::hundredths);
        for (text, expected) in
            [("0%", 0), ("50%", 5_000), ("12.5%", 1_250), ("0.01%", 1), ("100%", 10_000)]
        {
            assert_eq!(hundredths(text), Some(expected), "{text}");
            assert_eq!(show_share(parse_share(text).unwrap()), text);
        }
        for bad in
            ["", "%", "50", "101%", "100.01%", "-1%", "1.%", ".5%", "1.555%", "5 %", "99999999999%"]
        {
            assert_eq!(hundredths(bad), None, "{bad}");
        }
        assert!(Share::HALF.is_exceeded(3, 5) && !Share::HALF.is_exceeded(2, 4));
    }

    #[test]
    fn rates_are_read_as_people_write_them() {
        for (text, count, seconds) in [
            ("100/s", 100, 1),
            ("600/m", 600, 60),
            ("1/h", 1, 3_600),
            ("5/d", 5, 86_400),
            ("0/s", 0, 1),
        ] {
            let rate = parse_rate(text).unwrap();
            assert_eq!((rate.count, rate.per.as_secs()), (count, seconds));
            assert_eq!(show_rate(rate), text);
        }
        for bad in [
            "",
            "5",
            "/s",
            "-1/s",
            "+1/s",
            "1.5/s",
            "1/2s",
            "1/ms",
            "1 /s",
            "99999999999999999999/s",
        ] {
            assert_eq!(parse_rate(bad), None, "{bad}");
        }
    }

    #[test]
    fn durations_are_read_as_people_write_them() {
        let millis = |text| parse_duration(text).map(|d| d.as_millis());
        assert_eq!(millis("500ms"), Some(500));
        assert_eq!(millis("2s"), Some(2_000));
        assert_eq!(millis("1m30s"), Some(90_000));
        assert_eq!(millis("24h"), Some(86_400_000));
        assert_eq!(millis("1d1ms"), Some(86_400_001));
        assert_eq!(millis("0s"), Some(0));
        for bad in [
            "",
            "5",
            "s",
            "-1s",
            "1.5s",
            "1s1m",
            "1s1s",
            "1 s",
            "1S",
            "1us",
            "99999999999999999d",
            "1s ",
        ] {
            assert_eq!(millis(bad), None, "{bad}");
        }
    }

    #[test]
    fn sizes_are_read_with_binary_units() {
        assert_eq!(parse_size("64KiB"), Some(65_536));
        assert_eq!(parse_size("1MiB"), Some(1_048_576));
        assert_eq!(parse_size("0B"), Some(0));
        for bad in ["", "64", "KiB", "64KB", "64kib", "1.5MiB", "-1B", "99999999999GiB", "1 B"] {
            assert_eq!(parse_size(bad), None, "{bad}");
        }
    }

    proptest! {
        #[test]
        fn what_is_shown_is_read_back(millis in 0..u64::MAX / 2, bytes in 0..usize::MAX / 2) {
            let duration = Duration::from_millis(millis);
            prop_assert_eq!(parse_duration(&show_duration(duration)), Some(duration));
            prop_assert_eq!(parse_size(&show_size(bytes)), Some(bytes));
        }

        #[test]
        fn no_text_makes_the_readers_panic(text in "\\PC*") {
            parse_duration(&text);
            parse_size(&text);
        }
    }
}
