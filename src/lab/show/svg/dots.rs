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
    /// As many as there are panels; `None` where it was not measured.
    pub dots: Vec<Option<Dot>>,
    /// Why there is none, in a word.
    pub note: Option<String>,
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

    fn marker(self, x: f64, y: f64) -> Markup {
        let data = match self {
            Tone::Plain | Tone::Same => {
                return html! { circle class=(if self == Tone::Same { "o" } else { "p" }) cx=(N(x)) cy=(N(y)) r="4" {} };
            }
            // Towards the better side, whichever side of the axis that is.
            Tone::Better => format!("M{} {}l5 9h-10Z", N(x), N(y - 5.5)),
            Tone::Worse => format!("M{} {}l5-9h-10Z", N(x), N(y + 5.5)),
        };
        html! { path.p d=(data) {} }
    }
}

impl Chart for Dots {
    fn title(&self) -> &str {
        &self.title
    }

    fn description(&self) -> String {
        let rows = self.rows.iter().map(|row| {
            let figures = row.dots.iter().zip(&self.panels).filter_map(|(dot, panel)| {
                dot.as_ref().map(|dot| format!("{} {}", panel.axis.label, dot.text))
            });
            let figures: Vec<_> = figures.chain(row.note.clone()).collect();
            format!("{}: {}", row.name, figures.join(", "))
        });
        format!("{}.", rows.collect::<Vec<_>>().join("; "))
    }

    fn is_empty(&self) -> bool {
        self.rows.iter().all(|row| row.dots.iter().all(Option::is_none))
    }

    fn body(&self, width: f64) -> (Markup, f64) {
        let names = self.rows.iter().map(|row| name_width(&text::name(&row.name))).fold(0.0, f64::max) + GAP;
        let figures = |i: usize, text: fn(&Dot) -> &String| {
            let texts = self.rows.iter().filter_map(|row| row.dots[i].as_ref()).map(text);
            texts.map(|text| text::width(text)).fold(0.0, f64::max) + GAP
        };
        let full: Vec<_> = (0..self.panels.len()).map(|i| figures(i, |dot| &dot.text)).collect();
        let count = self.panels.len() as f64;
        let each = (width - names - full.iter().sum::<f64>() - (count - 1.0) * GAP) / count;
        if each >= LEAST_PANEL {
            return self.beside(names, &full, each, width);
        }
        let mut y = 0.0;
        let mut drawn = Vec::new();
        for i in 0..self.panels.len() {
            let right = width - figures(i, |dot| &dot.short);
            drawn.push(html! {
                (self.names(y))
                (self.panel(i, names, right, y, width, |dot| &dot.short))
            });
            y += self.height() + GAP;
        }
        (html! { @for panel in drawn { (panel) } }, y - GAP)
    }
}

impl Dots {
    fn beside(&self, names: f64, figures: &[f64], each: f64, width: f64) -> (Markup, f64) {
        let lefts = figures.iter().scan(names, |left, figures| {
            let this = *left;
            *left += each + figures + GAP;
            Some(this)
        });
        let body = html! {
            (self.names(0.0))
            @for (i, left) in lefts.enumerate() {
                (self.panel(i, left, left + each, 0.0, (left + each + figures[i] + GAP).min(width), |dot| &dot.text))
            }
        };
        (body, self.height())
    }

    fn height(&self) -> f64 {
        LINE + self.rows.len() as f64 * ROW + BELOW
    }

    fn names(&self, top: f64) -> Markup {
        html! {
            @for (i, row) in self.rows.iter().enumerate() {
                text.n y=(N(middle(top, i) + 4.5)) { (text::name(&row.name)) }
            }
        }
    }

    fn panel(
        &self,
        i: usize,
        left: f64,
        right: f64,
        top: f64,
        most: f64,
        figures: fn(&Dot) -> &String,
    ) -> Markup {
        let Panel { axis, reference, noise } = &self.panels[i];
        let bottom = top + LINE + self.rows.len() as f64 * ROW;
        let plot = Plot { left, right, top: top + LINE - 6.0, bottom };
        let dots = self.rows.iter().enumerate().filter_map(|(at, row)| Some((at, row.dots[i].as_ref()?)));
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
                @for (at, dot) in dots {
                    @let (x, y) = (plot.x(axis, dot.value), middle(top, at));
                    g class={ "dot " (dot.tone.class()) } {
                        @if let Some((low, high)) = dot.interval {
                            path.i d={ "M" (N(plot.x(axis, low))) " " (N(y)) "H" (N(plot.x(axis, high))) } {}
                        }
                        (dot.tone.marker(x, y))
                    }
                    text.e x=(N(right + text_room(&self.rows, i, figures))) y=(N(y + 4.5)) { (figures(dot)) }
                }
                @for (at, row) in self.rows.iter().enumerate().filter(|(_, row)| row.dots[i].is_none()) {
                    text.k.note x=(N(left + 6.0)) y=(N(middle(top, at) + 4.5)) { (row.note.as_deref().unwrap_or("–")) }
                }
            }
        }
    }
}

/// From the end of the panel to the end of the figures beside it.
fn text_room(rows: &[DotRow], i: usize, figures: fn(&Dot) -> &String) -> f64 {
    let texts = rows.iter().filter_map(|row| row.dots[i].as_ref()).map(figures);
    texts.map(|text| text::width(text)).fold(0.0, f64::max) + GAP / 2.0
}

/// The middle of a row.
fn middle(top: f64, row: usize) -> f64 {
    top + LINE + (row as f64 + 0.5) * ROW
}
