//! The two axes of a plot, with their grid lines.

use super::text::{LINE, width};
use super::{N, Scale, Unit};
use maud::{Markup, html};

/// Between two numbers on one axis, at least.
const GAP: f64 = 10.0;

/// What is measured along an axis.
#[derive(Debug, Clone)]
pub struct Axis {
    /// Its name, with the unit where the numbers do not have it.
    pub label: String,
    /// Where its numbers are.
    pub scale: Scale,
    /// What its numbers are.
    pub unit: Unit,
}

/// Where the data are drawn, in pixels.
#[derive(Debug, Clone, Copy)]
pub(super) struct Plot {
    pub(super) left: f64,
    pub(super) right: f64,
    pub(super) top: f64,
    pub(super) bottom: f64,
}

impl Plot {
    pub(super) fn x(&self, axis: &Axis, value: f64) -> f64 {
        self.left + (self.right - self.left) * axis.scale.at(value)
    }

    pub(super) fn y(&self, axis: &Axis, value: f64) -> f64 {
        self.bottom - (self.bottom - self.top) * axis.scale.at(value)
    }

    /// The axis below, whose numbers must stay within the `most` of x. It takes [`BELOW`] pixels.
    pub(super) fn across(&self, axis: &Axis, most: f64) -> Markup {
        let centre = |value, text: &str| {
            let half = width(text) / 2.0;
            self.x(axis, value).clamp(half, (most - half).max(half))
        };
        let ticks = axis.scale.ticks(axis.unit, |ticks| {
            let end =
                |(value, text): &(f64, String), side: f64| centre(*value, text) + side * width(text) / 2.0;
            ticks.windows(2).all(|pair| end(&pair[1], -1.0) - end(&pair[0], 1.0) > GAP)
        });
        let grid: String = ticks
            .iter()
            .map(|&(value, _)| format!("M{} {}V{}", N(self.x(axis, value)), N(self.top), N(self.bottom)))
            .collect();
        let half = width(&axis.label) / 2.0;
        let middle =
            ((self.left + self.right) / 2.0).clamp(half.min(most / 2.0), (most - half).max(most / 2.0));
        html! {
            path.g d=(grid) {}
            path.x d={ "M" (N(self.left)) " " (N(self.bottom)) "H" (N(self.right)) } {}
            @for (value, text) in &ticks {
                text.k.m x=(N(centre(*value, text))) y=(N(self.bottom + 17.0)) { (text) }
            }
            text.k.m x=(N(middle)) y=(N(self.bottom + 17.0 + LINE)) { (axis.label) }
        }
    }

    /// The numbers of the axis on the left, as far apart as lines of text.
    pub(super) fn ticks_up(axis: &Axis, length: f64) -> Vec<(f64, String)> {
        axis.scale.ticks(axis.unit, |ticks| {
            ticks
                .windows(2)
                .all(|pair| (axis.scale.at(pair[1].0) - axis.scale.at(pair[0].0)) * length >= LINE)
        })
    }

    /// The axis on the left, with its name above.
    pub(super) fn up(&self, axis: &Axis) -> Markup {
        let ticks = Plot::ticks_up(axis, self.bottom - self.top);
        let grid: String = ticks
            .iter()
            .map(|&(value, _)| format!("M{} {}H{}", N(self.left), N(self.y(axis, value)), N(self.right)))
            .collect();
        html! {
            path.g d=(grid) {}
            @for (value, text) in &ticks {
                text.k.e x=(N(self.left - 8.0)) y=(N(self.y(axis, *value) + 4.5)) { (text) }
            }
            text.k y=(N(self.top - 12.0)) { (axis.label) }
        }
    }
}

/// The height of the axis below a plot.
pub(super) const BELOW: f64 = 17.0 + LINE + 8.0;
