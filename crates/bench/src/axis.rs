//! Axes of charts, and the text on them.

/// From the lowest to the highest value.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Axis {
    /// The lowest value.
    pub low: f64,
    /// The highest.
    pub high: f64,
}

impl Axis {
    /// The axis of these values; some axis if there is one value or none.
    pub fn new(values: impl Iterator<Item = f64>) -> Self {
        let (low, high) =
            values.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| (low.min(value), high.max(value)));
        match high - low {
            span if span > 0.0 => Self { low, high },
            // One value, or none.
            _ if low.is_finite() => Self { low: low - 0.5, high: low + 0.5 },
            _ => Self { low: 0.0, high: 1.0 },
        }
    }

    /// Where a value lies, 0 to 1.
    pub fn share(self, value: f64) -> f64 {
        (value - self.low) / (self.high - self.low)
    }

    /// About five round values.
    pub fn ticks(self) -> Vec<f64> {
        let rough = (self.high - self.low) / 5.0;
        let power = 10f64.powf(rough.log10().floor());
        let step = [1.0, 2.0, 5.0, 10.0].map(|factor| factor * power).into_iter().find(|step| *step >= rough);
        let step = step.unwrap_or(rough);
        let first = (self.low / step).ceil() as i64;
        (first..first.saturating_add(12)).map(|k| k as f64 * step).take_while(|value| *value <= self.high).collect()
    }

    /// Round values of an axis of decimal logarithms: powers of ten, and twice and five times those on a short one.
    pub fn logarithmic_ticks(self) -> Vec<f64> {
        let factors: &[f64] = if self.high - self.low > 3.0 { &[1.0] } else { &[1.0, 2.0, 5.0] };
        let powers = self.low.floor() as i32..=self.high.ceil() as i32;
        let values = powers.flat_map(|power| factors.iter().map(move |factor| factor * 10f64.powi(power)));
        values.filter(|value| (self.low..=self.high).contains(&value.log10())).collect()
    }
}

/// A short form: `1.5M`, `300k`, `0.003`, `1e-5`.
pub fn number(value: f64) -> String {
    let trimmed = |text: String| match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.').to_owned(),
        false => text,
    };
    match value.abs() {
        0.0 => "0".to_owned(),
        size if size >= 1e9 => trimmed(format!("{:.2}", value / 1e9)) + "G",
        size if size >= 1e6 => trimmed(format!("{:.2}", value / 1e6)) + "M",
        size if size >= 1e4 => trimmed(format!("{:.2}", value / 1e3)) + "k",
        size if size >= 1e-4 => trimmed(format!("{value:.5}")),
        _ => format!("{value:.1e}"),
    }
}

/// Text inside an element.
pub fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_and_within() {
        assert_eq!(Axis { low: 0.3, high: 9.7 }.ticks(), [2.0, 4.0, 6.0, 8.0]);
        assert_eq!(Axis::new([5.0].into_iter()).ticks().len(), 5);
        assert_eq!([0.0, 1.5e6, 300e3, 0.003, 12.0, 2e-5].map(number), ["0", "1.5M", "300k", "0.003", "12", "2.0e-5"]);
    }

    #[test]
    fn logarithmic_ticks_are_round_and_within() {
        let rounded = |axis: Axis| axis.logarithmic_ticks().into_iter().map(number).collect::<Vec<_>>();
        assert_eq!(rounded(Axis { low: 4.5, high: 6.4 }), ["50k", "100k", "200k", "500k", "1M", "2M"]);
        assert_eq!(rounded(Axis { low: 0.5, high: 4.4 }), ["10", "100", "1000", "10k"]);
    }
}
