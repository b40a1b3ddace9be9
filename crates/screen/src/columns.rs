//! Curves of characters alone, for output that stays in the terminal.

/// Rows of a chart.
const HEIGHT: usize = 10;
/// The most columns of a chart; beyond that neighbouring values are averaged.
const WIDTH: usize = 72;
/// How full a cell is, from an eighth to all of it.
const LEVELS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// Draws `values` as columns over a scale from the least of them to the most, or from 0 where `from_zero`; the
/// scale's ends are at the left. Empty where there are no values.
pub fn column_chart(values: &[f64], from_zero: bool, label: impl Fn(f64) -> String) -> String {
    let columns = squeezed(values);
    let Some(most) = columns.iter().copied().reduce(f64::max) else { return String::new() };
    let least = columns.iter().copied().fold(if from_zero { 0.0 } else { most }, f64::min);
    let (top, bottom) = (label(most), label(least));
    let width = top.chars().count().max(bottom.chars().count());
    let span = most - least;
    // A flat curve is drawn in the middle.
    let filled = |value: f64| if span > 0.0 { (value - least) / span } else { 0.5 };
    let mut text = String::new();
    for row in (0..HEIGHT).rev() {
        let margin = match row {
            _ if row == HEIGHT - 1 => top.as_str(),
            0 => bottom.as_str(),
            _ => "",
        };
        let cells: String = columns.iter().map(|value| cell(filled(*value), row)).collect();
        text += &format!("{margin:>width$} │{}\n", cells.trim_end());
    }
    text
}

/// The character of one column in one row, where the column is filled to a part of the chart's height.
fn cell(filled: f64, row: usize) -> char {
    let eighths = (filled * (HEIGHT * LEVELS.len()) as f64).round().max(1.0) as usize;
    match eighths.saturating_sub(row * LEVELS.len()) {
        0 => ' ',
        within => LEVELS[within.min(LEVELS.len()) - 1],
    }
}

/// At most as many values as there are columns: the mean of each group.
fn squeezed(values: &[f64]) -> Vec<f64> {
    let group = values.len().div_ceil(WIDTH).max(1);
    values.chunks(group).map(|chunk| chunk.iter().sum::<f64>() / chunk.len() as f64).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_curve_fills_the_chart_from_the_least_to_the_most() {
        let text = column_chart(&[1.0, 2.0, 3.0], false, |value| format!("{value:.1}"));
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!((lines.len(), lines[0], lines[9]), (HEIGHT, "3.0 │  █", "1.0 │▁██"));
        assert_eq!(column_chart(&[], false, |_| String::new()), "");
        let flat = column_chart(&[5.0; 4], false, |value| format!("{value}"));
        assert!(flat.lines().nth(5).unwrap().contains("████"), "{flat}");
    }

    #[test]
    fn more_values_than_columns_are_taken_together() {
        let values: Vec<f64> = (0..1000).map(f64::from).collect();
        let text = column_chart(&values, true, |value| format!("{value:.0}"));
        assert!(text.lines().all(|line| line.chars().count() <= WIDTH + 8), "{text}");
    }
}
