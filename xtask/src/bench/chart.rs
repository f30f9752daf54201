//! Line charts as SVG: how a cost grows.

use anyhow::{Context, Result};
use std::fmt::Write as _;
use std::path::Path;

const WIDTH: f64 = 640.0;
const HEIGHT: f64 = 360.0;
/// Room for the labels of the axes: left, top, right, bottom.
const MARGINS: [f64; 4] = [70.0, 40.0, 150.0, 50.0];
const COLOURS: [&str; 6] = ["#1f77b4", "#d62728", "#2ca02c", "#9467bd", "#ff7f0e", "#17becf"];

/// A chart with logarithmic axes.
pub(super) struct Chart<'a> {
    pub(super) title: &'a str,
    /// What goes to the right, with its unit.
    pub(super) across: &'a str,
    /// What goes up, with its unit.
    pub(super) up: &'a str,
    /// Names and points of the lines. Values of zero or less are left out: they have no logarithm.
    pub(super) lines: Vec<(String, Vec<(f64, f64)>)>,
}

impl Chart<'_> {
    /// Writes the chart into a file.
    pub(super) fn write(&self, path: &Path) -> Result<()> {
        std::fs::write(path, self.svg()).with_context(|| format!("cannot write {}", path.display()))
    }

    fn svg(&self) -> String {
        let [left, top, right, bottom] = MARGINS;
        let (x_axis, y_axis) = (self.axis(|point| point.0), self.axis(|point| point.1));
        let x = |value: f64| left + x_axis.place(value) * (WIDTH - left - right);
        let y = |value: f64| HEIGHT - bottom - y_axis.place(value) * (HEIGHT - top - bottom);
        let mut svg = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" font-family=\"sans-serif\" \
             font-size=\"12\">\n<rect width=\"{WIDTH}\" height=\"{HEIGHT}\" fill=\"white\"/>\n\
             <text x=\"{left}\" y=\"22\" font-size=\"14\">{}</text>\n",
            escaped(self.title)
        );
        for tick in x_axis.ticks() {
            let at = x(tick);
            let _ = writeln!(
                svg,
                "<line x1=\"{at:.1}\" y1=\"{top}\" x2=\"{at:.1}\" y2=\"{}\" stroke=\"#ddd\"/>\
                 <text x=\"{at:.1}\" y=\"{}\" text-anchor=\"middle\">{}</text>",
                HEIGHT - bottom,
                HEIGHT - bottom + 16.0,
                label(tick)
            );
        }
        for tick in y_axis.ticks() {
            let at = y(tick);
            let _ = writeln!(
                svg,
                "<line x1=\"{left}\" y1=\"{at:.1}\" x2=\"{}\" y2=\"{at:.1}\" stroke=\"#ddd\"/>\
                 <text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
                WIDTH - right,
                left - 6.0,
                at + 4.0,
                label(tick)
            );
        }
        let _ = writeln!(
            svg,
            "<text x=\"{}\" y=\"{}\" text-anchor=\"middle\">{}</text>\
             <text transform=\"translate(16 {}) rotate(-90)\" text-anchor=\"middle\">{}</text>",
            f64::midpoint(left, WIDTH - right),
            HEIGHT - 12.0,
            escaped(self.across),
            f64::midpoint(top, HEIGHT - bottom),
            escaped(self.up)
        );
        for (number, (name, points)) in self.lines.iter().enumerate() {
            let colour = COLOURS.get(number % COLOURS.len()).copied().unwrap_or("black");
            let shown: Vec<(f64, f64)> = points
                .iter()
                .copied()
                .filter(is_shown)
                .map(|(a, b)| (x(a), y(b)))
                .collect();
            let path: Vec<String> = shown.iter().map(|(a, b)| format!("{a:.1},{b:.1}")).collect();
            let _ = writeln!(
                svg,
                "<polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"/>",
                path.join(" ")
            );
            for (a, b) in &shown {
                let _ = writeln!(
                    svg,
                    "<circle cx=\"{a:.1}\" cy=\"{b:.1}\" r=\"3\" fill=\"{colour}\"/>"
                );
            }
            let at = top + 16.0 * number as f64 + 8.0;
            let _ = writeln!(
                svg,
                "<text x=\"{}\" y=\"{:.1}\" fill=\"{colour}\">{}</text>",
                WIDTH - right + 8.0,
                at,
                escaped(name)
            );
        }
        svg.push_str("</svg>\n");
        svg
    }

    fn axis(&self, value: impl Fn(&(f64, f64)) -> f64) -> Axis {
        let shown = self
            .lines
            .iter()
            .flat_map(|(_, points)| points)
            .filter(|point| is_shown(point));
        let logs: Vec<f64> = shown.map(|point| value(point).log10()).collect();
        let low = logs.iter().copied().fold(f64::INFINITY, f64::min);
        let high = logs.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        if low > high {
            return Axis { low: 0.0, high: 1.0 };
        }
        // Whole powers of ten, so that every chart has at least two of them.
        let (low, high) = (low.floor(), high.ceil());
        Axis {
            low,
            high: if high > low { high } else { low + 1.0 },
        }
    }
}

/// The powers of ten from which and up to which an axis goes.
struct Axis {
    low: f64,
    high: f64,
}

impl Axis {
    /// Where a value is, from 0 to 1.
    fn place(&self, value: f64) -> f64 {
        (value.log10() - self.low) / (self.high - self.low)
    }

    fn ticks(&self) -> impl Iterator<Item = f64> {
        (self.low as i32..=self.high as i32).map(|power| 10_f64.powi(power))
    }
}

fn is_shown(point: &(f64, f64)) -> bool {
    point.0 > 0.0 && point.1 > 0.0
}

fn label(value: f64) -> String {
    match value {
        value if value >= 1e6 => format!("{:.0}M", value / 1e6),
        value if value >= 1e3 => format!("{:.0}k", value / 1e3),
        value if value >= 1.0 => format!("{value:.0}"),
        value => format!("{value}"),
    }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chart_has_its_lines_its_points_and_its_labels() {
        let chart = Chart {
            title: "search & find",
            across: "chunks",
            up: "ms",
            lines: vec![("p50".to_owned(), vec![(1e3, 0.2), (1e6, 8.0), (0.0, 1.0)])],
        };
        let svg = chart.svg();
        assert_eq!(svg.matches("<circle").count(), 2, "{svg}");
        assert!(
            svg.contains("search &amp; find") && svg.contains(">1M<") && svg.contains(">0.1<"),
            "{svg}"
        );
    }

    #[test]
    fn a_chart_without_points_is_still_one() {
        let chart = Chart {
            title: "t",
            across: "a",
            up: "u",
            lines: Vec::new(),
        };
        assert!(chart.svg().ends_with("</svg>\n"));
    }
}
