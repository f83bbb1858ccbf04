//! Lines over two axes: one for each server, the few that matter in colour and the others in grey.

use super::axis::{Axis, BELOW, Plot};
use super::text::{self, LINE, name_width};
use super::{Chart, Look, N, legend, measured};
use maud::{Markup, html};

/// On charts that are at least so wide, each line has its name at its end. On others there is a legend.
const WIDE_ENOUGH: f64 = 600.0;

/// Each point of a line with more than that has no marker: a few do.
const MOST_MARKERS: usize = 12;

/// From the plot to the labels beside it.
const LABELS: f64 = 48.0;

/// Labels at the ends of lines are so far apart.
const LABEL_GAP: f64 = 15.5;

/// Lines over two axes.
#[derive(Debug, Clone)]
pub struct Lines {
    /// What it shows.
    pub title: String,
    /// The axis below.
    pub x: Axis,
    /// The axis on the left.
    pub y: Axis,
    /// The lines; the last ones are drawn above the others.
    pub lines: Vec<Line>,
}

/// A line and its name.
#[derive(Debug, Clone)]
pub struct Line {
    /// Of what.
    pub name: String,
    /// How it looks.
    pub look: Look,
    /// From left to right.
    pub points: Vec<Point>,
}

/// A point of a line.
#[derive(Debug, Clone, Copy)]
pub struct Point {
    /// On the axis below.
    pub x: f64,
    /// On the axis on the left; `None` where it was not measured, which leaves a gap.
    pub y: Option<f64>,
    /// The interval of y.
    pub interval: Option<(f64, f64)>,
}

impl Line {
    fn measured(&self) -> impl DoubleEndedIterator<Item = (f64, f64)> {
        self.points.iter().filter_map(|point| Some((point.x, point.y?)))
    }
}

impl Chart for Lines {
    fn title(&self) -> &str {
        &self.title
    }

    fn description(&self) -> String {
        let line = |line: &Line| {
            let point = |(x, y)| format!("{} at {}", measured(self.y.unit, y), self.x.unit.text(x));
            let ends = line.measured().next().into_iter().chain(line.measured().next_back());
            format!("{}: {}", line.name, ends.map(point).collect::<Vec<_>>().join(" to "))
        };
        let in_front = self.drawn().filter(|line| line.look != Look::Grey).map(line);
        let behind = match self.drawn().filter(|line| line.look == Look::Grey).count() {
            0 => String::new(),
            n => format!(" {n} more in grey."),
        };
        format!(
            "{} over {}. {}.{behind}",
            self.y.label,
            self.x.label,
            in_front.collect::<Vec<_>>().join("; ")
        )
    }

    fn is_empty(&self) -> bool {
        self.drawn().next().is_none()
    }

    fn body(&self, width: f64) -> (Markup, f64) {
        let lines: Vec<&Line> = self.drawn().collect();
        let labels_beside = width >= WIDE_ENOUGH;
        let label_width =
            lines.iter().map(|line| name_width(&text::name(&line.name, width))).fold(0.0, f64::max) + LABELS;
        let length = match labels_beside {
            true => (lines.len() as f64 * LABEL_GAP).max(320.0),
            false => 250.0,
        };
        let ticks = Plot::ticks_up(&self.y, length);
        let left = ticks.iter().map(|(_, text)| text::width(text)).fold(0.0, f64::max) + 10.0;
        let right = if labels_beside { width - label_width } else { width - 10.0 };
        let plot = Plot { left, right, top: LINE + 12.0, bottom: LINE + 12.0 + length };
        let below = plot.bottom + BELOW;
        let (legend, legend_height) = match labels_beside {
            true => (self.labels(&lines, &plot, width), 0.0),
            false => self.legend(&lines, width, below),
        };
        let body = html! {
            (plot.up(&self.y))
            (plot.across(&self.x, width))
            @for line in &lines { (self.line(line, &plot)) }
            (legend)
        };
        (body, below + legend_height)
    }
}

impl Lines {
    fn drawn(&self) -> impl Iterator<Item = &Line> {
        self.lines.iter().filter(|line| line.measured().next().is_some())
    }

    fn line(&self, line: &Line, plot: &Plot) -> Markup {
        let place = |(x, y)| (plot.x(&self.x, x), plot.y(&self.y, y));
        let data = path(line.points.iter().map(|point| Some(place((point.x, point.y?)))));
        let places: Vec<_> = line.measured().map(place).collect();
        let every = places.len().div_ceil(MOST_MARKERS).max(1);
        let is_marked = |i: usize| i.is_multiple_of(every) || i + 1 == places.len();
        let marked = places.iter().enumerate().filter(|&(i, _)| is_marked(i));
        let markers: String = marked.map(|(_, &(x, y))| line.look.marker(x, y)).collect();
        let in_front = line.look != Look::Grey;
        html! {
            g class={ "line " (line.look.class()) } {
                @if in_front { (self.intervals(line, plot, every == 1)) }
                path.l d=(data) {}
                @if in_front || places.len() == 1 {
                    path.p d=(markers) {}
                }
            }
        }
    }

    /// Error bars, or a band where there are too many points for bars.
    fn intervals(&self, line: &Line, plot: &Plot, as_bars: bool) -> Markup {
        let known = line.points.iter().filter_map(|point| Some((point.x, point.y.and(point.interval)?)));
        let placed: Vec<_> = known
            .map(|(x, (low, high))| (plot.x(&self.x, x), plot.y(&self.y, low), plot.y(&self.y, high)))
            .collect();
        if placed.is_empty() {
            return html! {};
        }
        if as_bars {
            let bar = |&(x, low, high): &(f64, f64, f64)| {
                let (left, right) = (N(x - 3.0), N(x + 3.0));
                let (x, low, high) = (N(x), N(low), N(high));
                format!("M{x} {low}V{high}M{left} {low}H{right}M{left} {high}H{right}")
            };
            return html! { path.i d=(placed.iter().map(bar).collect::<String>()) {} };
        }
        let lows = placed.iter().map(|&(x, low, _)| (x, low));
        let highs = placed.iter().rev().map(|&(x, _, high)| (x, high));
        let points: Vec<_> = lows.chain(highs).map(|(x, y)| format!("{} {}", N(x), N(y))).collect();
        html! { path.band d={ "M" (points.join("L")) "Z" } {} }
    }

    /// A name at the end of each line, and a thin line to it for those in front.
    fn labels(&self, lines: &[&Line], plot: &Plot, width: f64) -> Markup {
        let ends: Vec<_> = lines
            .iter()
            .filter_map(|line| line.measured().next_back())
            .map(|(x, y)| (plot.x(&self.x, x), plot.y(&self.y, y)))
            .collect();
        let wanted: Vec<_> = ends.iter().map(|&(_, y)| y).collect();
        let places = text::spread(&wanted, LABEL_GAP, plot.top, plot.bottom);
        let at = plot.right + LABELS;
        html! {
            @for ((line, (x, y)), place) in lines.iter().zip(ends).zip(places) {
                @let in_front = line.look != Look::Grey;
                g class={ "label " (line.look.class()) } {
                    @if in_front {
                        path.lead d={ "M" (N(x + 5.0)) " " (N(y)) "H" (N(plot.right + 3.0)) "L" (N(at - 16.0)) " " (N(place)) } {}
                        path.p d=(line.look.marker(at - 10.0, place)) {}
                    }
                    text.n.b[in_front] x=(N(at)) y=(N(place + 4.5)) { (text::name(&line.name, width)) }
                }
            }
        }
    }

    /// The names of the lines in front, and how many are behind.
    fn legend(&self, lines: &[&Line], width: f64, top: f64) -> (Markup, f64) {
        let names: Vec<_> = lines.iter().map(|line| text::name(&line.name, width)).collect();
        let (behind, front): (Vec<_>, Vec<_>) =
            lines.iter().zip(&names).partition(|(line, _)| line.look == Look::Grey);
        let others = format!("{} others, in grey", behind.len());
        let mut entries: Vec<_> =
            front.iter().rev().map(|(line, name)| (name.as_str(), sample(line.look))).collect();
        match &behind[..] {
            [] => {}
            [(line, name)] => entries.push((name.as_str(), sample(line.look))),
            _ => entries.push((&others, sample(Look::Grey))),
        }
        legend(entries, width, top)
    }
}

/// The data of a path through these places. Between tenths of a pixel only the differences are written, which are short.
fn path(places: impl Iterator<Item = Option<(f64, f64)>>) -> String {
    let tenths = |value: f64| (value * 10.0).round() / 10.0;
    let mut data = String::new();
    let mut last = None;
    for place in places {
        let place = place.map(|(x, y)| (tenths(x), tenths(y)));
        data += &match (last, place) {
            (_, None) => String::new(),
            (None, Some((x, y))) => format!("M{} {}", N(x), N(y)),
            (Some((from_x, from_y)), Some((x, y))) => format!("l{} {}", N(x - from_x), N(y - from_y)),
        };
        last = place;
    }
    data.replace(" -", "-")
}

fn sample(look: Look) -> Markup {
    html! {
        g class=(look.class()) {
            path.l d="M0 0H24" {}
            @if look != Look::Grey { path.p d=(look.marker(12.0, 0.0)) {} }
        }
    }
}
