//! Charts as SVG: for a page that contains them, and as files of their own.
//!
//! A chart is drawn for a width in pixels. The height follows from what is in it. Text is placed by widths that are larger
//! than those of most fonts, so that nothing overlaps or is cut off. All colours are CSS custom properties with a value for
//! a light and one for a dark background, from the palette of Okabe and Ito, which people with any kind of colour vision can
//! tell apart (<https://jfly.uni-koeln.de/color/>). Series also differ by marker and dash.

mod axis;
mod bars;
mod dots;
mod lanes;
mod level_edge;
mod lines;
mod scale;
mod text;

pub use axis::Axis;
pub use bars::{Bar, Bars};
pub use dots::{Dot, DotRow, Dots, Tone};
pub use lanes::{Lane, Lanes, Span};
pub use level_edge::LevelEdge;
pub use lines::{Line, Lines, Point};
pub use scale::{Scale, Unit, measured};

use maud::{Markup, PreEscaped, Render, html};
use std::fmt;
use text::{BOLD, LINE, TITLE_SIZE};

/// The style of charts. Whatever contains them must contain this once.
pub const STYLE: &str = include_str!("chart.css");

/// The width of a chart on a wide screen and on paper, in pixels.
pub const WIDE: f64 = 860.0;

/// The width of a chart on a narrow screen, in pixels.
pub const NARROW: f64 = 370.0;

/// So many series have a colour, a marker and a dash of their own, beside the baseline.
pub const COLOURS: usize = 6;

/// How a series looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Look {
    /// What the others are compared with.
    Baseline,
    /// One of the [`COLOURS`].
    Colour(usize),
    /// One of those in the background.
    Grey,
}

impl Look {
    /// The class of its elements.
    fn class(self) -> &'static str {
        match self {
            Look::Baseline => "c0",
            Look::Colour(i) => ["c1", "c2", "c3", "c4", "c5", "c6"][i % COLOURS],
            Look::Grey => "cg",
        }
    }

    /// Its marker around a point, as the data of a path.
    fn marker(self, x: f64, y: f64) -> String {
        let path = |points: &[(f64, f64)]| {
            let mut data = String::new();
            for (i, (dx, dy)) in points.iter().enumerate() {
                data += if i == 0 { "M" } else { "L" };
                data += &format!("{} {}", n(x + dx), n(y + dy));
            }
            data + "Z"
        };
        match self {
            Look::Baseline => format!("M{} {}a4 4 0 1 0 8 0a4 4 0 1 0-8 0Z", n(x - 4.0), n(y)),
            Look::Grey => format!("M{} {}a2 2 0 1 0 4 0a2 2 0 1 0-4 0Z", n(x - 2.0), n(y)),
            Look::Colour(i) => match i % COLOURS {
                0 => path(&[(-3.7, -3.7), (3.7, -3.7), (3.7, 3.7), (-3.7, 3.7)]),
                1 => path(&[(0.0, -4.8), (4.6, 3.4), (-4.6, 3.4)]),
                2 => path(&[(0.0, -5.2), (5.2, 0.0), (0.0, 5.2), (-5.2, 0.0)]),
                3 => path(&[(0.0, 4.8), (4.6, -3.4), (-4.6, -3.4)]),
                4 => path(&[(-1.8, -5.0), (1.8, -5.0), (1.8, 5.0), (-1.8, 5.0)]),
                _ => path(&[(-5.0, -1.8), (5.0, -1.8), (5.0, 1.8), (-5.0, 1.8)]),
            },
        }
    }
}

/// A chart.
pub trait Chart {
    /// What it shows, in a line.
    fn title(&self) -> &str;

    /// What is to be seen in it, for those who do not see it.
    fn description(&self) -> String;

    /// Whether it has no data.
    fn is_empty(&self) -> bool;

    /// What is drawn below the title, `width` pixels wide, and its height.
    fn body(&self, width: f64) -> (Markup, f64);
}

/// A chart for a page with [`STYLE`]: once for wide screens and once for narrow ones, of which the style shows one.
#[must_use]
pub fn embedded(chart: &dyn Chart) -> Markup {
    html! {
        div.wide { (svg(chart, WIDE, false)) }
        div.narrow { (svg(chart, NARROW, false)) }
    }
}

/// A chart for a page with [`STYLE`] that is as narrow on a wide screen, where others can stand beside it.
#[must_use]
pub fn narrow(chart: &dyn Chart) -> Markup {
    svg(chart, NARROW, false)
}

/// A chart as a file of its own, with its style.
#[must_use]
pub fn standalone(chart: &dyn Chart, width: f64) -> String {
    clean(&svg(chart, width, true).into_string())
}

/// Without control characters, which XML does not allow and HTML ignores.
#[must_use]
pub fn clean(document: &str) -> String {
    document
        .replace(|c: char| (c.is_control() && c != '\n') || matches!(c, '\u{fffe}' | '\u{ffff}'), "\u{fffd}")
}

fn svg(chart: &dyn Chart, width: f64, is_file: bool) -> Markup {
    let margin = if is_file { 16.0 } else { 0.0 };
    let title = text::lines(chart.title(), width, TITLE_SIZE * BOLD);
    let above = title.len() as f64 * (LINE + 2.0) + 8.0;
    let (body, height) = match chart.is_empty() {
        true => (html! { text.k x=(N(width / 2.0)) y="40" text-anchor="middle" { "not measured" } }, 70.0),
        false => chart.body(width),
    };
    let (all_wide, all_high) = (width + 2.0 * margin, above + height + 2.0 * margin);
    let view = format!("{} {} {} {}", n(-margin), n(-margin), n(all_wide), n(all_high));
    html! {
        svg.chart xmlns=[is_file.then_some("http://www.w3.org/2000/svg")] role="img" viewBox=(view)
            width=[is_file.then(|| n(all_wide))] height=[is_file.then(|| n(all_high))] {
            title { (chart.title()) }
            desc { (chart.description()) }
            @if is_file {
                style { (PreEscaped(STYLE)) }
                rect.paper x=(N(-margin)) y=(N(-margin)) width=(N(all_wide)) height=(N(all_high)) {}
            }
            @for (i, line) in title.iter().enumerate() {
                text.t y=(N(TITLE_SIZE + i as f64 * (LINE + 2.0))) { (line) }
            }
            g transform={ "translate(0 " (N(above)) ")" } { (body) }
        }
    }
}

/// The entries of a legend in rows below each other, and the height of it. A sample is drawn around its middle.
fn legend<'a>(entries: impl IntoIterator<Item = (&'a str, Markup)>, width: f64, top: f64) -> (Markup, f64) {
    const SAMPLE: f64 = 34.0;
    const GAP: f64 = 16.0;
    let (mut x, mut y) = (0.0, top + LINE / 2.0);
    let entries: Vec<_> = entries.into_iter().collect();
    let placed: Vec<_> = entries
        .into_iter()
        .map(|(name, sample)| {
            let wide = SAMPLE + text::name_width(name);
            if x > 0.0 && x + wide > width {
                (x, y) = (0.0, y + LINE);
            }
            let at = (x, y);
            x += wide + GAP;
            (name, sample, at)
        })
        .collect();
    let drawn = html! {
        @for (name, sample, (x, y)) in placed {
            g transform={ "translate(" (N(x)) " " (N(y)) ")" } {
                (sample)
                text.n x=(N(SAMPLE - 4.0)) y="4.5" { (name) }
            }
        }
    };
    (drawn, y + LINE / 2.0 - top)
}

/// A number with at most one decimal: a tenth of a pixel is not to be seen.
fn n(value: f64) -> String {
    let rounded = (value * 10.0).round() / 10.0;
    // Without the sign of -0.
    format!("{}", rounded + 0.0)
}

/// A number as [`n`] writes it, in markup and in the data of a path.
struct N(f64);

impl fmt::Display for N {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&n(self.0))
    }
}

impl Render for N {
    fn render_to(&self, buffer: &mut String) {
        buffer.push_str(&n(self.0));
    }
}

#[cfg(test)]
mod tests;
