//! Charts as SVG, made here: lines with error bars and candles over a grid. A drawing library would bring fonts and a
//! dozen packages for what are two kinds of chart.

use crate::markup::Markup;
use std::borrow::Cow;
use std::fmt::Write;

/// The picture's size, in its own units. Narrow, so that its text can be read on a phone.
const WIDTH: f64 = 480.0;
const HEIGHT: f64 = 250.0;
const LEFT: f64 = 66.0;
const RIGHT: f64 = 20.0;
const TOP: f64 = 12.0;
const BOTTOM: f64 = 42.0;
/// Points of a line at most: a picture has no more columns.
const MOST_POINTS: usize = 400;

/// One measured value.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Point {
    /// Place on the horizontal axis.
    pub(crate) x: f64,
    /// The value.
    pub(crate) y: f64,
    /// Its standard error, where it has one.
    pub(crate) error: Option<f64>,
}

/// A line of a chart.
#[derive(Debug, Clone)]
pub(crate) struct Series {
    /// For the legend.
    pub(crate) name: Cow<'static, str>,
    /// Its values, by x.
    pub(crate) points: Vec<Point>,
}

/// Prices of an interval.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bar {
    /// Place on the horizontal axis.
    pub(crate) x: f64,
    /// Open, high, low, close.
    pub(crate) prices: [f64; 4],
}

/// A chart.
#[derive(Debug, Clone, Default)]
pub(crate) struct Chart {
    /// Names it in the page; a word of letters.
    pub(crate) id: &'static str,
    /// What it shows.
    pub(crate) title: String,
    /// What the horizontal axis counts.
    pub(crate) x: &'static str,
    /// What the vertical axis measures, with its unit.
    pub(crate) y: &'static str,
    /// Its lines.
    pub(crate) series: Vec<Series>,
    /// Its candles.
    pub(crate) bars: Vec<Bar>,
}

/// How values become places.
struct Scale {
    x: (f64, f64),
    y: (f64, f64),
}

impl Scale {
    fn across(&self, x: f64) -> f64 {
        LEFT + (x - self.x.0) / (self.x.1 - self.x.0) * (WIDTH - LEFT - RIGHT)
    }

    fn down(&self, y: f64) -> f64 {
        TOP + (self.y.1 - y) / (self.y.1 - self.y.0) * (HEIGHT - TOP - BOTTOM)
    }
}

/// A range that holds these values and is not empty; none where there is no value.
fn range(values: impl Iterator<Item = f64>, margin: f64) -> Option<(f64, f64)> {
    let (low, high) = values
        .filter(|value| value.is_finite())
        .fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| (low.min(value), high.max(value)));
    if low > high {
        return None;
    }
    let spread = high - low;
    let around = if spread > 0.0 { spread * margin } else { (low.abs() * 0.05).max(0.5) };
    Some((low - around, high + around))
}

/// Round numbers within a range, about four of them.
fn ticks((low, high): (f64, f64), whole: bool) -> Vec<f64> {
    let rough = (high - low) / 4.0;
    let power = 10f64.powf(rough.log10().floor());
    let step = [1.0, 2.0, 5.0, 10.0].into_iter().map(|step| step * power).find(|step| *step >= rough);
    let step = step.unwrap_or(rough).max(if whole { 1.0 } else { f64::MIN_POSITIVE });
    let first = (low / step).ceil();
    (0..12).map(|number| (first + f64::from(number)) * step).take_while(|tick| *tick <= high).collect()
}

/// A number in few characters.
pub(crate) fn short(value: f64) -> String {
    let size = value.abs();
    match size {
        _ if !value.is_finite() => "?".to_owned(),
        0.0 => "0".to_owned(),
        _ if size >= 1e9 => format!("{}G", round(value / 1e9)),
        _ if size >= 1e6 => format!("{}M", round(value / 1e6)),
        _ if size >= 1e4 => format!("{}k", round(value / 1e3)),
        _ if size >= 100.0 => format!("{value:.0}"),
        _ if size < 1e-3 => format!("{value:.1e}"),
        _ => {
            let text = format!("{value:.3}");
            text.trim_end_matches('0').trim_end_matches('.').to_owned()
        }
    }
}

impl Chart {
    /// The chart as a figure, or a sentence where it has no value yet.
    pub(crate) fn draw(&self) -> Markup {
        let caption = Markup::with_text("figcaption", &self.title);
        let Some(scale) = self.scale() else {
            let none = Markup::tag("p", &[("class", &"none")], Markup::text("Nothing to draw yet."));
            return Markup::tag("figure", &[("id", &self.id)], caption.then(none));
        };
        let mut inside = Markup::with_text("title", &self.title).then(self.axes(&scale));
        for (number, series) in self.series.iter().enumerate() {
            inside.push(line(&scale, series, number));
        }
        inside.push(self.bars.iter().map(|bar| candle(&scale, bar, self.bars.len())).collect());
        let view = format!("0 0 {WIDTH} {HEIGHT}");
        let label = self.summary();
        let svg = Markup::tag("svg", &[("viewBox", &view), ("role", &"img"), ("aria-label", &label)], inside);
        Markup::tag("figure", &[("id", &self.id)], caption.then(svg).then(self.legend()))
    }

    /// The chart in a sentence, for who hears it.
    fn summary(&self) -> String {
        let mut text = self.title.clone();
        for series in &self.series {
            if let (Some(first), Some(last)) = (series.points.first(), series.points.last()) {
                let (from, to) = (short(first.y), short(last.y));
                let _ = write!(
                    text,
                    "; {}: {from} at {} {}, {to} at {}",
                    series.name,
                    self.x,
                    short(first.x),
                    short(last.x)
                );
            }
        }
        text
    }

    fn legend(&self) -> Markup {
        if self.series.len() < 2 {
            return Markup::default();
        }
        let entry = |(number, series): (usize, &Series)| {
            let class = format!("key s{number}");
            let swatch = Markup::tag("span", &[("class", &class), ("aria-hidden", &"true")], Markup::default());
            Markup::tag("li", &[], swatch.then(Markup::text(&series.name)))
        };
        Markup::tag("ul", &[("class", &"legend")], self.series.iter().enumerate().map(entry).collect())
    }

    fn scale(&self) -> Option<Scale> {
        let points = || self.series.iter().flat_map(|series| &series.points);
        let xs = points().map(|point| point.x).chain(self.bars.iter().map(|bar| bar.x));
        let ys = points().flat_map(|point| {
            let error = point.error.filter(|error| error.is_finite()).unwrap_or(0.0);
            [point.y - error, point.y + error]
        });
        let ys = ys.chain(self.bars.iter().flat_map(|bar| bar.prices));
        Some(Scale { x: range(xs, 0.02)?, y: range(ys, 0.06)? })
    }

    fn axes(&self, scale: &Scale) -> Markup {
        let (right, bottom) = (WIDTH - RIGHT, HEIGHT - BOTTOM);
        let mut all = Markup::default();
        for tick in ticks(scale.y, false) {
            let y = round(scale.down(tick));
            all.push(segment("grid", (LEFT, y), (right, y)));
            all.push(label("end", (LEFT - 6.0, y + 4.0), &short(tick)));
        }
        for tick in ticks(scale.x, true) {
            let x = round(scale.across(tick));
            all.push(segment("grid", (x, bottom), (x, bottom + 4.0)));
            all.push(label("middle", (x, bottom + 17.0), &short(tick)));
        }
        all.push(segment("axis", (LEFT, bottom), (right, bottom)));
        all.push(label("middle", ((LEFT + right) / 2.0, HEIGHT - 6.0), self.x));
        let (x, y) = (13.0, (TOP + bottom) / 2.0);
        let turned = format!("rotate(-90 {x} {y})");
        let attributes: [(&'static str, &dyn std::fmt::Display); 4] =
            [("x", &x), ("y", &y), ("text-anchor", &"middle"), ("transform", &turned)];
        all.then(Markup::tag("text", &attributes, Markup::text(self.y)))
    }
}

/// A tenth of a unit is finer than any screen.
fn round(value: f64) -> f64 {
    (value * 10.0).round() / 10.0
}

fn segment(class: &str, from: (f64, f64), to: (f64, f64)) -> Markup {
    Markup::void("line", &[("class", &class), ("x1", &from.0), ("y1", &from.1), ("x2", &to.0), ("y2", &to.1)])
}

fn label(anchor: &str, at: (f64, f64), text: &str) -> Markup {
    Markup::tag("text", &[("x", &round(at.0)), ("y", &round(at.1)), ("text-anchor", &anchor)], Markup::text(text))
}

/// The points of a line, of which long ones keep every n-th and the last.
fn thinned(points: &[Point]) -> Vec<Point> {
    let finite: Vec<Point> =
        points.iter().copied().filter(|point| point.x.is_finite() && point.y.is_finite()).collect();
    let every = finite.len().div_ceil(MOST_POINTS).max(1);
    let last = finite.len().saturating_sub(1);
    finite.iter().enumerate().filter(|(at, _)| at % every == 0 || *at == last).map(|(_, point)| *point).collect()
}

fn line(scale: &Scale, series: &Series, number: usize) -> Markup {
    let points = thinned(&series.points);
    let (mut path, mut marks) = (String::new(), Markup::default());
    for (at, point) in points.iter().enumerate() {
        let (x, y) = (round(scale.across(point.x)), round(scale.down(point.y)));
        let _ = write!(path, "{}{x} {y}", if at == 0 { "M" } else { " L" });
        if let Some(error) = point.error.filter(|error| error.is_finite()) {
            let (top, bottom) = (round(scale.down(point.y + error)), round(scale.down(point.y - error)));
            marks.push(segment("error", (x, top), (x, bottom)));
        }
        if points.len() <= 60 {
            marks.push(Markup::void("circle", &[("cx", &x), ("cy", &y), ("r", &2.4)]));
        }
    }
    let class = format!("series s{number}");
    Markup::tag("g", &[("class", &class)], Markup::void("path", &[("d", &path)]).then(marks))
}

fn candle(scale: &Scale, bar: &Bar, count: usize) -> Markup {
    let [open, high, low, close] = bar.prices;
    let x = round(scale.across(bar.x));
    let width = ((WIDTH - LEFT - RIGHT) / (count as f64 * 1.6)).clamp(1.0, 14.0);
    let (top, bottom) = (scale.down(open.max(close)), scale.down(open.min(close)));
    let (left, height) = (round(x - width / 2.0), round((bottom - top).max(1.0)));
    let body = Markup::void("rect", &[("x", &left), ("y", &round(top)), ("width", &round(width)), ("height", &height)]);
    let class = if close < open { "candle falls" } else { "candle rises" };
    let wick = segment("wick", (x, round(scale.down(high))), (x, round(scale.down(low))));
    Markup::tag("g", &[("class", &class)], wick.then(body))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chart(points: Vec<Point>) -> Chart {
        let series = vec![Series { name: "loss <b>".into(), points }];
        Chart { id: "loss", title: "loss & tokens".to_owned(), x: "window", y: "nats", series, bars: Vec::new() }
    }

    #[test]
    fn values_that_are_no_numbers_leave_a_chart_whole() {
        let point = |x, y| Point { x, y, error: Some(f64::NAN) };
        let drawn = chart(vec![point(0.0, f64::NAN), point(1.0, f64::INFINITY), point(2.0, 3.0)]).draw().into_string();
        assert!(!drawn.contains("NaN") && !drawn.contains("inf"), "{drawn}");
        assert!(drawn.contains("loss &amp; tokens") && drawn.contains("loss &lt;b&gt;"), "{drawn}");
        assert!(chart(Vec::new()).draw().into_string().contains("Nothing to draw yet"));
    }

    #[test]
    fn a_long_line_is_thinned_and_keeps_its_ends() {
        let points: Vec<Point> = (0..10_000).map(|x| Point { x: f64::from(x), y: 1.0, error: None }).collect();
        let thin = thinned(&points);
        assert!(thin.len() <= MOST_POINTS + 1, "{}", thin.len());
        assert_eq!((thin[0].x, thin[thin.len() - 1].x), (0.0, 9_999.0));
    }

    #[test]
    fn ticks_are_round_numbers_within_their_range() {
        assert_eq!(ticks((0.0, 10.0), true), [0.0, 5.0, 10.0]);
        assert_eq!(ticks((4.2, 8.6), false), [6.0, 8.0]);
        assert_eq!(ticks((0.0, 1.0), true), [0.0, 1.0]);
        assert_eq!([short(0.0), short(1234567.0), short(8.33), short(0.00001)], ["0", "1.2M", "8.33", "1.0e-5"]);
    }
}
