//! Charts one below the other, as SVG.

use std::fmt::Write;
use templar_bench::axis::{Axis, escaped, number};

/// Colours that people with any colour vision tell apart (Okabe and Ito).
const COLOURS: [&str; 7] = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000"];

/// Size of one chart's area, and what is around it.
const WIDTH: f64 = 760.0;
const HEIGHT: f64 = 240.0;
const LEFT: f64 = 70.0;
const TOP: f64 = 34.0;
const BELOW: f64 = 26.0;
/// A line of more points than this is thinned out: nobody sees more.
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
    /// (x, y), all finite.
    pub points: Vec<(f64, f64)>,
    colour: &'static str,
    name: String,
    style: Style,
}

impl Series {
    /// A line of the colour of a run; a name stands in the legend if it is not empty.
    pub fn line(run: usize, name: String, points: Vec<(f64, f64)>) -> Self {
        Self { points, colour: COLOURS[run % COLOURS.len()], name, style: Style::Line }
    }

    /// The same, in the background.
    pub fn thin(self) -> Self {
        Self { style: Style::Thin, ..self }
    }

    /// The same as dots.
    pub fn dots(self) -> Self {
        Self { style: Style::Dots, ..self }
    }
}

/// Series with common axes.
pub struct Chart {
    /// Stands above it.
    pub title: &'static str,
    /// What is drawn, the first at the back.
    pub series: Vec<Series>,
}

/// The text of an SVG file with these charts one below the other.
pub fn draw(charts: &[Chart], x_name: &str) -> String {
    let (width, each) = (LEFT + WIDTH + 20.0, TOP + HEIGHT + BELOW);
    let height = each * charts.len() as f64 + 20.0;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" width=\"{width}\" \
         height=\"{height}\" font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n"
    );
    let all = charts.iter().flat_map(|chart| &chart.series).flat_map(|series| &series.points);
    let x_axis = Axis::new(all.map(|point| point.0));
    for (number, chart) in charts.iter().enumerate() {
        let top = each * number as f64 + TOP;
        // Writing to a text cannot fail.
        let _ = draw_chart(&mut svg, chart, x_axis, top);
    }
    let _ = writeln!(svg, "<text x=\"{}\" y=\"{}\" text-anchor=\"end\">{x_name}</text>", LEFT + WIDTH, height - 6.0);
    svg + "</svg>\n"
}

fn draw_chart(svg: &mut String, chart: &Chart, x_axis: Axis, top: f64) -> std::fmt::Result {
    let y_axis = Axis::new(chart.series.iter().flat_map(|series| &series.points).map(|point| point.1));
    let place = |(x, y): (f64, f64)| (LEFT + WIDTH * x_axis.share(x), top + HEIGHT * (1.0 - y_axis.share(y)));
    writeln!(svg, "<text x=\"{LEFT}\" y=\"{}\" font-weight=\"bold\">{}</text>", top - 12.0, chart.title)?;
    for value in y_axis.ticks() {
        let (_, y) = place((x_axis.low, value));
        let (right, label) = (LEFT + WIDTH, number(value));
        writeln!(svg, "<line x1=\"{LEFT}\" y1=\"{y:.1}\" x2=\"{right}\" y2=\"{y:.1}\" stroke=\"#e0e0e0\"/>")?;
        writeln!(svg, "<text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{label}</text>", LEFT - 6.0, y + 4.0)?;
    }
    for value in x_axis.ticks() {
        let (x, _) = place((value, y_axis.low));
        let (bottom, label) = (top + HEIGHT, number(value));
        writeln!(svg, "<line x1=\"{x:.1}\" y1=\"{top}\" x2=\"{x:.1}\" y2=\"{bottom}\" stroke=\"#f0f0f0\"/>")?;
        writeln!(svg, "<text x=\"{x:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{label}</text>", bottom + 16.0)?;
    }
    let mut named = 0.0;
    for series in &chart.series {
        draw_series(svg, series, &place)?;
        if !series.name.is_empty() {
            let y = top + 14.0 + 16.0 * named;
            let (x, colour, name) = (LEFT + WIDTH - 8.0, series.colour, escaped(&series.name));
            writeln!(svg, "<text x=\"{x}\" y=\"{y}\" text-anchor=\"end\" fill=\"{colour}\">{name}</text>")?;
            named += 1.0;
        }
    }
    Ok(())
}

fn draw_series(svg: &mut String, series: &Series, place: &dyn Fn((f64, f64)) -> (f64, f64)) -> std::fmt::Result {
    let colour = series.colour;
    if series.style == Style::Dots {
        for &point in &series.points {
            let (x, y) = place(point);
            writeln!(svg, "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"2.5\" fill=\"{colour}\"/>")?;
        }
        return Ok(());
    }
    let stride = series.points.len().div_ceil(MOST_POINTS).max(1);
    let mut points = String::new();
    for &point in series.points.iter().step_by(stride) {
        let (x, y) = place(point);
        write!(points, "{x:.1},{y:.1} ")?;
    }
    let (thickness, opacity) = if series.style == Style::Thin { (0.7, 0.35) } else { (1.8, 1.0) };
    let points = points.trim_end();
    writeln!(
        svg,
        "<polyline points=\"{points}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"{thickness}\" \
         stroke-opacity=\"{opacity}\"/>"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chart_holds_its_lines_dots_and_names() {
        let line = Series::line(0, "a<b".into(), (0..5000).map(|x| (f64::from(x), f64::from(x % 7))).collect());
        let dots = Series::line(1, String::new(), vec![(1.0, 2.0), (3.0, 4.0)]).dots();
        let svg = draw(&[Chart { title: "loss", series: vec![line, dots] }], "steps");
        assert!(svg.starts_with("<svg ") && svg.ends_with("</svg>\n"));
        assert_eq!((svg.matches("<polyline").count(), svg.matches("<circle").count()), (1, 2));
        assert!(svg.contains("a&lt;b") && !svg.contains("NaN") && !svg.contains("inf"));
        assert!(svg.len() < 60_000);
        let empty = draw(&[Chart { title: "loss", series: vec![Series::line(0, String::new(), Vec::new())] }], "steps");
        assert!(!empty.contains("NaN") && !empty.contains("inf"), "{empty}");
    }
}
