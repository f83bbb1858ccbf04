//! A dot with its interval for each server: a ranking.

use super::axis::{Axis, BELOW, Plot};
use super::text::{self, LINE, name_width};
use super::{Chart, N};
use maud::{Markup, html};

/// From one row to the next.
const ROW: f64 = 21.0;

/// Dots need that much room at least.
const LEAST_PLOT: f64 = 160.0;

/// Between names, dots and figures.
const GAP: f64 = 14.0;

/// Dots in rows.
#[derive(Debug, Clone)]
pub struct Dots {
    /// What it shows.
    pub title: String,
    /// What is measured.
    pub axis: Axis,
    /// A line through all rows, such as 1 for a ratio.
    pub reference: Option<f64>,
    /// From where to where differences are noise.
    pub noise: Option<(f64, f64)>,
    /// The servers, from top to bottom.
    pub rows: Vec<DotRow>,
}

/// What one server has.
#[derive(Debug, Clone)]
pub struct DotRow {
    /// The server.
    pub name: String,
    /// Its dot, or why there is none, in a word or two.
    pub dot: Result<Dot, &'static str>,
}

/// A value and its interval.
#[derive(Debug, Clone)]
pub struct Dot {
    /// The value.
    pub value: f64,
    /// Its interval.
    pub interval: Option<(f64, f64)>,
    /// What it says of the server.
    pub tone: Tone,
    /// The figures beside it.
    pub text: String,
    /// The same where there is little room.
    pub short: String,
}

/// What a dot says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tone {
    /// Neither is better.
    Plain,
    /// Better than the baseline.
    Better,
    /// Worse than the baseline.
    Worse,
    /// No difference to the baseline was shown.
    Same,
}

impl Tone {
    fn class(self) -> &'static str {
        match self {
            Tone::Plain => "c0",
            Tone::Better => "c1",
            Tone::Worse => "c2",
            Tone::Same => "cg",
        }
    }

    /// Its marker, as the data of a path. A triangle points up where the server is better, whichever side of the axis that is.
    fn marker(self, x: f64, y: f64) -> String {
        match self {
            Tone::Plain | Tone::Same => format!("M{} {}a4 4 0 1 0 8 0a4 4 0 1 0-8 0Z", N(x - 4.0), N(y)),
            Tone::Better => format!("M{} {}l5 9h-10Z", N(x), N(y - 5.5)),
            Tone::Worse => format!("M{} {}l5-9h-10Z", N(x), N(y + 5.5)),
        }
    }
}

impl Chart for Dots {
    fn title(&self) -> &str {
        &self.title
    }

    fn description(&self) -> String {
        let dots = || self.rows.iter().filter_map(|row| Some((&row.name, row.dot.as_ref().ok()?)));
        let least = dots().min_by(|a, b| a.1.value.total_cmp(&b.1.value));
        let most = dots().max_by(|a, b| a.1.value.total_cmp(&b.1.value));
        let ends = least.into_iter().chain(most).map(|(name, dot)| format!("{name} {}", dot.text));
        let ends: Vec<_> = ends.collect();
        format!("{}, {} servers: from {}.", self.axis.label, dots().count(), ends.join(" to "))
    }

    fn is_empty(&self) -> bool {
        self.rows.iter().all(|row| row.dot.is_err())
    }

    fn body(&self, width: f64) -> (Markup, f64) {
        let names = self.rows.iter().map(|row| name_width(&text::name(&row.name, width)));
        let left = names.fold(0.0, f64::max) + GAP;
        // The whole figures beside the dots, or the short ones where the dots would have too little room.
        let has_room = left + LEAST_PLOT + self.room_for(full) <= width;
        let figure: Figure = if has_room { full } else { short };
        let bottom = LINE + self.rows.len() as f64 * ROW;
        let plot = Plot { left, right: width - self.room_for(figure), top: LINE - 6.0, bottom };
        let body = html! {
            @if let Some((low, high)) = self.noise {
                @let (low, high) = (plot.x(&self.axis, low), plot.x(&self.axis, high));
                rect.noise x=(N(low)) y=(N(plot.top)) width=(N((high - low).max(1.0))) height=(N(bottom - plot.top)) {}
            }
            (plot.across(&self.axis, width))
            @if let Some(reference) = self.reference {
                path.x d={ "M" (N(plot.x(&self.axis, reference))) " " (N(plot.top)) "V" (N(bottom)) } {}
            }
            @for tone in [Tone::Plain, Tone::Same, Tone::Worse, Tone::Better] { (self.dots(tone, &plot)) }
            (self.texts(&plot, width, figure))
        };
        (body, bottom + BELOW)
    }
}

impl Dots {
    /// What the figures beside the dots take.
    fn room_for(&self, figure: Figure) -> f64 {
        let dots = self.rows.iter().filter_map(|row| row.dot.as_ref().ok());
        dots.map(|dot| text::width(figure(dot))).fold(0.0, f64::max) + GAP
    }

    /// The dots of one tone, with their intervals, in as few elements as that takes.
    fn dots(&self, tone: Tone, plot: &Plot) -> Markup {
        let (mut intervals, mut markers) = (String::new(), String::new());
        let x = |value| plot.x(&self.axis, value);
        for (i, row) in self.rows.iter().enumerate() {
            let Some(dot) = row.dot.as_ref().ok().filter(|dot| dot.tone == tone) else { continue };
            if let Some((low, high)) = dot.interval {
                intervals += &format!("M{} {}H{}", N(x(low)), N(middle(i)), N(x(high)));
            }
            markers += &tone.marker(x(dot.value), middle(i));
        }
        if markers.is_empty() {
            return html! {};
        }
        html! {
            g class={ "dots " (tone.class()) } {
                @if !intervals.is_empty() { path.i d=(intervals) {} }
                path class=(if tone == Tone::Same { "o" } else { "p" }) d=(markers) {}
            }
        }
    }

    /// The names, and the figure of each dot or why there is none.
    fn texts(&self, plot: &Plot, width: f64, figure: Figure) -> Markup {
        let rows = || self.rows.iter().enumerate().map(|(i, row)| (row, middle(i) + 4.5));
        html! {
            g.n { @for (row, y) in rows() { text y=(N(y)) { (text::name(&row.name, width)) } } }
            g.e transform={ "translate(" (N(width)) " 0)" } {
                @for (row, y) in rows() { @if let Ok(dot) = &row.dot { text y=(N(y)) { (figure(dot)) } } }
            }
            @for (row, y) in rows() {
                @if let Err(why) = row.dot { text.k.note x=(N(plot.left + 6.0)) y=(N(y)) { (why) } }
            }
        }
    }
}

/// What stands beside a dot.
type Figure = fn(&Dot) -> &String;

fn full(dot: &Dot) -> &String {
    &dot.text
}

fn short(dot: &Dot) -> &String {
    &dot.short
}

/// The middle of a row.
fn middle(row: usize) -> f64 {
    LINE + (row as f64 + 0.5) * ROW
}
