//! Curves as SVG.

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
        let bounds = |values: &mut dyn Iterator<Item = f64>| {
            let (low, high) =
                values.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), v| (low.min(v), high.max(v)));
            if low < high { (low, high) } else { (low.min(0.0), low.min(0.0) + 1.0) }
        };
        let (x0, x1) = bounds(&mut all().map(|(x, _)| place(*x)));
        let (y0, y1) = bounds(&mut all().map(|(_, y)| *y));
        let across = |x: f64| LEFT + (place(x) - x0) / (x1 - x0) * (WIDTH - LEFT - RIGHT);
        let down = |y: f64| HEIGHT - BOTTOM - (y - y0) / (y1 - y0) * (HEIGHT - TOP - BOTTOM);
        let mut svg = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" font-family=\"sans-serif\" \
             font-size=\"12\">\n<rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n\
             <text x=\"{LEFT}\" y=\"20\" font-size=\"15\">{}</text>\n",
            escaped(self.title)
        );
        self.axes(&mut svg, (x0, x1), (y0, y1));
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

    /// Five marks on each axis, with lines.
    fn axes(&self, svg: &mut String, (x0, x1): (f64, f64), (y0, y1): (f64, f64)) {
        for mark in 0..=4 {
            let share = f64::from(mark) / 4.0;
            let x = LEFT + share * (WIDTH - LEFT - RIGHT);
            let y = HEIGHT - BOTTOM - share * (HEIGHT - TOP - BOTTOM);
            let value = x0 + share * (x1 - x0);
            let value = if self.is_logarithmic { 10f64.powf(value) } else { value };
            let _ = write!(
                svg,
                "<line x1=\"{LEFT}\" x2=\"{}\" y1=\"{y:.1}\" y2=\"{y:.1}\" stroke=\"#ddd\"/>\n\
                 <text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{:.2}</text>\n\
                 <text x=\"{x:.1}\" y=\"{}\" text-anchor=\"middle\">{}</text>\n",
                WIDTH - RIGHT,
                LEFT - 6.0,
                y + 4.0,
                y0 + share * (y1 - y0),
                HEIGHT - BOTTOM + 18.0,
                short(value)
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

/// A number with its thousands as letters.
fn short(value: f64) -> String {
    for (size, letter) in [(1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")] {
        if value.abs() >= size {
            return format!("{:.3}", value / size).trim_end_matches('0').trim_end_matches('.').to_owned() + letter;
        }
    }
    format!("{value:.2}")
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
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
