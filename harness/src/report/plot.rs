//! The plot: for each query, the time of a refresh against the time of a full recompute, on a logarithmic axis.

use std::fmt::Write;

use super::QueryRun;
use super::html::escape;

const WIDTH: f64 = 720.0;
const LEFT: f64 = 64.0;
const RIGHT: f64 = 24.0;
const TOP: f64 = 34.0;
const ROW: f64 = 22.0;
const BOTTOM: f64 = 30.0;

/// An SVG element, coloured by the classes `refresh`, `recompute`, `slower`, `axis`, `grid` of the surrounding page.
pub(super) fn plot(queries: &[QueryRun]) -> String {
    let rows: Vec<(&QueryRun, f64, f64)> = queries
        .iter()
        .filter_map(|query| query.medians().map(|(refresh, recompute)| (query, refresh, recompute)))
        .collect();
    if rows.is_empty() {
        return String::new();
    }
    let times = || rows.iter().flat_map(|(_, refresh, recompute)| [*refresh, *recompute]);
    let low = times().fold(f64::INFINITY, f64::min).max(0.001).log10().floor();
    let high = times().fold(0.001, f64::max).log10().ceil().max(low + 1.0);
    let x = |ms: f64| LEFT + (ms.max(0.001).log10() - low) / (high - low) * (WIDTH - LEFT - RIGHT);
    let height = TOP + ROW * rows.len() as f64 + BOTTOM;
    let mut svg = format!(
        "<svg viewBox=\"0 0 {WIDTH} {height}\" role=\"img\" aria-label=\"Refresh time against full recompute, per query\">"
    );
    axis(&mut svg, low as i32, high as i32, x, height);
    for (index, (query, refresh, recompute)) in rows.iter().enumerate() {
        let y = TOP + ROW * (index as f64 + 0.5);
        let class = if refresh <= recompute { "faster" } else { "slower" };
        let title =
            escape(&format!("{}: refresh {refresh:.1} ms, full recompute {recompute:.1} ms", query.name));
        let _ = write!(
            svg,
            "<g><title>{title}</title>\
             <text class=\"label\" x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>\
             <line class=\"{class}\" x1=\"{:.1}\" x2=\"{:.1}\" y1=\"{y:.1}\" y2=\"{y:.1}\"/>\
             <rect class=\"recompute\" x=\"{:.1}\" y=\"{:.1}\" width=\"8\" height=\"8\"/>\
             <circle class=\"refresh\" cx=\"{:.1}\" cy=\"{y:.1}\" r=\"5\"/></g>",
            LEFT - 12.0,
            y + 4.0,
            escape(&query.label),
            x(*refresh),
            x(*recompute),
            x(*recompute) - 4.0,
            y - 4.0,
            x(*refresh),
        );
    }
    svg.push_str("</svg>");
    svg
}

/// A vertical line with its label for each power of ten.
fn axis(svg: &mut String, low: i32, high: i32, x: impl Fn(f64) -> f64, height: f64) {
    for power in low..=high {
        let at = x(10f64.powi(power));
        let label = match power {
            3.. => format!("{} s", 10f64.powi(power - 3)),
            _ => format!("{} ms", 10f64.powi(power)),
        };
        let _ = write!(
            svg,
            "<line class=\"grid\" x1=\"{at:.1}\" x2=\"{at:.1}\" y1=\"{:.1}\" y2=\"{:.1}\"/>\
             <text class=\"label\" x=\"{at:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{label}</text>",
            TOP - 8.0,
            height - BOTTOM + 4.0,
            height - 8.0
        );
    }
    let _ = write!(
        svg,
        "<circle class=\"refresh\" cx=\"{0:.1}\" cy=\"12\" r=\"5\"/><text class=\"label\" x=\"{1:.1}\" y=\"16\">refresh</text>\
         <rect class=\"recompute\" x=\"{2:.1}\" y=\"8\" width=\"8\" height=\"8\"/>\
         <text class=\"label\" x=\"{3:.1}\" y=\"16\">full recompute (REFRESH MATERIALIZED VIEW)</text>",
        LEFT + 6.0,
        LEFT + 16.0,
        LEFT + 90.0,
        LEFT + 104.0
    );
}
