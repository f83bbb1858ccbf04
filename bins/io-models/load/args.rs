//! The arguments of `io-models load`, and what they mean.

use crate::failure::Failure;
use crate::serve::address;
use crate::units::{self, count, count_or_none, duration, duration_or_none};
use io_models::lab::load::hostile::HostileClients;
use io_models::lab::load::knee::Limit;
use io_models::lab::load::plan::{EngineKind, Expect, Payload, Plan, Sizes, Wait};
use io_models::lab::load::schedule::Arrivals;
use io_models::lab::load::shape::Shape;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

/// Put load on a TCP echo server, ours or anybody's, and check every byte
///
/// Open loop, with a rate (-R, --ramp, --sweep, --find-knee): requests are sent at times that were decided before,
/// and latency is response time, from the intended send. Closed loop, without: each connection asks, waits for the
/// whole answer, and asks again at once; that compares servers and hides stalls, and is labelled.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The server
    #[arg(value_name = "ADDR:PORT", value_parser = address, required_unless_present = "self_test")]
    target: Option<SocketAddr>,

    /// Connections
    #[arg(short, long, value_name = "N", default_value_t = 64, value_parser = count)]
    pub(crate) connections: usize,

    /// How long to measure, each rate on its own: us, ms, s, m or h [default: 5s]
    #[arg(short, long, value_name = "TIME", value_parser = duration)]
    duration: Option<Duration>,

    /// Offer so many requests a second (open loop): 500, 50k, 1.5m
    #[arg(short = 'R', long, value_name = "RATE", value_parser = units::rate)]
    rate: Option<f64>,

    /// Threads, each with its part of the connections
    #[arg(short, long, value_name = "N", default_value_t = 1, value_parser = count)]
    pub(crate) threads: usize,

    /// Bytes a request: a number, a range 64-1k, or a list 64,512,4k
    #[arg(short, long, value_name = "BYTES", default_value = "64", value_parser = units::sizes)]
    size: Sizes,

    /// The bytes: random ones, zero bytes included; or text (letters and digits), for servers that use strlen or printf
    #[arg(long, value_enum, default_value_t = PayloadArg::Random)]
    payload: PayloadArg,

    /// The right answer: echo, the bytes of the request; or ok, these two bytes, one request at a time
    #[arg(long, value_enum, default_value_t = ExpectArg::Echo)]
    expect: ExpectArg,

    /// Load before the clock starts
    #[arg(long, value_name = "TIME", default_value = "500ms", value_parser = duration_or_none)]
    warmup: Duration,

    /// How long nothing may come back before connections without answer count as lost
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = duration)]
    timeout: Duration,

    /// Requests under way on one connection, at most
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = count)]
    depth: usize,

    /// How the requests of an open loop follow each other [default: constant]
    #[arg(long, value_enum)]
    arrivals: Option<ArrivalsArg>,

    /// Raise the rate in steps without a pause, a row for each: 10k:50k:10k:2s
    #[arg(long, value_name = "FROM:TO:STEP:TIME", value_parser = units::ramp,
        conflicts_with_all = ["rate", "sweep", "find_knee", "duration"])]
    ramp: Option<(Vec<f64>, Duration)>,

    /// Offer each of these rates on its own, a row for each: 10k,20k,40k
    #[arg(long, value_name = "RATE,RATE", value_delimiter = ',', value_parser = units::rate,
        conflicts_with_all = ["rate", "find_knee"])]
    sweep: Vec<f64>,

    /// Search for the highest rate that holds --limit, from -R (or 1000) on
    #[arg(long, requires = "limit")]
    find_knee: bool,

    /// The limit: a percentile of the response time, such as p99=1ms, p99.9=5ms or max=50ms
    #[arg(long, value_name = "PERCENTILE=TIME", value_parser = limit, requires = "find_knee")]
    limit: Option<Limit>,

    /// Close each connection after N requests, and open another
    #[arg(long, value_name = "N", value_parser = units::small_count)]
    requests_per_conn: Option<u32>,

    /// Silent connections, held open beside the others
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = count_or_none)]
    pub(crate) idle: usize,

    /// This share of the connections sends without waiting, and reads slowly: 10%, 0.1
    #[arg(long, value_name = "SHARE", default_value = "0", value_parser = units::share, help_heading = "Badly behaved clients, reported separately")]
    slow_reader: f64,

    /// This share ends its side after a request, and wants the answer nevertheless
    #[arg(long, value_name = "SHARE", default_value = "0", value_parser = units::share, help_heading = "Badly behaved clients, reported separately")]
    half_close: f64,

    /// This share resets its connections in the middle of an answer
    #[arg(long, value_name = "SHARE", default_value = "0", value_parser = units::share, help_heading = "Badly behaved clients, reported separately")]
    reset: f64,

    /// How to talk to the kernel; uring costs less a request, so that the server stays the bottleneck
    #[arg(long, value_enum, default_value_t = EngineArg::Epoll, help_heading = "The generator")]
    engine: EngineArg,

    /// How to wait: spin asks the kernel again and again, finds everything at once and takes a processor; sleep leaves
    /// the processor to others, and its wake-ups are in the latency [default: spin where a processor is free]
    #[arg(long, value_enum, help_heading = "The generator")]
    wait: Option<WaitArg>,

    /// Bind each thread to a processor, from the last that is allowed downwards
    #[arg(long, help_heading = "The generator")]
    pub(crate) pin: bool,

    /// Own addresses, used in turn: 127.0.0.2-127.0.0.9, or a list [default: as many as are needed, on loopback]
    #[arg(long, value_name = "ADDR-ADDR", value_parser = units::sources, help_heading = "The generator")]
    sources: Option<Addresses>,

    /// Seed of the bytes and of random times and sizes: the same seed sends the same
    #[arg(long, value_name = "N", default_value_t = 1, help_heading = "The generator")]
    pub(crate) seed: u64,

    /// Report as one JSON document
    #[arg(long, help_heading = "Output")]
    pub(crate) json: bool,

    /// Write the report to this file; `-` is standard output, here and for the other files
    #[arg(short, long, value_name = "FILE", help_heading = "Output")]
    pub(crate) output: Option<PathBuf>,

    /// A JSON object for each second, a line each
    #[arg(long, value_name = "FILE", help_heading = "Output")]
    pub(crate) ndjson: Option<PathBuf>,

    /// The distribution of the latency, for the HdrHistogram plotter; milliseconds
    #[arg(long, value_name = "FILE", help_heading = "Output")]
    pub(crate) hgrm: Option<PathBuf>,

    /// The histograms of each second: HdrHistogram's interval log V2, nanoseconds; for `merge` as well
    #[arg(long, value_name = "FILE", help_heading = "Output")]
    pub(crate) hlog: Option<PathBuf>,

    /// Show that this generator cannot be fooled, on servers of its own that try
    #[arg(long, conflicts_with_all = ["target", "rate", "ramp", "sweep", "find_knee", "hgrm", "hlog", "ndjson"])]
    pub(crate) self_test: bool,

    /// Take orders on standard input instead, for `compare`, with so many idle connections
    #[arg(long, value_name = "IDLE", hide = true)]
    pub(crate) follow_orders: Option<usize>,
}

/// Own addresses. A type of its own, because clap takes a vector for an option that may be repeated.
#[derive(Debug, Clone)]
pub(crate) struct Addresses(pub(crate) Vec<IpAddr>);

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum ArrivalsArg {
    Constant,
    Poisson,
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum PayloadArg {
    Random,
    Text,
}

#[derive(Debug, Clone, Copy, PartialEq, clap::ValueEnum)]
enum ExpectArg {
    Echo,
    Ok,
}

#[derive(Debug, Clone, Copy, PartialEq, clap::ValueEnum)]
pub(crate) enum EngineArg {
    Epoll,
    Uring,
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum WaitArg {
    Spin,
    Sleep,
}

/// Where a search for the knee begins unless -R says.
const FIRST_RATE: f64 = 1000.0;

impl Args {
    /// The server, which clap has made sure of unless this is a self-test.
    pub(crate) fn target(&self) -> Result<SocketAddr, Failure> {
        self.target.ok_or_else(|| Failure::usage("say which server: ADDR:PORT"))
    }

    /// How the load goes over time.
    pub(crate) fn shape(&self) -> Result<Shape, Failure> {
        let shape = if let Some((rates, _)) = &self.ramp {
            Shape::Ramp(rates.clone())
        } else if !self.sweep.is_empty() {
            Shape::Sweep(self.sweep.clone())
        } else if let Some(limit) = self.limit {
            Shape::Knee(limit, self.rate.unwrap_or(FIRST_RATE))
        } else {
            self.rate.map_or(Shape::Closed, Shape::Rate)
        };
        if self.arrivals.is_some() && !shape.is_open() {
            return Err(Failure::usage(
                "--arrivals is for requests that have their times: give a rate with -R",
            ));
        }
        if self.expect == ExpectArg::Ok && self.depth > 1 {
            return Err(Failure::usage(format_args!(
                "--expect ok with --depth {}: a server that receives two requests at once answers `ok` once; use --depth 1",
                self.depth
            )));
        }
        if self.threads > self.connections {
            return Err(Failure::usage(format_args!(
                "--threads {} for {} connections: give at least one connection to each thread",
                self.threads, self.connections
            )));
        }
        Ok(shape)
    }

    /// Warm-up, and time for each rate.
    pub(crate) fn times(&self) -> (Duration, Duration) {
        let time = self.ramp.as_ref().map(|(_, time)| *time).or(self.duration);
        (self.warmup, time.unwrap_or(Duration::from_secs(5)))
    }

    pub(crate) fn plan(&self, target: SocketAddr, active: usize, idle: usize) -> Plan {
        Plan {
            target,
            active,
            idle,
            sizes: self.size.clone(),
            payload: match self.payload {
                PayloadArg::Random => Payload::Random,
                PayloadArg::Text => Payload::Text,
            },
            expect: match self.expect {
                ExpectArg::Echo => Expect::Echo,
                ExpectArg::Ok => Expect::Ok,
            },
            seed: self.seed,
            patience: self.timeout,
            depth: self.depth,
            requests_per_conn: self.requests_per_conn,
            sources: self.sources.clone().map_or_else(Vec::new, |Addresses(sources)| sources),
            wait: self.wait().unwrap_or(Wait::Spin),
        }
    }

    /// How to wait, if somebody has said it.
    pub(crate) fn wait(&self) -> Option<Wait> {
        self.wait.map(|wait| match wait {
            WaitArg::Spin => Wait::Spin,
            WaitArg::Sleep => Wait::Sleep,
        })
    }

    pub(crate) fn engine(&self) -> EngineKind {
        match self.engine {
            EngineArg::Epoll => EngineKind::Epoll,
            EngineArg::Uring => EngineKind::Uring,
        }
    }

    pub(crate) fn arrivals(&self) -> Arrivals {
        match self.arrivals {
            Some(ArrivalsArg::Poisson) => Arrivals::Poisson,
            Some(ArrivalsArg::Constant) | None => Arrivals::Constant,
        }
    }

    /// How many of the connections are hostile. At least one of each kind that is asked for.
    pub(crate) fn hostile_clients(&self) -> Result<HostileClients, Failure> {
        let of = |share: f64| (share * self.connections as f64).ceil() as usize;
        let clients = HostileClients {
            slow_readers: of(self.slow_reader),
            half_closers: of(self.half_close),
            resetters: of(self.reset),
        };
        let hostile = clients.connections();
        if hostile > 0 && self.expect == ExpectArg::Ok {
            return Err(Failure::usage(
                "--expect ok: hostile clients check an echo; leave out --slow-reader, --half-close and --reset",
            ));
        }
        if hostile + self.threads > self.connections {
            return Err(Failure::usage(format_args!(
                "{hostile} of {} connections would be hostile: leave at least one to measure for each of {} threads, or \
                 open more with -c",
                self.connections, self.threads
            )));
        }
        Ok(clients)
    }
}

/// clap's parser for a limit.
fn limit(text: &str) -> Result<Limit, String> {
    let example = || "write a percentile and a time, such as p99=1ms, p99.9=5ms or max=50ms".to_owned();
    let (percentile, time) = text.split_once('=').ok_or_else(example)?;
    let percentile = match percentile {
        "max" => 100.0,
        _ => percentile.strip_prefix('p').and_then(|p| p.parse::<f64>().ok()).ok_or_else(example)?,
    };
    if !(percentile > 0.0 && percentile <= 100.0) {
        return Err("a percentile is above 0 and at most 100".to_owned());
    }
    Ok(Limit { percentile, at_most_us: duration(time)?.as_secs_f64() * 1e6 })
}
