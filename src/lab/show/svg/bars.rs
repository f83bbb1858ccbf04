//! Stacked bars, one for each server, whose parts have names.

use super::axis::{Axis, BELOW, Plot};
use super::text::{self, LINE, name_width};
use super::{COLOURS, Chart, Look, N, legend, measured};
use maud::{Markup, html};

/// From one bar to the next.
const ROW: f64 = 22.0;

/// How thick a bar is.
const THICK: f64 = 16.0;

/// Stacked bars.
#[derive(Debug, Clone)]
pub struct Bars {
    /// What it shows.
    pub title: String,
    /// The axis below, which begins at 0.
    pub axis: Axis,
    /// The names of the parts, in the order in which they are stacked. Those after the last colour are grey.
    pub parts: Vec<String>,
    /// From top to bottom.
    pub bars: Vec<Bar>,
}

/// One bar.
#[derive(Debug, Clone)]
pub struct Bar {
    /// The server.
    pub name: String,
    /// As many numbers as there are parts; empty when it was not measured.
    pub parts: Vec<f64>,
}

impl Bar {
    fn sum(&self) -> f64 {
        self.parts.iter().sum()
    }
}

impl Chart for Bars {
    fn title(&self) -> &str {
        &self.title
    }

    fn description(&self) -> String {
        let counted = || self.bars.iter().filter(|bar| !bar.parts.is_empty());
        let least = counted().min_by(|a, b| a.sum().total_cmp(&b.sum()));
        let most = counted().max_by(|a, b| a.sum().total_cmp(&b.sum()));
        let ends =
            least.into_iter().chain(most).map(|bar| format!("{} {}", bar.name, self.figure(bar.sum())));
        format!(
            "{} of {} servers: from {}. Parts: {}.",
            self.axis.label,
            counted().count(),
            ends.collect::<Vec<_>>().join(" to "),
            self.parts.join(", ")
        )
    }

    fn is_empty(&self) -> bool {
        self.bars.iter().all(|bar| bar.parts.is_empty())
    }

    fn body(&self, width: f64) -> (Markup, f64) {
        let left =
            self.bars.iter().map(|bar| name_width(&text::name(&bar.name, width))).fold(0.0, f64::max) + 14.0;
        let sums = self.bars.iter().map(|bar| text::width(&self.figure(bar.sum())));
        let right = width - sums.fold(0.0, f64::max) - 10.0;
        let entries = self.parts.iter().enumerate();
        let (legend, top) = legend(entries.map(|(i, name)| (name.as_str(), swatch(look(i)))), width, 0.0);
        let top = top + LINE / 2.0;
        let plot = Plot { left, right, top, bottom: top + self.bars.len() as f64 * ROW };
        let body = html! {
            (legend)
            (plot.across(&self.axis, width))
            @for (i, bar) in self.bars.iter().enumerate() {
                (self.bar(bar, &plot, top + (i as f64 + 0.5) * ROW, width))
            }
        };
        (body, plot.bottom + BELOW)
    }
}

impl Bars {
    fn bar(&self, bar: &Bar, plot: &Plot, y: f64, width: f64) -> Markup {
        let mut sum = 0.0;
        let parts = bar.parts.iter().enumerate().map(|(i, &part)| {
            let from = plot.x(&self.axis, sum);
            sum += part;
            (i, part, from, plot.x(&self.axis, sum))
        });
        let parts: Vec<_> = parts.filter(|&(_, part, ..)| part > 0.0).collect();
        let end = parts.last().map_or(plot.left, |&(.., to)| to);
        html! {
            g.bar {
                text.n y=(N(y + 4.5)) { (text::name(&bar.name, width)) }
                @for &(i, part, from, to) in &parts {
                    g class=(look(i).class()) {
                        rect.s x=(N(from)) y=(N(y - THICK / 2.0)) width=(N(to - from)) height=(N(THICK)) {}
                        @let name = format!("{} {}", self.parts[i], self.figure(part));
                        @if text::width(&name) + 8.0 <= to - from {
                            text.m.on x=(N((from + to) / 2.0)) y=(N(y + 4.5)) { (name) }
                        }
                    }
                }
                @if bar.parts.is_empty() {
                    text.k x=(N(plot.left + 6.0)) y=(N(y + 4.5)) { "not measured" }
                } @else {
                    text x=(N(end + 6.0)) y=(N(y + 4.5)) { (self.figure(bar.sum())) }
                }
            }
        }
    }

    fn figure(&self, value: f64) -> String {
        measured(self.axis.unit, value)
    }
}

fn look(part: usize) -> Look {
    if part < COLOURS { Look::Colour(part) } else { Look::Grey }
}

fn swatch(look: Look) -> Markup {
    html! { g class=(look.class()) { rect.s x="8" y="-7" width="18" height="14" {} } }
}
