//! The held-out loss over the windows: a braille curve between labelled axes, and its first and newest value in words.

use crate::text::{Theme, fit, width};
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::symbols::Marker;
use ratatui::text::{Line, Span};
use ratatui::widgets::Widget;
use ratatui::widgets::canvas::{Canvas, Line as Stroke, Points};
use templar_base::Window;
use templar_localnet::{View, ViewSource};

/// Rows under which a curve says less than its two numbers.
pub const LEAST_ROWS: u16 = 4;
const LEAST_COLUMNS: u16 = 30;
/// A loss beyond this is a fault; drawn, it would make a flat line of all others.
const GREATEST_LOSS: f64 = 1e3;
/// A curve that is flat is drawn in a span of so many nats, so that rounding does not look like a mountain.
const LEAST_SPAN: f64 = 0.01;

/// The values that can be shown, oldest first.
fn shown(view: &View) -> Vec<(Window, f64)> {
    view.curve.iter().filter(|(_, loss)| loss.abs() <= GREATEST_LOSS).copied().collect()
}

/// The first and the newest value in words, or what the screen waits for where there is none.
pub fn caption<'a>(view: &View, theme: Theme, columns: usize) -> Line<'a> {
    let curve = shown(view);
    let (Some((first, first_loss)), Some((newest, loss))) = (curve.first(), curve.last()) else {
        let waits_for = waits_for(view);
        let text = if width(waits_for) <= columns { waits_for } else { "no loss yet" };
        return Line::styled(fit(text, columns), theme.dim());
    };
    let newest_loss = format!("{loss:.4}");
    // The public record has no held-out losses.
    let name = if view.source == ViewSource::Record { "loss when judged" } else { "held-out loss" };
    let mut variants = vec![
        [format!("{name} {first_loss:.4} nats per token at window {first}, "), format!(" at window {newest}")],
        [format!("{name} {first_loss:.4} → "), format!(" nats at window {newest}")],
        [format!("{name} "), " nats".to_owned()],
        ["loss ".to_owned(), String::new()],
    ];
    if first == newest {
        variants.splice(0..2, [[format!("{name} "), format!(" nats per token at window {newest}")]]);
    }
    let fits = |[before, after]: &&[String; 2]| width(before) + width(&newest_loss) + width(after) <= columns;
    let [before, after] = variants.iter().find(fits).unwrap_or(&variants[variants.len() - 1]).clone();
    Line::from(vec![Span::raw(before), Span::styled(newest_loss, theme.strong()), Span::raw(after)])
}

fn waits_for(view: &View) -> &'static str {
    if view.source == ViewSource::Record {
        "The curve begins when a window was judged whose verdict can be read."
    } else if view.window.is_none() {
        "The curve begins when the run does: the nodes come up, and window 0 is near."
    } else if !view.nodes.iter().any(|node| node.is_alive) {
        "The curve begins when the nodes are up and a validator has measured the held-out loss."
    } else {
        "The curve begins when a validator has measured the loss on held-out text."
    }
}

/// Draws the curve with its axes, where it has values and the area is large enough.
pub fn draw(view: &View, theme: Theme, area: Rect, buffer: &mut Buffer) {
    let curve = shown(view);
    if curve.is_empty() || area.height < LEAST_ROWS || area.width < LEAST_COLUMNS {
        return;
    }
    let plot_rows = area.height - 2;
    let scale = Scale::over(&curve, usize::from(plot_rows));
    let labels: Vec<(u16, String)> = scale
        .ticks
        .iter()
        .map(|tick| (scale.row(*tick, plot_rows), format!("{tick:.*} nat", scale.decimals)))
        .collect();
    let margin = labels.iter().map(|(_, label)| width(label)).max().unwrap_or(0) as u16;
    let plot = Rect::new(area.x + margin + 2, area.y, area.width.saturating_sub(margin + 2), plot_rows);
    if plot.width < 4 {
        return;
    }
    for row in 0..plot_rows {
        let label = labels.iter().find(|(at, _)| *at == row).map(|(_, label)| label.as_str());
        let axis = if label.is_some() { "┤" } else { "│" };
        let text = format!("{:>margin$} {axis}", label.unwrap_or_default(), margin = usize::from(margin));
        buffer.set_string(area.x, area.y + row, text, theme.dim());
    }
    let bottom = format!("└{}", "─".repeat(usize::from(plot.width)));
    buffer.set_string(plot.x - 1, plot.bottom(), bottom, theme.dim());
    window_labels(&curve, plot, theme.dim(), buffer);
    draw_curve(&curve, &scale, plot, theme, buffer);
}

/// The windows under the axis: the first at its left end, the newest at its right end, one between where there is room.
fn window_labels(curve: &[(Window, f64)], plot: Rect, style: Style, buffer: &mut Buffer) {
    let (first, newest) = (curve[0].0, curve[curve.len() - 1].0);
    let row = plot.bottom() + 1;
    let left = format!("window {first}");
    buffer.set_stringn(plot.x, row, &left, usize::from(plot.width), style);
    let right = format!("window {newest}");
    if first == newest || width(&left) + width(&right) + 2 > usize::from(plot.width) {
        return;
    }
    buffer.set_string(plot.right() - width(&right) as u16, row, &right, style);
    let span = newest.windows_since(first);
    let middle = first.plus(span / 2);
    let text = middle.to_string();
    if plot.width >= 50 && span >= 4 {
        let share = middle.windows_since(first) as f64 / span as f64;
        let centre = plot.x + (share * f64::from(plot.width - 1)).round() as u16;
        buffer.set_string(centre - (width(&text) / 2) as u16, row, &text, style);
    }
}

fn draw_curve(curve: &[(Window, f64)], scale: &Scale, plot: Rect, theme: Theme, buffer: &mut Buffer) {
    let points = thin_out(curve, usize::from(plot.width) * 2);
    let (first, newest) = (points[0].0, points[points.len() - 1].0);
    // A single value stands in the middle.
    let x_bounds = if first == newest { [first - 1.0, first + 1.0] } else { [first, newest] };
    let colour = theme.line().fg.unwrap_or_default();
    Canvas::default()
        .marker(Marker::Braille)
        .x_bounds(x_bounds)
        .y_bounds([scale.low, scale.high])
        .paint(|context| {
            context.draw(&Points { coords: &points[..1], color: colour });
            for pair in points.windows(2) {
                context.draw(&Stroke { x1: pair[0].0, y1: pair[0].1, x2: pair[1].0, y2: pair[1].1, color: colour });
            }
        })
        .render(plot, buffer);
}

/// At most about `most` points: of each stretch of a longer curve its lowest and its highest value, so that no spike is
/// lost, and always the first and the newest.
fn thin_out(curve: &[(Window, f64)], most: usize) -> Vec<(f64, f64)> {
    let as_point = |(window, loss): &(Window, f64)| (window.0 as f64, *loss);
    if curve.len() <= most.max(4) {
        return curve.iter().map(as_point).collect();
    }
    let stretch = curve.len().div_ceil((most / 2).max(2));
    let mut points: Vec<(f64, f64)> = curve.first().map(as_point).into_iter().collect();
    for part in curve.chunks(stretch) {
        let lowest = part.iter().min_by(|a, b| a.1.total_cmp(&b.1));
        let highest = part.iter().max_by(|a, b| a.1.total_cmp(&b.1));
        let mut both: Vec<_> = lowest.into_iter().chain(highest).map(as_point).collect();
        both.sort_by(|a, b| a.0.total_cmp(&b.0));
        points.extend(both);
    }
    points.extend(curve.last().map(as_point));
    points.dedup();
    points
}

/// The axis of losses: it spans the values, and round numbers between them are named.
#[derive(Debug, Clone, PartialEq)]
struct Scale {
    low: f64,
    high: f64,
    /// Round numbers between the ends, at least two, the lowest first.
    ticks: Vec<f64>,
    /// Decimals that tell the ticks apart.
    decimals: usize,
}

impl Scale {
    /// A scale over all values of a curve that is not empty, for `rows` rows.
    fn over(curve: &[(Window, f64)], rows: usize) -> Self {
        let least = curve.iter().map(|(_, loss)| *loss).fold(f64::INFINITY, f64::min);
        let greatest = curve.iter().map(|(_, loss)| *loss).fold(f64::NEG_INFINITY, f64::max);
        let middle = (least + greatest) / 2.0;
        let span = (greatest - least).max(LEAST_SPAN);
        let (low, high) = (least.min(middle - span / 2.0), greatest.max(middle + span / 2.0));
        let wanted = (rows / 5).clamp(2, 8);
        // From coarse to fine: the first step that puts enough round numbers between the ends.
        let mut power = span.log10().ceil() as i32;
        loop {
            for factor in [5.0, 2.0, 1.0] {
                let step = factor * 10f64.powi(power - 1);
                let (first, last) = ((low / step).ceil() as i64, (high / step).floor() as i64);
                if last - first + 1 >= wanted as i64 {
                    let ticks = (first..=last).map(|tick| tick as f64 * step).collect();
                    return Self { low, high, ticks, decimals: usize::try_from(1 - power).unwrap_or(0) };
                }
            }
            power -= 1;
        }
    }

    /// The row of a value, counted from the top of `rows` rows.
    fn row(&self, value: f64, rows: u16) -> u16 {
        let share = (self.high - value) / (self.high - self.low);
        (share * f64::from(rows - 1)).round() as u16
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn curve(losses: &[f64]) -> Vec<(Window, f64)> {
        losses.iter().enumerate().map(|(window, loss)| (Window(window as u64), *loss)).collect()
    }

    #[test]
    fn axes_have_round_numbers_around_all_values() {
        let scale = Scale::over(&curve(&[8.3174, 6.0, 5.1023]), 9);
        assert_eq!((scale.low, scale.high, scale.decimals), (5.1023, 8.3174, 0));
        assert_eq!(scale.ticks, [6.0, 8.0]);
        let flat = Scale::over(&curve(&[5.0]), 9);
        assert!(flat.low < 5.0 && flat.high > 5.0, "{flat:?}");
        for losses in [&[0.0, 1e3][..], &[-1e3, 1e3], &[1e-9, 2e-9], &[7.0, 7.0], &[3.2, 3.21]] {
            for rows in 1..60 {
                let scale = Scale::over(&curve(losses), rows);
                assert!(losses.iter().all(|loss| scale.low <= *loss && *loss <= scale.high), "{losses:?}: {scale:?}");
                assert!((2..=25).contains(&scale.ticks.len()), "{losses:?} in {rows}: {scale:?}");
                assert!(scale.ticks.iter().all(|tick| scale.row(*tick, 9) < 9), "{losses:?}: {scale:?}");
            }
        }
    }

    #[test]
    fn long_curves_keep_their_ends_and_spikes() {
        let mut losses: Vec<f64> = (0..10_000).map(|n| 8.0 - f64::from(n) / 2_000.0).collect();
        losses[5_001] = 9.5;
        let points = thin_out(&curve(&losses), 100);
        assert!(points.len() <= 102, "{} points", points.len());
        assert!(points.contains(&(5_001.0, 9.5)));
        assert_eq!((points[0].0, points[points.len() - 1].0), (0.0, 9_999.0));
        assert!(points.windows(2).all(|pair| pair[0].0 <= pair[1].0));
    }
}
