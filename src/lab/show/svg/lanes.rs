//! Lanes over time: what each thread or process did, and when.

use super::axis::{Axis, BELOW, Plot};
use super::text::{self, LINE, name_width};
use super::{Chart, Look, N, measured};
use maud::{Markup, html};

/// From one lane to the next.
const ROW: f64 = 30.0;

/// How thick a span is.
const THICK: f64 = 20.0;

/// Lanes over one axis.
#[derive(Debug, Clone)]
pub struct Lanes {
    /// What it shows.
    pub title: String,
    /// Time.
    pub axis: Axis,
    /// From top to bottom.
    pub lanes: Vec<Lane>,
}

/// What one of them did.
#[derive(Debug, Clone)]
pub struct Lane {
    /// Who.
    pub name: String,
    /// In any order.
    pub spans: Vec<Span>,
}

/// One of the things that it did.
#[derive(Debug, Clone)]
pub struct Span {
    /// When it began.
    pub from: f64,
    /// When it ended.
    pub to: f64,
    /// What, which is written where there is room.
    pub what: String,
    /// How it looks.
    pub look: Look,
}

impl Chart for Lanes {
    fn title(&self) -> &str {
        &self.title
    }

    fn description(&self) -> String {
        let at = |value| measured(self.axis.unit, value);
        let span = |span: &Span| format!("{} from {} to {}", span.what, at(span.from), at(span.to));
        let lanes = self.lanes.iter().map(|lane| {
            let spans: Vec<_> = lane.spans.iter().map(span).collect();
            format!("{}: {}", lane.name, spans.join(", "))
        });
        format!("{}.", lanes.collect::<Vec<_>>().join("; "))
    }

    fn is_empty(&self) -> bool {
        self.lanes.iter().all(|lane| lane.spans.is_empty())
    }

    fn body(&self, width: f64) -> (Markup, f64) {
        let left =
            self.lanes.iter().map(|lane| name_width(&text::name(&lane.name, width))).fold(0.0, f64::max)
                + 14.0;
        let plot =
            Plot { left, right: width - 10.0, top: 0.0, bottom: self.lanes.len() as f64 * ROW + LINE / 2.0 };
        let body = html! {
            (plot.across(&self.axis, width))
            @for (i, lane) in self.lanes.iter().enumerate() {
                @let y = (i as f64 + 0.5) * ROW;
                text.n y=(N(y + 4.5)) { (text::name(&lane.name, width)) }
                @for span in &lane.spans { (self.span(span, &plot, y)) }
            }
        };
        (body, plot.bottom + BELOW)
    }
}

impl Lanes {
    fn span(&self, span: &Span, plot: &Plot, y: f64) -> Markup {
        let (from, to) = (plot.x(&self.axis, span.from), plot.x(&self.axis, span.to));
        html! {
            g class={ "span " (span.look.class()) } {
                // What takes no time is still to be seen.
                rect.s x=(N(from)) y=(N(y - THICK / 2.0)) width=(N((to - from).max(1.5))) height=(N(THICK)) {}
                @if text::width(&span.what) + 8.0 <= to - from {
                    text.m.on x=(N((from + to) / 2.0)) y=(N(y + 4.5)) { (span.what) }
                }
            }
        }
    }
}
