//! Curves as SVG.

use crate::axis::{Axis, escaped, number};
use std::fmt::Write;

const WIDTH: f64 = 860.0;
const HEIGHT: f64 = 480.0;
const LEFT: f64 = 62.0;
const RIGHT: f64 = 250.0;
const TOP: f64 = 36.0;
const BOTTOM: f64 = 48.0;
/// Distinct also for those who do not see all colours.
const COLOURS: [&str; 8] = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#000000", "#999999"];

/// A curve with its name.
pub struct Curve {
    pub name: String,
    pub points: Vec<(f64, f64)>,
}

/// A plot of losses against something that grows.
pub struct Plot<'a> {
    pub title: &'a str,
    pub across: &'a str,
    /// Whether the horizontal axis is logarithmic; points at zero are left out then.
    pub is_logarithmic: bool,
    pub curves: &'a [Curve],
}

impl Plot<'_> {
    /// The plot as an SVG document; only its frame where there is nothing to see.
    pub fn svg(&self) -> String {
        let place = |x: f64| if self.is_logarithmic { x.log10() } else { x };
        let visible = |(x, y): &&(f64, f64)| y.is_finite() && (*x > 0.0 || !self.is_logarithmic);
        let all = || self.curves.iter().flat_map(|curve| curve.points.iter().filter(visible));
        let x_axis = Axis::new(all().map(|(x, _)| place(*x)));
        let y_axis = Axis::new(all().map(|(_, y)| *y));
        let across = |x: f64| LEFT + x_axis.share(place(x)) * (WIDTH - LEFT - RIGHT);
        let down = |y: f64| HEIGHT - BOTTOM - y_axis.share(y) * (HEIGHT - TOP - BOTTOM);
        let mut svg = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" font-family=\"sans-serif\" \
             font-size=\"12\">\n<rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n\
             <text x=\"{LEFT}\" y=\"20\" font-size=\"15\">{}</text>\n",
            escaped(self.title)
        );
        self.axes(&mut svg, (x_axis, &across), (y_axis, &down));
        for (number, curve) in self.curves.iter().enumerate() {
            let colour = COLOURS[number % COLOURS.len()];
            let points: Vec<String> = curve
                .points
                .iter()
                .filter(visible)
                .map(|(x, y)| format!("{:.1},{:.1}", across(*x), down(*y)))
                .collect();
            let dashes = if number < COLOURS.len() { "" } else { " stroke-dasharray=\"5 3\"" };
            let label = TOP + 14.0 + 18.0 * number as f64;
            let side = WIDTH - RIGHT + 12.0;
            // Writing to a string cannot fail.
            let _ = write!(
                svg,
                "<polyline fill=\"none\" stroke=\"{colour}\" stroke-width=\"1.6\"{dashes} points=\"{}\"/>\n\
                 <line x1=\"{side}\" x2=\"{}\" y1=\"{}\" y2=\"{}\" stroke=\"{colour}\" stroke-width=\"2\"{dashes}/>\n\
                 <text x=\"{}\" y=\"{label}\">{}</text>\n",
                points.join(" "),
                side + 18.0,
                label - 4.0,
                label - 4.0,
                side + 24.0,
                escaped(&curve.name)
            );
        }
        svg + "</svg>\n"
    }

    /// Lines at round values, with the values; each axis comes with the place of a value on it.
    fn axes(&self, svg: &mut String, x: (Axis, &dyn Fn(f64) -> f64), y: (Axis, &dyn Fn(f64) -> f64)) {
        let (right, bottom) = (WIDTH - RIGHT, HEIGHT - BOTTOM);
        // Writing to a string cannot fail.
        for value in y.0.ticks() {
            let (down, label) = (y.1(value), number(value));
            let _ = write!(
                svg,
                "<line x1=\"{LEFT}\" x2=\"{right}\" y1=\"{down:.1}\" y2=\"{down:.1}\" stroke=\"#ddd\"/>\n\
                 <text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{label}</text>\n",
                LEFT - 6.0,
                down + 4.0,
            );
        }
        for value in if self.is_logarithmic { x.0.logarithmic_ticks() } else { x.0.ticks() } {
            let (across, label) = (x.1(value), number(value));
            let _ = write!(
                svg,
                "<line x1=\"{across:.1}\" x2=\"{across:.1}\" y1=\"{TOP}\" y2=\"{bottom}\" stroke=\"#eee\"/>\n\
                 <text x=\"{across:.1}\" y=\"{}\" text-anchor=\"middle\">{label}</text>\n",
                bottom + 18.0,
            );
        }
        let middle = LEFT + (WIDTH - LEFT - RIGHT) / 2.0;
        let _ = write!(
            svg,
            "<text x=\"{middle}\" y=\"{}\" text-anchor=\"middle\">{}</text>\n\
             <text x=\"14\" y=\"20\">nats</text>\n",
            HEIGHT - 10.0,
            escaped(self.across)
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn curves_stay_in_their_frame() {
        let curves = [
            Curve { name: "a < b".to_owned(), points: vec![(0.0, 9.0), (1e3, 4.0), (1e6, 2.0)] },
            Curve { name: "none".to_owned(), points: Vec::new() },
        ];
        for is_logarithmic in [false, true] {
            let svg = Plot { title: "t", across: "tokens", is_logarithmic, curves: &curves }.svg();
            assert!(svg.contains("a &lt; b") && !svg.contains("NaN") && !svg.contains("inf"));
        }
        assert!(!Plot { title: "t", across: "x", is_logarithmic: true, curves: &[] }.svg().contains("NaN"));
    }
}
