//! A dot with its interval for each server, in one or more panels: a ranking.

use super::axis::{Axis, BELOW, Plot};
use super::text::{self, LINE, name_width};
use super::{Chart, N};
use maud::{Markup, html};

/// From one row to the next.
const ROW: f64 = 21.0;

/// Panels that are not at least so wide stand below each other.
const LEAST_PANEL: f64 = 120.0;

/// Between the names, a panel, and the figures beside it.
const GAP: f64 = 14.0;

/// From the top of a panel to that of its axes; the rows begin a little below.
const ABOVE: f64 = LINE - 6.0;

/// Dots in rows and panels.
#[derive(Debug, Clone)]
pub struct Dots {
    /// What it shows.
    pub title: String,
    /// What is measured, beside each other.
    pub panels: Vec<Panel>,
    /// The servers, from top to bottom.
    pub rows: Vec<DotRow>,
}

/// A column of dots with an axis of its own.
#[derive(Debug, Clone)]
pub struct Panel {
    /// The axis.
    pub axis: Axis,
    /// A line through all rows, such as 1 for a ratio.
    pub reference: Option<f64>,
    /// From where to where differences are noise.
    pub noise: Option<(f64, f64)>,
}

/// What one server has in each panel.
#[derive(Debug, Clone)]
pub struct DotRow {
    /// The server.
    pub name: String,
    /// As many as there are panels, or why there is none, in a word or two.
    pub dots: Vec<Result<Dot, &'static str>>,
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
        let panel = |(i, panel): (usize, &Panel)| {
            let mut dots: Vec<_> =
                self.rows.iter().filter_map(|row| Some((&row.name, row.dots[i].as_ref().ok()?))).collect();
            dots.sort_by(|a, b| a.1.value.total_cmp(&b.1.value));
            let ends = dots.first().into_iter().chain(dots.last());
            let ends: Vec<_> = ends.map(|(name, dot)| format!("{name} {}", dot.text)).collect();
            format!("{}, {} servers: from {}.", panel.axis.label, dots.len(), ends.join(" to "))
        };
        self.panels.iter().enumerate().map(panel).collect::<Vec<_>>().join(" ")
    }

    fn is_empty(&self) -> bool {
        self.rows.iter().all(|row| row.dots.iter().all(Result::is_err))
    }

    fn body(&self, width: f64) -> (Markup, f64) {
        let names =
            self.rows.iter().map(|row| name_width(&text::name(&row.name, width))).fold(0.0, f64::max) + GAP;
        let figures = |i: usize, text: Figure| {
            let texts = self.rows.iter().filter_map(|row| row.dots[i].as_ref().ok()).map(text);
            texts.map(|text| text::width(text)).fold(0.0, f64::max) + GAP
        };
        // With all figures beside each other, or with the short ones, or below each other.
        for text in [full, short] {
            let figures: Vec<_> = (0..self.panels.len()).map(|i| figures(i, text)).collect();
            let count = self.panels.len() as f64;
            let each = (width - names - figures.iter().sum::<f64>() - (count - 1.0) * GAP) / count;
            if each >= LEAST_PANEL {
                return self.beside(names, &figures, each, width, text);
            }
        }
        let mut y = 0.0;
        let mut drawn = Vec::new();
        for i in 0..self.panels.len() {
            let right = width - figures(i, short);
            drawn.push(html! {
                (self.names(y, width))
                (self.panel(i, names, right, y, width, short))
            });
            y += self.height() + GAP;
        }
        (html! { @for panel in drawn { (panel) } }, y - GAP)
    }
}

impl Dots {
    fn beside(&self, names: f64, figures: &[f64], each: f64, width: f64, text: Figure) -> (Markup, f64) {
        let lefts = figures.iter().scan(names, |left, figures| {
            let this = *left;
            *left += each + figures + GAP;
            Some(this)
        });
        let body = html! {
            (self.names(0.0, width))
            @for (i, left) in lefts.enumerate() {
                (self.panel(i, left, left + each, 0.0, (left + each + figures[i] + GAP).min(width), text))
            }
        };
        (body, self.height())
    }

    fn height(&self) -> f64 {
        LINE + self.rows.len() as f64 * ROW + BELOW
    }

    fn names(&self, top: f64, width: f64) -> Markup {
        html! {
            g.n {
                @for (i, row) in self.rows.iter().enumerate() {
                    text y=(N(middle(top, i) + 4.5)) { (text::name(&row.name, width)) }
                }
            }
        }
    }

    fn panel(&self, i: usize, left: f64, right: f64, top: f64, most: f64, figures: Figure) -> Markup {
        let Panel { axis, reference, noise } = &self.panels[i];
        let bottom = top + LINE + self.rows.len() as f64 * ROW;
        let plot = Plot { left, right, top: top + ABOVE, bottom };
        let dots =
            self.rows.iter().enumerate().filter_map(|(at, row)| Some((at, row.dots[i].as_ref().ok()?)));
        let dots: Vec<_> = dots.collect();
        html! {
            g.panel {
                @if let Some((low, high)) = noise {
                    @let (low, high) = (plot.x(axis, *low), plot.x(axis, *high));
                    rect.noise x=(N(low)) y=(N(plot.top)) width=(N((high - low).max(1.0))) height=(N(bottom - plot.top)) {}
                }
                (plot.across(axis, most))
                @if let Some(reference) = reference {
                    path.x d={ "M" (N(plot.x(axis, *reference))) " " (N(plot.top)) "V" (N(bottom)) } {}
                }
                @for tone in [Tone::Plain, Tone::Same, Tone::Worse, Tone::Better] {
                    (dots_of(tone, &dots, &plot, axis))
                }
                g.e transform={ "translate(" (N(right + text_room(&self.rows, i, figures))) " 0)" } {
                    @for (at, dot) in &dots { text y=(N(middle(top, *at) + 4.5)) { (figures(dot)) } }
                }
                @for (at, why) in self.rows.iter().enumerate().filter_map(|(at, row)| Some((at, row.dots[i].as_ref().err()?))) {
                    text.k.note x=(N(left + 6.0)) y=(N(middle(top, at) + 4.5)) { (why) }
                }
            }
        }
    }
}

/// The dots of one tone, with their intervals, in as few elements as that takes.
fn dots_of(tone: Tone, dots: &[(usize, &Dot)], plot: &Plot, axis: &Axis) -> Markup {
    let (mut intervals, mut markers) = (String::new(), String::new());
    for (row, dot) in dots.iter().filter(|(_, dot)| dot.tone == tone) {
        let y = middle(plot.top - ABOVE, *row);
        if let Some((low, high)) = dot.interval {
            intervals += &format!("M{} {}H{}", N(plot.x(axis, low)), N(y), N(plot.x(axis, high)));
        }
        markers += &tone.marker(plot.x(axis, dot.value), y);
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

/// What stands beside a dot.
type Figure = fn(&Dot) -> &String;

fn full(dot: &Dot) -> &String {
    &dot.text
}

fn short(dot: &Dot) -> &String {
    &dot.short
}

/// From the end of the panel to the end of the figures beside it.
fn text_room(rows: &[DotRow], i: usize, figures: Figure) -> f64 {
    let texts = rows.iter().filter_map(|row| row.dots[i].as_ref().ok()).map(figures);
    texts.map(|text| text::width(text)).fold(0.0, f64::max) + GAP / 2.0
}

/// The middle of a row.
fn middle(top: f64, row: usize) -> f64 {
    top + LINE + (row as f64 + 0.5) * ROW
}
