//! Charts as SVG: lines and dots over common axes, one chart below the other.
//!
//! Written by hand rather than with a plotting crate: the newest release of `plotters` is of 2024, and it measures text
//! for SVG only with a font library.

use std::fmt::Write;

/// Colours that people with any colour vision can distinguish (Okabe and Ito), and a grey.
const COLOURS: [&str; 8] = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000", "#999999"];

const LEFT: f64 = 70.0;
const TOP: f64 = 34.0;
const BELOW: f64 = 26.0;
/// Space beside a chart for its legend.
const LEGEND: f64 = 250.0;
/// A line of more points than this is thinned out: no screen shows more.
const MOST_POINTS: usize = 2000;

/// How a series is drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Style {
    Line,
    Thin,
    Dots,
}

/// Points in order of x.
#[derive(Debug, Clone, PartialEq)]
pub struct Series {
    /// (x, y); what is not finite is left out.
    pub points: Vec<(f64, f64)>,
    number: usize,
    name: String,
    style: Style,
}

impl Series {
    /// A line in the colour of this number; the legend has its name if it is not empty.
    pub fn line(number: usize, name: String, points: Vec<(f64, f64)>) -> Self {
        Self { points, number, name, style: Style::Line }
    }

    /// The same, in the background.
    pub fn thin(self) -> Self {
        Self { style: Style::Thin, ..self }
    }

    /// The same as dots.
    pub fn dots(self) -> Self {
        Self { style: Style::Dots, ..self }
    }

    fn colour(&self) -> &'static str {
        COLOURS[self.number % COLOURS.len()]
    }

    /// Lines beyond the number of colours are dashed.
    fn dashes(&self) -> &'static str {
        if self.number < COLOURS.len() { "" } else { " stroke-dasharray=\"5 3\"" }
    }
}

/// Series with common axes.
#[derive(Debug, Clone, PartialEq)]
pub struct Chart {
    /// Title.
    pub title: String,
    /// What is drawn, the first at the back.
    pub series: Vec<Series>,
}

/// Charts with one horizontal axis.
#[derive(Debug, Clone, PartialEq)]
pub struct Page {
    /// The charts, from top to bottom.
    pub charts: Vec<Chart>,
    /// What the horizontal axis has.
    pub x_name: String,
    /// Whether the horizontal axis is logarithmic; points at 0 or below are left out then.
    pub is_logarithmic: bool,
    /// Height of one chart's area; its width is 760.
    pub height: f64,
    /// Whether the legends are beside the charts; else they are within, at the top right.
    pub is_legend_beside: bool,
}

const WIDTH: f64 = 760.0;

impl Page {
    /// The text of an SVG file; only frames where there is nothing to draw.
    pub fn svg(&self) -> String {
        let right = if self.is_legend_beside { LEGEND } else { 20.0 };
        let (width, each) = (LEFT + WIDTH + right, TOP + self.height + BELOW);
        let height = each * self.charts.len() as f64 + 20.0;
        let mut svg = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" width=\"{width}\" \
             height=\"{height}\" font-family=\"sans-serif\" font-size=\"12\">\n\
             <rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n"
        );
        let all = self.charts.iter().flat_map(|chart| &chart.series).flat_map(|series| self.visible(series));
        let x_axis = Axis::new(all.map(|point| point.0));
        for (number, chart) in self.charts.iter().enumerate() {
            // Writing to a text cannot fail.
            let _ = self.draw(&mut svg, chart, x_axis, each * number as f64 + TOP);
        }
        let (x, y, name) = (LEFT + WIDTH, height - 6.0, escaped(&self.x_name));
        let _ = writeln!(svg, "<text x=\"{x}\" y=\"{y}\" text-anchor=\"end\">{name}</text>");
        svg + "</svg>\n"
    }

    /// The points that can be drawn, x in units of the axis.
    fn visible<'a>(&self, series: &'a Series) -> impl Iterator<Item = (f64, f64)> + use<'a> {
        let is_logarithmic = self.is_logarithmic;
        let points = series.points.iter().map(move |&(x, y)| (if is_logarithmic { x.log10() } else { x }, y));
        points.filter(|(x, y)| x.is_finite() && y.is_finite())
    }

    fn draw(&self, svg: &mut String, chart: &Chart, x_axis: Axis, top: f64) -> std::fmt::Result {
        let y_axis = Axis::new(chart.series.iter().flat_map(|series| self.visible(series)).map(|point| point.1));
        let (right, bottom) = (LEFT + WIDTH, top + self.height);
        let place = |(x, y): (f64, f64)| (LEFT + WIDTH * x_axis.share(x), bottom - self.height * y_axis.share(y));
        let title = escaped(&chart.title);
        writeln!(svg, "<text x=\"{LEFT}\" y=\"{}\" font-weight=\"bold\">{title}</text>", top - 12.0)?;
        for value in y_axis.ticks() {
            let ((_, y), label) = (place((x_axis.low, value)), number(value));
            writeln!(svg, "<line x1=\"{LEFT}\" y1=\"{y:.1}\" x2=\"{right}\" y2=\"{y:.1}\" stroke=\"#e0e0e0\"/>")?;
            writeln!(svg, "<text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{label}</text>", LEFT - 6.0, y + 4.0)?;
        }
        for value in if self.is_logarithmic { x_axis.logarithmic_ticks() } else { x_axis.ticks() } {
            let at = if self.is_logarithmic { value.log10() } else { value };
            let ((x, _), label) = (place((at, y_axis.low)), number(value));
            writeln!(svg, "<line x1=\"{x:.1}\" y1=\"{top}\" x2=\"{x:.1}\" y2=\"{bottom}\" stroke=\"#f0f0f0\"/>")?;
            writeln!(svg, "<text x=\"{x:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{label}</text>", bottom + 16.0)?;
        }
        for series in &chart.series {
            self.draw_series(svg, series, &place)?;
        }
        for (line, series) in chart.series.iter().filter(|series| !series.name.is_empty()).enumerate() {
            let (y, name, colour) = (top + 14.0 + 16.0 * line as f64, escaped(&series.name), series.colour());
            if self.is_legend_beside {
                let (x, middle, dashes) = (right + 12.0, y - 4.0, series.dashes());
                let end = x + 18.0;
                writeln!(
                    svg,
                    "<line x1=\"{x}\" x2=\"{end}\" y1=\"{middle}\" y2=\"{middle}\" stroke=\"{colour}\" \
                     stroke-width=\"2\"{dashes}/>\n<text x=\"{}\" y=\"{y}\">{name}</text>",
                    end + 6.0
                )?;
            } else {
                let x = right - 8.0;
                writeln!(svg, "<text x=\"{x}\" y=\"{y}\" text-anchor=\"end\" fill=\"{colour}\">{name}</text>")?;
            }
        }
        Ok(())
    }

    fn draw_series(
        &self,
        svg: &mut String,
        series: &Series,
        place: &dyn Fn((f64, f64)) -> (f64, f64),
    ) -> std::fmt::Result {
        let (colour, dashes) = (series.colour(), series.dashes());
        if series.style == Style::Dots {
            for point in self.visible(series) {
                let (x, y) = place(point);
                writeln!(svg, "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"2.5\" fill=\"{colour}\"/>")?;
            }
            return Ok(());
        }
        let stride = series.points.len().div_ceil(MOST_POINTS).max(1);
        let points: Vec<String> = self
            .visible(series)
            .step_by(stride)
            .map(|point| {
                let (x, y) = place(point);
                format!("{x:.1},{y:.1}")
            })
            .collect();
        let (thickness, opacity) = if series.style == Style::Thin { (0.7, 0.35) } else { (1.8, 1.0) };
        writeln!(
            svg,
            "<polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"{thickness}\" \
             stroke-opacity=\"{opacity}\"{dashes}/>",
            points.join(" ")
        )
    }
}

/// From the lowest to the highest value.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Axis {
    /// The lowest value.
    low: f64,
    /// The highest.
    high: f64,
}

impl Axis {
    /// The axis of these values; some axis if there is one value or none.
    fn new(values: impl Iterator<Item = f64>) -> Self {
        let (low, high) =
            values.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| (low.min(value), high.max(value)));
        match high - low {
            span if span > 0.0 => Self { low, high },
            // One value, or none.
            _ if low.is_finite() => Self { low: low - 0.5, high: low + 0.5 },
            _ => Self { low: 0.0, high: 1.0 },
        }
    }

    /// The place of a value, 0 to 1.
    fn share(self, value: f64) -> f64 {
        (value - self.low) / (self.high - self.low)
    }

    /// About five round values.
    fn ticks(self) -> Vec<f64> {
        let rough = (self.high - self.low) / 5.0;
        let power = 10f64.powf(rough.log10().floor());
        let step = [1.0, 2.0, 5.0, 10.0].map(|factor| factor * power).into_iter().find(|step| *step >= rough);
        let step = step.unwrap_or(rough);
        let first = (self.low / step).ceil() as i64;
        (first..first.saturating_add(12)).map(|k| k as f64 * step).take_while(|value| *value <= self.high).collect()
    }

    /// Round values of an axis of decimal logarithms: powers of ten, and twice and five times those on a short one.
    fn logarithmic_ticks(self) -> Vec<f64> {
        let factors: &[f64] = if self.high - self.low > 3.0 { &[1.0] } else { &[1.0, 2.0, 5.0] };
        let powers = self.low.floor() as i32..=self.high.ceil() as i32;
        let values = powers.flat_map(|power| factors.iter().map(move |factor| factor * 10f64.powi(power)));
        values.filter(|value| (self.low..=self.high).contains(&value.log10())).collect()
    }
}

/// A short form: `1.5M`, `300k`, `0.003`, `1e-5`.
fn number(value: f64) -> String {
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
fn escaped(text: &str) -> String {
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

    fn page(series: Vec<Series>, is_logarithmic: bool) -> Page {
        let charts = vec![Chart { title: "loss".to_owned(), series }];
        Page { charts, x_name: "steps".to_owned(), is_logarithmic, height: 240.0, is_legend_beside: is_logarithmic }
    }

    #[test]
    fn a_chart_holds_its_lines_dots_and_names() {
        let line = Series::line(0, "a<b".into(), (0..5000).map(|x| (f64::from(x), f64::from(x % 7))).collect());
        let dots = Series::line(1, String::new(), vec![(1.0, 2.0), (3.0, 4.0)]).dots();
        let svg = page(vec![line, dots], false).svg();
        assert!(svg.starts_with("<svg ") && svg.ends_with("</svg>\n"));
        assert_eq!((svg.matches("<polyline").count(), svg.matches("<circle").count()), (1, 2));
        assert!(svg.contains("a&lt;b") && !svg.contains("NaN") && !svg.contains("inf"));
        assert!(svg.len() < 60_000);
        let empty = page(vec![Series::line(0, String::new(), Vec::new())], false).svg();
        assert!(!empty.contains("NaN") && !empty.contains("inf"), "{empty}");
    }

    #[test]
    fn curves_stay_in_their_frame() {
        let curve = |number, name: &str, points| Series::line(number, name.to_owned(), points);
        let curves = vec![curve(0, "a < b", vec![(0.0, 9.0), (1e3, 4.0), (1e6, 2.0)]), curve(1, "none", Vec::new())];
        for is_logarithmic in [false, true] {
            let svg = page(curves.clone(), is_logarithmic).svg();
            assert!(svg.contains("a &lt; b") && !svg.contains("NaN") && !svg.contains("inf"));
        }
        assert!(!page(Vec::new(), true).svg().contains("NaN"));
    }
}
