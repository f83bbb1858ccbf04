//! A demo for people: its number before and after, why, how the programs differ; and its picture.

use super::svg::{
    Axis, Bar, Bars, Chart, Lane, Lanes, Line, Lines, Look, Point, Scale, Span, Unit, standalone,
};
use super::{Page, Table};
use crate::lab::demo::{ALL, Demo, Text, diff};
use crate::lab::lang::Lang;
use crate::lab::results::demo::{Demonstration, Drawn, Language, Run};
use crate::lab::units;
use anstyle::Style;
use maud::Markup;
use std::fmt::Write;

/// The list of the demos.
#[must_use]
pub fn list(lang: Lang, width: Option<usize>) -> String {
    let mut table = Table::new(&[""], "");
    for demo in ALL {
        table.row([demo.id.to_owned()], demo.text(lang).title, Style::new());
    }
    table.stacked(width)
}

/// The same as a Markdown table, for the documentation: what each demo is about, its number, and its languages.
#[must_use]
pub fn markdown(lang: Lang) -> String {
    let head =
        lang.say(["demo", "what it shows", "its number", "C++"], ["演示", "内容", "测量的数值", "C++"]);
    let mut text = format!("| {} |\n|---|---|---|---|\n", head.join(" | "));
    for demo in ALL {
        let Text { title, number, .. } = demo.text(lang);
        let cpp = demo.sources(Language::Cpp).map_or("", |_| lang.say("yes", "有"));
        writeln!(text, "| `{}` | {title} | {number} | {cpp} |", demo.id).ok();
    }
    text
}

impl Demonstration {
    /// In lines of at most `width` columns. Colours are escape sequences.
    #[must_use]
    pub fn page(&self, demo: &Demo, lang: Lang, width: Option<usize>) -> String {
        let text = demo.text(lang);
        let mut page = Page::new(width);
        page.paragraph(&format!("{} ({}, {})", text.title, self.demo, self.language.name()));
        page.blank();
        page.table(&self.table(&text, lang));
        page.blank();
        page.paragraph(&text.why.join(lang.say(" ", "")));
        page.blank();
        if let Some(sources) = demo.sources(self.language) {
            let suffix = self.language.suffix();
            page.push(&format!("--- broken.{suffix}\n+++ mended.{suffix}\n{}", diff(sources)));
            page.blank();
        }
        for fact in &self.facts {
            page.indented(0, 2, &format!("io-models facts --explain {fact}"));
        }
        for check in &self.checks {
            let command = format!("io-models demo {} --run broken {{port}}", self.demo);
            let options = ["--only", check, demo.check_options].join(" ");
            page.indented(0, 2, &format!("io-models check {} -- {command}", options.trim_end()));
        }
        let cpp = if self.language == Language::Cpp { " --cpp" } else { "" };
        page.indented(0, 2, &format!("io-models demo {} --source mended{cpp}", self.demo));
        page.into_text()
    }

    /// The number before and after, and the other figures.
    fn table(&self, text: &Text, lang: Lang) -> Table {
        let head = lang.say(["", "broken", "mended"], ["", "有错误", "已修正"]);
        let mut table = Table::new(&head, "");
        let row = |label: &str, of: &dyn Fn(&Run) -> Option<f64>| {
            let cells = self.runs().map(|run| of(run).map_or_else(|| units::UNKNOWN.to_owned(), figure));
            [vec![label.to_owned()], cells.to_vec()].concat()
        };
        table.row(row(&text.number, &|run| Some(run.number)), "", Style::new());
        for name in self.broken.figures.keys() {
            table.row(row(text.label(name), &|run| run.figures.get(name).copied()), "", Style::new());
        }
        table
    }

    /// The picture as an SVG file.
    #[must_use]
    pub fn picture(&self, text: &Text, width: f64) -> String {
        standalone(&Picture { chart: self.chart(text), text: self.described(text) }, width)
    }

    fn chart(&self, text: &Text) -> Box<dyn Chart> {
        let names = [&text.broken, &text.mended];
        let runs = names.into_iter().zip(self.runs());
        let label = |name: &str| text.label(name).to_owned();
        let title = text.picture.clone();
        match &self.broken.drawn {
            Drawn::Parts(parts) => {
                let bars: Vec<_> =
                    runs.map(|(name, run)| Bar { name: name.clone(), parts: values(run) }).collect();
                let most = bars.iter().map(|bar| bar.parts.iter().sum());
                let scale = Scale::from_zero(most);
                let axis = Axis { label: label("axis"), scale, unit: Unit::Count };
                Box::new(Bars {
                    title,
                    axis,
                    parts: parts.iter().map(|(name, _)| label(name)).collect(),
                    bars,
                })
            }
            Drawn::OverTime(_) | Drawn::Points(_) => {
                let all: Vec<_> = self.runs().into_iter().flat_map(points).collect();
                let most = all.iter().map(|point| point.x).fold(0.0, f64::max);
                let unit =
                    if let Drawn::OverTime(_) = self.broken.drawn { Unit::Micros } else { Unit::Count };
                let x = Axis { label: label("x"), scale: Scale::Linear { from: 0.0, to: most }, unit };
                let scale = Scale::from_zero(all.iter().filter_map(|point| point.y));
                let y = Axis { label: label("y"), scale, unit: Unit::Count };
                let of = |(i, (name, run)): (usize, (&String, &Run))| Line {
                    name: name.clone(),
                    look: Look::Colour(1 - i),
                    points: points(run),
                };
                Box::new(Lines { title, x, y, lines: runs.enumerate().map(of).collect() })
            }
            Drawn::Pieces { sent, .. } => {
                let end = sent.last().map_or(0.0, |&(_, to)| to);
                let scale = Scale::Linear { from: 0.0, to: end };
                let axis = Axis { label: label("axis"), scale, unit: Unit::Count };
                let lane = |name: String, look, pieces: &[(f64, f64)]| Lane {
                    name,
                    spans: pieces
                        .iter()
                        .map(|&(from, to)| Span { from, to, what: units::count((to - from) as u64), look })
                        .collect(),
                };
                let mut lanes = vec![lane(label("sent"), Look::Grey, sent)];
                for (i, (name, run)) in runs.enumerate() {
                    let Drawn::Pieces { taken, .. } = &run.drawn else { continue };
                    lanes.push(lane(name.clone(), Look::Colour(1 - i), taken));
                }
                Box::new(Lanes { title, axis, lanes })
            }
        }
    }

    /// For those who do not see the picture.
    fn described(&self, text: &Text) -> String {
        let [broken, mended] = self.runs().map(|run| figure(run.number));
        format!("{}: {} {broken}; {} {mended}", text.number, text.broken, text.mended)
    }
}

/// A chart whose description is in the language of its texts.
struct Picture {
    chart: Box<dyn Chart>,
    text: String,
}

impl Chart for Picture {
    fn title(&self) -> &str {
        self.chart.title()
    }

    fn description(&self) -> String {
        self.text.clone()
    }

    fn is_empty(&self) -> bool {
        self.chart.is_empty()
    }

    fn body(&self, width: f64) -> (Markup, f64) {
        self.chart.body(width)
    }
}

fn values(run: &Run) -> Vec<f64> {
    match &run.drawn {
        Drawn::Parts(parts) => parts.iter().map(|&(_, value)| value).collect(),
        _ => Vec::new(),
    }
}

fn points(run: &Run) -> Vec<Point> {
    let (points, unit) = match &run.drawn {
        // The axis has microseconds.
        Drawn::OverTime(points) => (points, 1e3),
        Drawn::Points(points) => (points, 1.0),
        Drawn::Parts(_) | Drawn::Pieces { .. } => return Vec::new(),
    };
    points.iter().map(|&(x, y)| Point { x: x * unit, y: Some(y), interval: None }).collect()
}

/// A number: whole, or with one decimal.
fn figure(value: f64) -> String {
    if value.fract() == 0.0 { units::count(value as u64) } else { format!("{value:.1}") }
}

impl Language {
    /// As people write it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Language::Rust => "Rust",
            Language::Cpp => "C++",
        }
    }

    /// The end of the name of a file.
    #[must_use]
    pub fn suffix(self) -> &'static str {
        match self {
            Language::Rust => "rs",
            Language::Cpp => "cpp",
        }
    }
}
