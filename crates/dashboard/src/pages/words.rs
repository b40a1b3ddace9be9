//! Numbers, amounts and times in words.

use templar_base::{Alpha, Mark, Rao, StepShare};
use templar_chain::governance::Status;
use templar_record::Measured;

/// What stands where nothing is known.
pub(super) const UNKNOWN: &str = "–";

/// A whole number with separators.
pub(super) fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// What may be unknown.
pub(super) fn or_unknown<T>(value: Option<T>, words: impl FnOnce(T) -> String) -> String {
    value.map_or_else(|| UNKNOWN.to_owned(), words)
}

/// A size in bytes.
pub(super) fn size(bytes: u64) -> String {
    let units = [(1u64 << 40, "TiB"), (1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")];
    match units.into_iter().find(|(unit, _)| bytes >= *unit) {
        Some((unit, name)) => format!("{:.1} {name}", bytes as f64 / unit as f64),
        None => format!("{bytes} B"),
    }
}

/// A loss in nats.
pub(super) fn loss(loss: f64) -> String {
    format!("{loss:.4}")
}

/// A contribution in thousandths of a nat, with its error.
pub(super) fn millinats(own: Measured) -> String {
    format!("{:.2} ± {:.2}", own.mean * 1e3, own.error * 1e3)
}

/// A share or a rating, with its error.
pub(super) fn share(own: Measured) -> String {
    format!("{:.2} ± {:.2}", own.mean, own.error)
}

/// Tokens of the subnet with four decimals, for tables; whole amounts are in the API.
pub(super) fn alpha(amount: Alpha) -> String {
    let (whole, rest) = (amount.as_rao() / 1_000_000_000, amount.as_rao() % 1_000_000_000);
    format!("{}.{:04}", count(whole), rest / 100_000)
}

/// TAO with six decimals.
pub(super) fn tao(amount: Rao) -> String {
    let (whole, rest) = (amount.as_rao() / 1_000_000_000, amount.as_rao() % 1_000_000_000);
    format!("{}.{:06}", count(whole), rest / 1_000)
}

/// A part in percent.
pub(super) fn percent(part: f64) -> String {
    format!("{:.1} %", part * 100.0)
}

/// A part of a whole in percent.
pub(super) fn part(part: Alpha, whole: Alpha) -> String {
    percent(part.as_rao() as f64 / whole.as_rao().max(1) as f64)
}

/// A length of time.
pub(super) fn seconds(seconds: f64) -> String {
    let whole = seconds.max(0.0) as u64;
    match whole {
        0..60 => format!("{seconds:.1} s"),
        60..3_600 => format!("{} min {} s", whole / 60, whole % 60),
        _ => format!("{} h {} min", whole / 3_600, whole % 3_600 / 60),
    }
}

/// A moment by the block authority's clock, as `2026-11-30 21:05:09 UTC`.
pub(super) fn time(time_ms: u64) -> String {
    let (days, second) = (time_ms / 86_400_000, time_ms / 1_000 % 86_400);
    let (year, month, day) = date(days);
    format!("{year:04}-{month:02}-{day:02} {:02}:{:02}:{:02} UTC", second / 3_600, second / 60 % 60, second % 60)
}

/// The date this many days after 1970-01-01: Howard Hinnant's `civil_from_days`, for dates since then.
fn date(days: u64) -> (u64, u64, u64) {
    let shifted = days + 719_468;
    let (era, of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let day_of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    (year_of_era + era * 400 + u64::from(month <= 2), month, day)
}

/// Where a candidate stands, as agreed.
pub(super) fn mark(mark: Mark) -> &'static str {
    match mark {
        Mark::NotAdmitted => "not admitted",
        Mark::Admitted => "admitted, not merged",
        Mark::Selected => "merged",
        Mark::Dropped => "left out by the confirmation",
        Mark::Harmful => "harmful",
        Mark::Copy => "a copy",
        Mark::Silent => "silent: it owes an answer to an audit",
        Mark::Fraud => "fraud, proven by an audit",
    }
}

/// The part of the step.
pub(super) fn step(step: StepShare) -> String {
    format!("{step} of the step")
}

/// Where a proposal stands.
pub(super) fn status(status: Status) -> &'static str {
    match status {
        Status::Open => "open",
        Status::Adopted => "adopted",
        Status::NoQuorum => "no quorum",
        Status::NoMajority => "no majority",
        Status::Failed => "adopted, could not be carried out",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_times_are_written_for_people() {
        assert_eq!([count(0), count(999), count(1_234_567)], ["0", "999", "1,234,567"]);
        assert_eq!([size(512), size(60_000)], ["512 B", "58.6 KiB"]);
        assert_eq!(alpha(Alpha::from_rao(1_234_567_890_123)), "1,234.5678");
        assert_eq!(time(0), "1970-01-01 00:00:00 UTC");
        assert_eq!(time(951_827_696_000), "2000-02-29 12:34:56 UTC");
        assert_eq!(time(1_796_072_709_000), "2026-11-30 21:05:09 UTC");
        assert_eq!([seconds(12.34), seconds(61.0), seconds(7_300.0)], ["12.3 s", "1 min 1 s", "2 h 1 min"]);
        assert!(time(u64::MAX).ends_with("UTC"));
    }
}
