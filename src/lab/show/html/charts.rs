//! From a result to its charts.

use crate::lab::SystemCalls;
use crate::lab::load::hlog;
use crate::lab::results::compare::{Comparison, Figures, Group, Judged, Row, Verdict};
use crate::lab::show::svg::{
    Axis, Bar, Bars, COLOURS, Chart, Dot, DotRow, Dots, Line, Lines, Look, Point, Scale, Tone, Unit, measured,
};
use crate::lab::stats::Spread;
use crate::lab::units;
use std::collections::BTreeSet;

/// Models that stand for a way to wait, and so have a colour where there are too many for all to have one.
const KNOWN: [&str; 6] = ["select", "poll", "epoll-edge", "uring", "thread", "fork"];

/// So many points of a percentile curve lie between 90 % and 99 %, and between 99 % and 99.9 %.
const POINTS_PER_NINE: i32 = 4;

/// System calls with a name of their own in a chart; the others are one.
const MOST_CALLS: usize = COLOURS;

/// Which entrant looks how, the same in all charts.
#[derive(Debug)]
pub(super) struct Looks(Vec<(String, Look)>);

impl Looks {
    pub(super) fn of(result: &Comparison) -> Looks {
        let baseline = &result.plan.baseline;
        let others: Vec<_> = result.entrants.iter().filter(|entrant| &entrant.name != baseline).collect();
        let foreign = others.iter().filter(|entrant| entrant.foreign).map(|entrant| &entrant.name);
        let known = KNOWN.iter().filter_map(|known| {
            others
                .iter()
                .find(|entrant| !entrant.foreign && entrant.name == *known)
                .map(|entrant| &entrant.name)
        });
        let mut chosen: Vec<&String> = Vec::new();
        for name in foreign.chain(known).chain(others.iter().map(|entrant| &entrant.name)) {
            if !chosen.contains(&name) {
                chosen.push(name);
            }
        }
        let coloured =
            chosen.into_iter().take(COLOURS).enumerate().map(|(i, name)| (name.clone(), Look::Colour(i)));
        Looks(coloured.chain([(baseline.clone(), Look::Baseline)]).collect())
    }

    fn of_name(&self, name: &str) -> Look {
        self.0.iter().find(|(one, _)| one == name).map_or(Look::Grey, |&(_, look)| look)
    }

    /// Lines in the order in which they are drawn: those in front last.
    fn sorted(&self, mut lines: Vec<Line>) -> Vec<Line> {
        lines.sort_by_key(|line| match line.look {
            Look::Grey => 0,
            Look::Colour(i) => 1 + COLOURS - i,
            Look::Baseline => 2 + COLOURS,
        });
        lines
    }

    fn line(&self, name: &str, points: Vec<Point>) -> Line {
        Line { name: name.to_owned(), look: self.of_name(name), points }
    }
}

/// Intervals are drawn no further beyond all ratios than by this factor.
const MOST_BEYOND: f64 = 1.5;

/// What servers are ranked by in a group.
struct Measure {
    title: &'static str,
    /// Which way is better.
    better: &'static str,
    of: fn(&Figures) -> Option<&Judged>,
    /// Why a measured server has none.
    without: &'static str,
}

const LESS: &str = "less is better";

const CPU: Measure =
    Measure { title: "CPU time per request", better: LESS, of: |f| f.cpu.as_ref(), without: "not known" };
const RATE: Measure = Measure {
    title: "Requests/s",
    better: "more is better",
    of: |f| f.rate.as_ref(),
    without: "generator-bound",
};
const P50: Measure =
    Measure { title: "Median latency", better: LESS, of: |f| f.p50.as_ref(), without: "not known" };
const P99: Measure =
    Measure { title: "p99 latency", better: LESS, of: |f| f.p99.as_ref(), without: "not known" };

/// The rankings of a group, one for each figure that servers are judged by: ratios to the baseline with their intervals.
pub(super) fn rankings(result: &Comparison, group: &Group) -> Vec<Dots> {
    let measures: &[Measure] = if group.load.rate.is_some() { &[CPU, P50, P99] } else { &[CPU, RATE] };
    measures.iter().map(|measure| ranking(result, group, measure)).filter(|dots| !dots.is_empty()).collect()
}

fn ranking(result: &Comparison, group: &Group, measure: &Measure) -> Dots {
    let judged = |row: &Row| Some(*(measure.of)(row.figures.as_ref()?)?);
    let ratios = || group.rows.iter().filter_map(judged).map(|judged| judged.ratio.ratio).chain([1.0]);
    let (least, most) = (ratios().fold(f64::INFINITY, f64::min), ratios().fold(0.0, f64::max));
    let ends = group.rows.iter().filter_map(judged).flat_map(|judged| [judged.ratio.low, judged.ratio.high]);
    // The wide intervals of few starts would leave no room for the ratios.
    let ends = ends.flatten().map(|end| end.clamp(least / MOST_BEYOND, most * MOST_BEYOND));
    let scale = Scale::log(ratios().chain(ends));
    let noise = group.control().and_then(judged);
    let row = |row: &Row| DotRow { name: row.name(), dot: dot(row, measure) };
    let label = format!("ratio to {}; {}", result.plan.baseline, measure.better);
    Dots {
        title: format!("{}: {}", group.id(), measure.title),
        axis: Axis { label, scale, unit: Unit::Ratio },
        reference: Some(1.0),
        noise: noise.and_then(|judged| Some((judged.ratio.low?, judged.ratio.high?))),
        rows: ranked(group).into_iter().map(row).collect(),
    }
}

/// The rows of a group, the cheapest first, those without figures last.
pub(super) fn ranked(group: &Group) -> Vec<&Row> {
    let place = |row: &Row| {
        let figures = row.figures.as_ref()?;
        let cost = |judged: &Judged| judged.ratio.ratio;
        figures.cpu.as_ref().map(cost).or(figures.rate.as_ref().map(|judged| 1.0 / judged.ratio.ratio))
    };
    let mut rows: Vec<&Row> = group.rows.iter().collect();
    rows.sort_by(|a, b| place(a).unwrap_or(f64::INFINITY).total_cmp(&place(b).unwrap_or(f64::INFINITY)));
    rows
}

fn dot(row: &Row, measure: &Measure) -> Result<Dot, &'static str> {
    let Some(figures) = &row.figures else { return Err(super::word(row)) };
    let Some(judged) = (measure.of)(figures) else {
        return Err(if figures.not_judged.is_some() { super::word(row) } else { measure.without });
    };
    let tone = match judged.verdict {
        Some(Verdict::Better) => Tone::Better,
        Some(Verdict::Worse) => Tone::Worse,
        Some(Verdict::NoDifferenceShown) => Tone::Same,
        None => Tone::Plain,
    };
    Ok(Dot {
        value: judged.ratio.ratio,
        interval: judged.ratio.low.zip(judged.ratio.high).filter(|_| judged.verdict.is_some()),
        tone,
        text: super::ratio(judged),
        short: super::factor(judged.ratio.ratio),
    })
}

/// A number by which the points of a workload differ.
struct Dimension {
    label: &'static str,
    unit: Unit,
    of: fn(&Group) -> Option<f64>,
}

const DIMENSIONS: [Dimension; 5] = [
    Dimension { label: "idle connections", unit: Unit::Count, of: |g| Some(g.load.idle as f64) },
    Dimension { label: "active connections", unit: Unit::Count, of: |g| Some(g.load.active as f64) },
    Dimension { label: "bytes per request", unit: Unit::Bytes, of: |g| Some(f64::from(g.load.size)) },
    Dimension {
        label: "requests under way on a connection",
        unit: Unit::Count,
        of: |g| Some(g.load.depth as f64),
    },
    Dimension {
        label: "requests per connection",
        unit: Unit::Count,
        of: |g| g.load.requests_per_connection.map(f64::from),
    },
];

/// CPU time per request and requests/s against the number by which the points of a workload differ: idle connections for
/// example. None when there is only one point, and for rates that are offered.
pub(super) fn against(result: &Comparison, workload: &str, looks: &Looks) -> Vec<Lines> {
    let groups: Vec<&Group> = groups(result, workload).filter(|group| group.load.rate.is_none()).collect();
    let Some(dimension) = DIMENSIONS.iter().find(|dimension| differ(&groups, dimension.of)) else {
        return Vec::new();
    };
    let chart = |what: &str, label: &str, unit, of: fn(&Figures) -> Option<Spread>| {
        let title = format!("{what} against {}: {workload}", dimension.label);
        over(
            result,
            &groups,
            looks,
            dimension,
            Axis { label: label.to_owned(), scale: Scale::log([]), unit },
            title,
            of,
        )
    };
    let charts = [
        chart("CPU time per request", "CPU time per request", Unit::Micros, |f| f.cpu_us_per_request),
        chart("Rate", "requests/s", Unit::Count, |f| Some(f.requests_per_s)),
    ];
    charts.into_iter().filter(has_lines).collect()
}

/// With fewer rates there is no curve.
const LEAST_RATES: usize = 3;

/// Latency against the rate that is offered, of a workload in an open loop.
pub(super) fn offered(result: &Comparison, workload: &str, looks: &Looks) -> Option<Lines> {
    const OFFERED: Dimension =
        Dimension { label: "requests/s offered", unit: Unit::Count, of: |group| group.load.rate_per_s };
    let groups: Vec<&Group> = groups(result, workload).filter(|group| group.load.rate.is_some()).collect();
    let p99 = |figures: &Figures| {
        let p99 = figures.latency_us.p99?;
        Some(Spread { median: p99, low: p99, high: p99 })
    };
    let y =
        Axis { label: "99 of 100 are answered within".to_owned(), scale: Scale::log([]), unit: Unit::Micros };
    let title = format!("Latency (p99) against offered load: {workload}");
    let mut chart = over(result, &groups, looks, &OFFERED, y, title, p99);
    chart.x.scale = Scale::from_zero(groups.iter().filter_map(|group| group.load.rate_per_s));
    Some(chart).filter(|chart| groups.len() >= LEAST_RATES && has_lines(chart))
}

fn has_lines(chart: &Lines) -> bool {
    chart.lines.iter().any(|line| line.points.iter().any(|point| point.y.is_some()))
}

fn groups<'a>(result: &'a Comparison, workload: &'a str) -> impl Iterator<Item = &'a Group> {
    result.groups.iter().filter(move |group| group.workload == workload)
}

fn differ(groups: &[&Group], of: fn(&Group) -> Option<f64>) -> bool {
    let mut values = groups.iter().map(|group| of(group));
    let first = values.next();
    values.any(|value| Some(value) != first)
}

fn over(
    result: &Comparison,
    groups: &[&Group],
    looks: &Looks,
    dimension: &Dimension,
    mut y: Axis,
    title: String,
    of: fn(&Figures) -> Option<Spread>,
) -> Lines {
    let mut placed: Vec<_> =
        groups.iter().filter_map(|group| Some(((dimension.of)(group)?, *group))).collect();
    placed.sort_by(|a, b| a.0.total_cmp(&b.0));
    let line = |entrant: &str| {
        let point = |&(x, group): &(f64, &Group)| {
            let row = group.rows.iter().find(|row| row.entrant == entrant && !row.control);
            let spread = row.and_then(|row| of(row.figures.as_ref()?));
            let interval =
                spread.filter(|spread| spread.low < spread.high).map(|spread| (spread.low, spread.high));
            Point { x, y: spread.map(|spread| spread.median), interval }
        };
        looks.line(entrant, placed.iter().map(point).collect())
    };
    let lines: Vec<_> = result.entrants.iter().map(|entrant| line(&entrant.name)).collect();
    let points = || lines.iter().flat_map(|line| &line.points);
    let ends = points().filter_map(|point| point.interval).flat_map(|(low, high)| [low, high]);
    y.scale = Scale::log(points().filter_map(|point| point.y).chain(ends));
    let scale = Scale::log(points().filter(|point| point.y.is_some()).map(|point| point.x));
    let x = Axis { label: dimension.label.to_owned(), scale, unit: dimension.unit };
    Lines { title, x, y, lines: looks.sorted(lines) }
}

/// Latency by percentile, from the histograms of a group.
pub(super) fn percentiles(group: &Group, looks: &Looks) -> Option<Lines> {
    let line = |row: &Row| {
        let histogram =
            hlog::decoded(row.histogram.as_ref()?).ok().filter(|histogram| !histogram.is_empty())?;
        // Beyond this a percentile is that of a single request.
        let nines = (histogram.len() as f64).log10();
        let points = (0..).map(|i| f64::from(i) / f64::from(POINTS_PER_NINE)).take_while(|&at| at <= nines);
        let point = |at: f64| {
            let one_in = 10f64.powf(at);
            let value = histogram.value_at_quantile(1.0 - 1.0 / one_in) as f64 / 1e3;
            Point { x: one_in, y: Some(value).filter(|&us| us > 0.0), interval: None }
        };
        Some(looks.line(&row.entrant, points.map(point).collect()))
    };
    let lines: Vec<_> = group.rows.iter().filter(|row| !row.control).filter_map(line).collect();
    let points = || lines.iter().flat_map(|line| &line.points);
    let axis = |label: &str, scale, unit| Axis { label: label.to_owned(), scale, unit };
    let what = if group.load.rate.is_some() { "response time" } else { "latency in a closed loop" };
    Some(Lines {
        title: format!("Latency by percentile: {}", group.id()),
        x: axis(
            "this many are answered in at most that time",
            Scale::log(points().map(|point| point.x)),
            Unit::OneIn,
        ),
        y: axis(what, Scale::log(points().filter_map(|point| point.y)), Unit::Micros),
        lines: looks.sorted(lines),
    })
    .filter(has_lines)
}

/// System calls per request by name.
pub(super) fn calls(group: &Group) -> Option<Bars> {
    let rows: Vec<_> =
        ranked(group).into_iter().filter(|row| !row.control && row.figures.is_some()).collect();
    let named = most_frequent(&rows);
    let mut bars: Vec<Bar> = rows.iter().map(|row| bar(row, &named)).collect();
    let has_others = bars.iter().any(|bar| bar.parts.last().is_some_and(|&others| others > 0.0));
    if !has_others {
        bars.iter_mut().for_each(|bar| bar.parts.truncate(named.len()));
    }
    let most = bars.iter().map(|bar| bar.parts.iter().sum::<f64>()).fold(0.0, f64::max);
    let axis = Axis {
        label: "system calls per request".to_owned(),
        scale: Scale::from_zero([most]),
        unit: Unit::Count,
    };
    let parts = named.into_iter().chain(has_others.then(|| "others".to_owned())).collect();
    let title = format!("System calls per request: {}", group.id());
    Some(Bars { title, axis, parts, bars }).filter(|_| most > 0.0)
}

fn counted(row: &Row) -> Option<&SystemCalls<f64>> {
    row.figures.as_ref()?.syscalls_per_request.as_ref()
}

fn number(row: &Row, name: &str) -> f64 {
    counted(row).and_then(|calls| calls.by_name.get(name)?.as_f64()).unwrap_or(0.0)
}

/// The names of the calls that are made most often, by all rows together.
fn most_frequent(rows: &[&Row]) -> Vec<String> {
    let names: BTreeSet<_> =
        rows.iter().filter_map(|row| counted(row)).flat_map(|calls| calls.by_name.keys()).collect();
    let mut sums: Vec<(f64, &String)> =
        names.into_iter().map(|name| (rows.iter().map(|row| number(row, name)).sum(), name)).collect();
    sums.sort_by(|a, b| b.0.total_cmp(&a.0));
    sums.into_iter().take(MOST_CALLS).map(|(_, name)| name.clone()).collect()
}

/// The bar of a row: a part for each name, and one for all other calls.
fn bar(row: &Row, named: &[String]) -> Bar {
    let Some(calls) = counted(row) else { return Bar { name: row.entrant.clone(), parts: Vec::new() } };
    let mut parts: Vec<_> = named.iter().map(|name| number(row, name)).collect();
    parts.push(calls.total - parts.iter().sum::<f64>());
    // To a thousandth, so that rounding leaves no other calls where there are none.
    parts.iter_mut().for_each(|part| *part = (*part * 1e3).round().max(0.0) / 1e3);
    Bar { name: row.entrant.clone(), parts }
}

/// An amount of memory of a row.
type Bytes = fn(&Figures) -> Option<f64>;

/// Memory when a server listens, and what each connection adds: a chart each.
pub(super) fn memory(group: &Group) -> Vec<Dots> {
    let connections = units::of(group.load.connections() as u64, "connection");
    let measures: [(&str, String, Bytes); 3] = [
        ("Server", "when it listens".to_owned(), |f| f.memory.listening.map(|bytes| bytes as f64)),
        ("Server, per connection", format!("added by each of {connections}"), |f| f.memory_per_connection),
        ("Kernel, per connection", format!("added by each of {connections}"), |f| {
            f.kernel_memory_per_connection
        }),
    ];
    let charts = measures.into_iter().map(|(title, label, of)| amounts(group, title, label, of));
    charts.filter(|chart| !chart.is_empty()).collect()
}

/// An amount of memory of each server, the least on top.
fn amounts(group: &Group, title: &str, label: String, of: Bytes) -> Dots {
    let amount = |row: &Row| Some(of(row.figures.as_ref()?)?.max(0.0));
    let measured_rows = group.rows.iter().filter(|row| !row.control && row.figures.is_some());
    let mut rows: Vec<_> = measured_rows.map(|row| (row, amount(row))).collect();
    rows.sort_by(|a, b| a.1.unwrap_or(f64::INFINITY).total_cmp(&b.1.unwrap_or(f64::INFINITY)));
    // Amounts that are nearly the same are to look so.
    let around =
        rows.iter().filter_map(|(_, amount)| *amount).flat_map(|amount| [amount / 2.0, amount * 2.0]);
    let scale = Scale::log(around);
    let row = |&(row, amount): &(&Row, Option<f64>)| {
        let dot = |value| {
            let text = measured(Unit::Bytes, value);
            Dot { value, interval: None, tone: Tone::Plain, text: text.clone(), short: text }
        };
        DotRow { name: row.entrant.clone(), dot: amount.map(dot).ok_or("not known") }
    };
    Dots {
        title: title.to_owned(),
        axis: Axis { label, scale, unit: Unit::Bytes },
        reference: None,
        noise: None,
        rows: rows.iter().map(row).collect(),
    }
}
