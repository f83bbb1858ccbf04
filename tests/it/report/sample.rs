//! Results as `compare` and `check` write them, made up: which servers, which workloads, and who is better by how much.

use fastrand::Rng;
use io_models::lab::compare::gates::{FIGURES, Gates};
use io_models::lab::env::Environment;
use io_models::lab::gate;
use io_models::lab::load::LatencyUs;
use io_models::lab::load::hlog;
use io_models::lab::load::plan::EngineKind;
use io_models::lab::results::check::{self, Checked};
use io_models::lab::results::compare::{
    Comparison, Entrant, Figures, Group, Judged, Load, Machine, Memory, OneOrMore, Pinning, Plan, Rate, Row,
    SCHEMA, VERSION, Verdict, Workload,
};
use io_models::lab::serve::Sharing;
use io_models::lab::stats::{Estimate, Spread};
use io_models::lab::{Status, SystemCalls};
use io_models::model;
use serde_json::{Map, Value};

/// The model that all others are compared with.
pub(crate) const BASELINE: &str = "epoll-level";

/// The name of a foreign server, as a user could choose it.
pub(crate) const EVIL: &str = "<script>alert(\"it's me\")</script>";

/// More idle connections than select(2) can watch.
const MANY: usize = 9000;

/// All models and two foreign servers under these workloads.
pub(crate) fn sample(workloads: &[&str]) -> Comparison {
    let models = model::ALL.iter().map(|model| model.name).filter(|name| *name != BASELINE);
    let names: Vec<&str> = [BASELINE].into_iter().chain(models).chain([EVIL, "go"]).collect();
    of(workloads, &names)
}

/// The same result with gates, one of which is met, and beside itself as an earlier one.
pub(crate) fn gated(result: &Comparison, met: &str, not_met: &str) -> Comparison {
    let gates = gate::read(&[met.to_owned(), not_met.to_owned()], &FIGURES).expect("gates");
    let mut earlier = result.clone();
    earlier.plan.seed += 1;
    let mut gated = result.clone();
    Gates::new(gates, Some(("old.json".to_owned(), earlier))).judge(&mut gated);
    gated
}

/// These servers, the baseline first, under these workloads.
pub(crate) fn of(workloads: &[&str], names: &[&str]) -> Comparison {
    let workloads: Vec<Workload> = workloads.iter().map(|name| workload(name)).collect();
    let mut random = Rng::with_seed(1);
    let groups = workloads.iter().flat_map(points);
    let groups = groups.map(|(load, id)| group(load, id, names, &mut random)).collect();
    let is_foreign = |name: &str| model::ALL.iter().all(|model| model.name != name);
    let entrant = |name: &&str| Entrant {
        name: (*name).to_owned(),
        summary: "a server".to_owned(),
        foreign: is_foreign(name),
    };
    Comparison {
        schema: SCHEMA.to_owned(),
        schema_version: VERSION,
        partial: false,
        seconds: 83.0,
        environment: Environment::here(),
        plan: Plan {
            workloads,
            models: names.iter().map(|&name| name.to_owned()).collect(),
            servers: Vec::new(),
            baseline: BASELINE.to_owned(),
            workers: 2,
            starts: 5,
            slices: 5,
            precision: None,
            seed: 1,
            pinning: Some(Pinning { server_cpu: 0, generator_cpu: 1 }),
            engine: EngineKind::Epoll,
            quick: false,
        },
        entrants: names.iter().map(entrant).collect(),
        groups,
        not_known: Vec::new(),
        gates: Vec::new(),
        earlier: None,
    }
}

/// Verdicts on servers of these names: each passed a check, failed one, for which `text` says all that can be said, and could not make others.
pub(crate) fn checked(names: &[&str], text: &str) -> Checked {
    let text = || text.to_owned();
    let outcomes = [
        ("echo/one-byte", check::Outcome::Passed),
        ("echo/nul", check::Outcome::Failed),
        ("signals/stop-continue", check::Outcome::NotApplicable),
        ("stop/sigterm", check::Outcome::NotMade),
    ];
    let verdict = |&(id, outcome): &(&str, check::Outcome)| check::Verdict {
        check: id.to_owned(),
        claim: text(),
        outcome,
        tries: (outcome == check::Outcome::Passed).then_some(2),
        seconds: 0.1,
        failure: (outcome == check::Outcome::Failed).then(|| check::Failure {
            expected: text(),
            observed: text(),
            cause: text(),
            conversation: vec![text(), text()],
        }),
        why: matches!(outcome, check::Outcome::NotApplicable | check::Outcome::NotMade).then(text),
    };
    let judged = |name: &&str| check::Judged {
        name: (*name).to_owned(),
        server: text(),
        verdicts: outcomes.iter().map(verdict).collect(),
    };
    Checked {
        schema: check::SCHEMA.to_owned(),
        schema_version: check::SCHEMA_VERSION,
        environment: Environment::here(),
        plan: check::Plan {
            expect: check::Expect::Echo,
            clients: 1000,
            faults: false,
            seed: 1,
            checks: outcomes.iter().map(|(id, _)| (*id).to_owned()).collect(),
        },
        seconds: 1.5,
        partial: false,
        servers: names.iter().map(judged).collect(),
    }
}

fn workload(name: &str) -> Workload {
    let shares = |percent: &[u32]| {
        Some(OneOrMore::More(percent.iter().map(|&p| Rate::OfBaseline(f64::from(p) / 100.0)).collect()))
    };
    Workload {
        name: name.to_owned(),
        summary: "64 clients".to_owned(),
        connections: OneOrMore::One(if name == "single" { 1 } else { 64 }),
        idle: if name == "idle" { OneOrMore::More(vec![0, 100, 1000, MANY]) } else { OneOrMore::One(0) },
        size: OneOrMore::One(if name == "bulk" { 65536 } else { 64 }),
        depth: OneOrMore::One(if name == "depth" { 16 } else { 1 }),
        requests_per_connection: (name == "churn").then(|| OneOrMore::More(vec![1, 100])),
        rate: match name {
            "open" => shares(&[50, 80]),
            "sweep" => shares(&[10, 25, 50, 70, 80, 90, 100]),
            _ => None,
        },
        slice_ms: 20,
    }
}

/// The name of a workload, that of a point, and whether it is a load that all can take.
type Id = (String, Option<String>, bool);

/// The loads of a workload, each with the workload's name and the name of the point.
fn points(workload: &Workload) -> Vec<(Load, Id)> {
    let load = Load {
        active: workload.connections.all()[0],
        idle: 0,
        size: workload.size.all()[0],
        depth: workload.depth.all()[0],
        requests_per_connection: None,
        rate: None,
        rate_per_s: None,
    };
    let id = |point: String, common| (workload.name.clone(), Some(point), common);
    let mut points: Vec<_> = workload
        .idle
        .all()
        .iter()
        .map(|&idle| (Load { idle, ..load.clone() }, id(idle.to_string(), false)))
        .collect();
    if points.len() > 1 {
        points.push((Load { idle: 900, ..load.clone() }, id("900".to_owned(), true)));
    } else {
        points[0].1.1 = None;
    }
    if let Some(requests) = &workload.requests_per_connection {
        let point =
            |&n: &u32| (Load { requests_per_connection: Some(n), ..load.clone() }, id(n.to_string(), false));
        return requests.all().iter().map(point).collect();
    }
    if let Some(rates) = &workload.rate {
        let point = |rate: &Rate| {
            let Rate::OfBaseline(share) = rate else { unreachable!("shares only") };
            let load =
                Load { rate: Some(*rate), rate_per_s: Some((share * 240_000.0).round()), ..load.clone() };
            (load, id(rate.to_string(), false))
        };
        return rates.all().iter().map(point).collect();
    }
    points
}

fn group(load: Load, (workload, point, common): Id, names: &[&str], random: &mut Rng) -> Group {
    let row = |(i, name): (usize, &&str)| row(name, i == 0, &load, common, random);
    let mut rows: Vec<Row> = names.iter().enumerate().map(row).collect();
    let mut control = rows[0].clone();
    (control.baseline, control.control) = (false, true);
    if let Some(figures) = &mut control.figures {
        for judged in [&mut figures.rate, &mut figures.cpu, &mut figures.p50, &mut figures.p99] {
            *judged = judged.map(|_| of_ratio(1.002, 0.006, true));
        }
    }
    rows.insert(1, control);
    let machine = Machine { foreign_cpus: Some(0.03), stolen_cpus: Some(0.0), softirq_cpus: None };
    Group { workload, point, load, slice_ms: 20, common, machine, rows }
}

fn row(name: &str, baseline: bool, load: &Load, common: bool, random: &mut Rng) -> Row {
    let empty = Row {
        entrant: name.to_owned(),
        baseline,
        control: false,
        status: Status::Skipped,
        reason: None,
        figures: None,
        starts: Vec::new(),
        histogram: None,
    };
    let why = match name {
        "blocking" if load.active > 1 => {
            "takes at most 1 connection (one client at a time), and 64 are needed"
        }
        "select" if load.idle == MANY => {
            "takes about 1019 clients, because FD_SETSIZE is 1024, and 9064 are needed"
        }
        "go" if load.depth > 1 => {
            return Row {
                status: Status::Failed,
                reason: Some("ended with status 2; its last words: panic: runtime error".to_owned()),
                ..empty
            };
        }
        _ => {
            let (figures, histogram) = figures(name, baseline, load, random);
            let mut row =
                Row { status: Status::Measured, figures: Some(figures), histogram: Some(histogram), ..empty };
            let figures = row.figures.as_mut().expect("was measured");
            if name == "fork" && load.idle == MANY && !common {
                (figures.rate, figures.cpu) = (None, None);
                figures.not_judged = Some("had 1000 idle connections instead of 9000".to_owned());
            }
            return row;
        }
    };
    Row { reason: Some(why.to_owned()), ..empty }
}

/// How much CPU time a server needs, as a ratio to the baseline: its own factor, and what grows with idle connections.
fn cost(name: &str, idle: usize, random: &mut Rng) -> f64 {
    let scan = match name {
        "select" | "select-big" => 0.012,
        "poll" => 0.03,
        _ => 0.0,
    };
    let own = match name {
        BASELINE => 1.0,
        "select" | "select-big" | "poll" | "uring" => 0.96,
        "epoll-edge" => 1.001,
        _ if name.contains("fork") => 2.0,
        _ if name.contains("thread") => 1.8,
        EVIL => 1.4,
        _ => 0.95 + random.f64() * 0.3,
    };
    own + scan * idle as f64
}

fn of_ratio(ratio: f64, half: f64, more_is_better: bool) -> Judged {
    let (low, high) = (ratio * (1.0 - half), ratio * (1.0 + half));
    let verdict = match (low > 1.0, high < 1.0) {
        (true, _) if more_is_better => Verdict::Better,
        (true, _) => Verdict::Worse,
        (_, true) if more_is_better => Verdict::Worse,
        (_, true) => Verdict::Better,
        _ => Verdict::NoDifferenceShown,
    };
    Judged { ratio: Estimate { ratio, low: Some(low), high: Some(high) }, verdict: Some(verdict) }
}

fn around(median: f64) -> Spread {
    Spread { median, low: median * 0.97, high: median * 1.04 }
}

fn figures(name: &str, baseline: bool, load: &Load, random: &mut Rng) -> (Figures, String) {
    let cost = cost(name, load.idle, random);
    let requests_per_s = 240_000.0 / cost;
    let offered = load.rate_per_s;
    let share = offered.map_or(0.9, |offered| (offered / requests_per_s).min(0.99));
    let latency = latencies(20.0 * cost / (1.0 - share), random);
    let judged = |ratio: f64, more| {
        let judged = of_ratio(ratio, 0.01 + random_half(name), more);
        let of_itself = Judged { ratio: Estimate::ONE, verdict: None };
        if baseline { of_itself } else { judged }
    };
    let is_open = offered.is_some();
    let foreign = model::ALL.iter().all(|model| model.name != name);
    let figures = Figures {
        starts: 5,
        slices: 25,
        requests_per_s: around(offered.unwrap_or(requests_per_s)),
        // One of the foreign servers is not known by its process.
        cpu_us_per_request: (name != "go").then(|| around(4.1 * cost)),
        latency_us: LatencyUs::of(&latency),
        rate: (!is_open && name != "spin").then(|| judged(1.0 / cost, true)),
        cpu: (name != "go").then(|| judged(cost, false)),
        p50: is_open.then(|| judged(cost.sqrt(), false)),
        p99: is_open.then(|| judged(cost, false)),
        not_judged: None,
        imprecise: None,
        user_share: Some(0.11),
        syscalls_per_request: (!foreign).then(|| calls(name, load)),
        requests_per_wait: (!foreign).then_some(12.5),
        voluntary_switches_per_request: Some(0.012),
        forced_switches_per_request: None,
        memory: Memory { listening: Some(600_000 + (cost * 1e5) as u64), ..Memory::default() },
        memory_per_connection: (load.connections() > 1).then_some(70.0 * cost * cost),
        kernel_memory_per_connection: (load.connections() > 1).then_some(4400.0),
        bytes_per_s: requests_per_s * f64::from(load.size),
        generator_busy_share: if name == "spin" { 0.99 } else { 0.8 },
        generator_cpu_share: 1.0,
        starved_slices: usize::from(name == "fork"),
        missed_slices: 0,
        sharing: Sharing { workers: Vec::new(), fairness_of_connections: None, fairness_of_requests: None },
    };
    (figures, hlog::encoded(&latency))
}

fn random_half(name: &str) -> f64 {
    name.len() as f64 / 1000.0
}

/// Latencies with a long tail around this many microseconds.
fn latencies(us: f64, random: &mut Rng) -> hdrhistogram::Histogram<u64> {
    let mut histogram = hdrhistogram::Histogram::new(3).expect("three digits");
    for _ in 0..20_000 {
        let tail = 1.0 / (1.0 - random.f64()).powf(0.35);
        histogram.record((us * 1e3 * (0.7 + 0.3 * random.f64()) * tail) as u64).expect("it resizes");
    }
    histogram
}

fn calls(name: &str, load: &Load) -> SystemCalls<f64> {
    let wait = match name {
        _ if name.starts_with("uring") => return of_calls(&[("io_uring_enter", 0.12)]),
        _ if name.starts_with("select") => "select",
        "poll" => "poll",
        _ if name.contains("fork") || name.contains("thread") => {
            return of_calls(&[("recvfrom", 1.0), ("sendto", 1.0)]);
        }
        _ => "epoll_wait",
    };
    let mut all = vec![("recvfrom", 1.0), ("sendto", 1.0), (wait, 1.0 / (load.active as f64).sqrt())];
    if name == "epoll-oneshot" {
        all.push(("epoll_ctl", 1.0));
    }
    if load.requests_per_connection == Some(1) {
        all.extend([("accept4", 1.0), ("close", 1.0), ("shutdown", 0.4), ("setsockopt", 1.0)]);
    }
    of_calls(&all)
}

fn of_calls(calls: &[(&str, f64)]) -> SystemCalls<f64> {
    let by_name: Map<String, Value> =
        calls.iter().map(|&(name, n)| (name.to_owned(), Value::from(n))).collect();
    SystemCalls { total: calls.iter().map(|call| call.1).sum(), by_name }
}
