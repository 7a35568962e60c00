//! The plots: one time against another, mostly that of a refresh against that of a full recompute, on logarithmic axes.
//! They are narrow enough to be read on a phone when they shrink with the page.

use super::html::Html;

const WIDTH: f64 = 540.0;
const LEFT: f64 = 76.0;
const RIGHT: f64 = 36.0;
const TOP: f64 = 36.0;
const ROW: f64 = 22.0;
const BOTTOM: f64 = 30.0;

/// More lines than this would be a plot that nobody scrolls through.
const LINES_MAX: usize = 40;

/// The height of a plot of points.
const POINTS_HEIGHT: f64 = 440.0;

/// Two times of one thing.
pub(super) struct Pair {
    pub label: String,
    /// The page about it, if there is one.
    pub link: Option<String>,
    pub refresh_ms: f64,
    pub recompute_ms: f64,
}

/// What the two times of all pairs of a plot are.
pub(super) struct Names<'a> {
    pub first: &'a str,
    pub second: &'a str,
}

/// A refresh, and a recompute of the same query.
pub(super) const REFRESHES: Names = Names { first: "refresh", second: "full recompute" };

/// An axis of powers of ten.
struct Axis {
    low: i32,
    high: i32,
}

/// A figure with a line for each pair, or a point if there are many. Its colours are classes of the page's style.
pub(super) fn plot(page: &mut Html, pairs: &[Pair], names: &Names, caption: &str) {
    if pairs.is_empty() {
        return;
    }
    page.element("figure", &[], |figure| {
        if pairs.len() <= LINES_MAX {
            lines(figure, pairs, names)
        } else {
            points(figure, pairs, names)
        }
        figure.leaf("figcaption", &[], caption);
    });
}

fn lines(figure: &mut Html, pairs: &[Pair], names: &Names) {
    let axis = Axis::of(pairs);
    let left = room(pairs);
    let x = |ms: f64| axis.place(ms, left, WIDTH - RIGHT);
    let height = TOP + ROW * pairs.len() as f64 + BOTTOM;
    svg(figure, names, height, |svg| {
        for (at, label) in axis.ticks().map(|(ms, label)| (x(ms), label)) {
            svg.shape(
                "line",
                &[
                    ("class", &"grid"),
                    ("x1", &at),
                    ("x2", &at),
                    ("y1", &(TOP - 8.0)),
                    ("y2", &(height - BOTTOM + 4.0)),
                ],
            );
            label_at(svg, at, height - 8.0, "middle", &label);
        }
        legend(svg, names);
        for (index, pair) in pairs.iter().enumerate() {
            let y = TOP + ROW * (index as f64 + 0.5);
            let (from, to) = (x(pair.refresh_ms), x(pair.recompute_ms));
            linked(svg, pair, names, |inside| {
                label_at(inside, left - 12.0, y + 4.0, "end", &pair.label);
                let class = if pair.refresh_ms <= pair.recompute_ms { "faster" } else { "slower" };
                inside
                    .shape("line", &[("class", &class), ("x1", &from), ("x2", &to), ("y1", &y), ("y2", &y)]);
                square(inside, to, y);
                circle(inside, "refresh", from, y);
            });
        }
    });
}

/// The room that the longest label needs, up to what leaves enough of the plot.
fn room(pairs: &[Pair]) -> f64 {
    let longest = pairs.iter().map(|pair| pair.label.chars().count()).max().unwrap_or_default();
    // A letter is about this wide.
    (18.0 + 6.5 * longest as f64).clamp(LEFT, WIDTH / 2.0)
}

fn points(figure: &mut Html, pairs: &[Pair], names: &Names) {
    let axis = Axis::of(pairs);
    let (top, bottom) = (12.0, POINTS_HEIGHT - 48.0);
    let x = |ms: f64| axis.place(ms, LEFT, WIDTH - RIGHT);
    let y = |ms: f64| axis.place(ms, bottom, top);
    svg(figure, names, POINTS_HEIGHT, |svg| {
        for (ms, label) in axis.ticks() {
            let (across, up) = (x(ms), y(ms));
            svg.shape(
                "line",
                &[("class", &"grid"), ("x1", &across), ("x2", &across), ("y1", &top), ("y2", &bottom)],
            );
            svg.shape(
                "line",
                &[("class", &"grid"), ("x1", &LEFT), ("x2", &(WIDTH - RIGHT)), ("y1", &up), ("y2", &up)],
            );
            label_at(svg, across, bottom + 18.0, "middle", &label);
            label_at(svg, LEFT - 8.0, up + 4.0, "end", &label);
        }
        svg.shape(
            "line",
            &[("class", &"even"), ("x1", &LEFT), ("x2", &(WIDTH - RIGHT)), ("y1", &bottom), ("y2", &top)],
        );
        label_at(svg, (LEFT + WIDTH) / 2.0, POINTS_HEIGHT - 8.0, "middle", &format!("{} →", names.second));
        label_at(
            svg,
            LEFT + 8.0,
            top + 14.0,
            "start",
            &format!("↑ {}; below the line it is faster", names.first),
        );
        for pair in pairs {
            let class = if pair.refresh_ms <= pair.recompute_ms { "refresh" } else { "worse" };
            linked(svg, pair, names, |inside| {
                circle(inside, class, x(pair.recompute_ms), y(pair.refresh_ms))
            });
        }
    });
}

fn svg(figure: &mut Html, names: &Names, height: f64, content: impl FnOnce(&mut Html)) {
    let frame = format!("0 0 {WIDTH} {height}");
    let label = format!("Time of {} against {}", names.first, names.second);
    figure.element("svg", &[("viewBox", &frame), ("role", &"img"), ("aria-label", &label)], content);
}

/// What stands for one pair, with its figures for who points at it.
fn linked(svg: &mut Html, pair: &Pair, names: &Names, content: impl FnOnce(&mut Html)) {
    let title = format!(
        "{}: {} {:.1} ms, {} {:.1} ms",
        pair.label, names.first, pair.refresh_ms, names.second, pair.recompute_ms
    );
    let inside = |group: &mut Html| {
        group.leaf("title", &[], title);
        content(group);
    };
    match &pair.link {
        Some(target) => svg.element("a", &[("href", target)], inside),
        None => svg.element("g", &[], inside),
    }
}

fn legend(svg: &mut Html, names: &Names) {
    circle(svg, "refresh", LEFT + 6.0, 12.0);
    label_at(svg, LEFT + 16.0, 16.0, "start", names.first);
    // A letter is about this wide.
    let second = LEFT + 34.0 + 8.0 * names.first.chars().count() as f64;
    square(svg, second, 12.0);
    label_at(svg, second + 12.0, 16.0, "start", names.second);
}

fn circle(svg: &mut Html, class: &str, x: f64, y: f64) {
    svg.shape(
        "circle",
        &[("class", &class), ("cx", &format!("{x:.1}")), ("cy", &format!("{y:.1}")), ("r", &5)],
    );
}

fn square(svg: &mut Html, x: f64, y: f64) {
    let (left, top) = (format!("{:.1}", x - 4.0), format!("{:.1}", y - 4.0));
    svg.shape("rect", &[("class", &"recompute"), ("x", &left), ("y", &top), ("width", &8), ("height", &8)]);
}

fn label_at(svg: &mut Html, x: f64, y: f64, anchor: &str, text: &str) {
    let (x, y) = (format!("{x:.1}"), format!("{y:.1}"));
    svg.leaf("text", &[("class", &"label"), ("x", &x), ("y", &y), ("text-anchor", &anchor)], text);
}

impl Axis {
    fn of(pairs: &[Pair]) -> Axis {
        let times = || pairs.iter().flat_map(|pair| [pair.refresh_ms, pair.recompute_ms]);
        let low = times().fold(f64::INFINITY, f64::min).max(0.001).log10().floor();
        let high = times().fold(0.001, f64::max).log10().ceil().max(low + 1.0);
        Axis { low: low as i32, high: high as i32 }
    }

    /// Where a time is between the two ends of the axis.
    fn place(&self, ms: f64, from: f64, to: f64) -> f64 {
        let share = (ms.max(0.001).log10() - f64::from(self.low)) / f64::from(self.high - self.low);
        ((from + share * (to - from)) * 10.0).round() / 10.0
    }

    /// Each power of ten with its label.
    fn ticks(&self) -> impl Iterator<Item = (f64, String)> {
        (self.low..=self.high).map(|power| {
            let label = match power {
                3.. => format!("{} s", 10f64.powi(power - 3)),
                _ => format!("{} ms", 10f64.powi(power)),
            };
            (10f64.powi(power), label)
        })
    }
}
