//! The arguments of `io-models load`, and what they mean.

use crate::failure::Failure;
use crate::output::help_table;
use crate::serve;
use crate::units::{self, count, count_or_none, duration, duration_or_none};
use io_models::lab::gate;
use io_models::lab::load::gates::{self, Gates};
use io_models::lab::load::hostile::HostileClients;
use io_models::lab::load::knee::Limit;
use io_models::lab::load::plan::{EngineKind, Expect, Payload, Plan, Sizes, Wait};
use io_models::lab::load::schedule::Arrivals;
use io_models::lab::load::shape::Shape;
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

/// What stands below the options. As a second paragraph above them it would make clap spread them over three times as
/// many lines.
const HELP: &str = "\
With a rate (-R, --ramp, --sweep, --find-knee) the loop is open: each request has its time, whatever the server does, and \
latency counts from that time. Without a rate the loop is closed: each connection sends a request, waits for the whole \
answer, and sends the next one. A closed loop compares servers, but it hides stalls.

Times are 250us, 40ms, 5s, 2m or 1h; a number without a unit is in seconds. Counts and rates may end in k or M. Sizes may \
end in k (1000), M, KiB (1024) or MiB.

A gate is FIGURE<=VALUE, with <=, <, >= or >. With --ramp or --sweep it is on each rate, unless a rate stands before \
it: '20k p99<=1ms'. Figures:";

fn help() -> String {
    let figure = |figure: &gate::Figure| (figure.name.to_owned(), figure.meaning.to_owned());
    format!("{HELP}\n{}", help_table(gates::FIGURES.iter().map(figure)))
}

/// Put load on any TCP echo server, and check every byte
#[derive(Debug, clap::Args)]
#[command(after_help = help())]
pub(crate) struct Args {
    /// The server
    #[arg(value_name = "ADDR:PORT", value_parser = target, required_unless_present = "no_target")]
    target: Option<Target>,

    /// Connections that send requests
    #[arg(short, long, value_name = "N", default_value_t = 64, value_parser = count)]
    pub(crate) connections: usize,

    /// How long to measure each rate: 500ms, 30s, 2m, or a number of seconds [default: 5s]
    #[arg(short, long, value_name = "TIME", value_parser = duration)]
    duration: Option<Duration>,

    /// Send so many requests per second (open loop): 500, 50k, 1.5M
    #[arg(short = 'R', long, value_name = "RATE", value_parser = units::rate)]
    rate: Option<f64>,

    /// Threads of the generator, each with its part of the connections and of the rate
    #[arg(short, long, value_name = "N", default_value_t = 1, value_parser = count)]
    pub(crate) threads: usize,

    /// Bytes per request: a number, a range 64-1k, or a list 64,512,4KiB
    #[arg(short, long, value_name = "BYTES", default_value = "64", value_parser = units::sizes)]
    size: Sizes,

    /// The bytes to send: random, zero bytes included; or text (letters and digits), for servers that use strlen or printf
    #[arg(long, value_enum, default_value_t = PayloadArg::Random)]
    payload: PayloadArg,

    /// The right answer: echo (the bytes of the request) or the two bytes ok
    #[arg(long, value_enum, default_value_t = ExpectArg::Echo)]
    expect: ExpectArg,

    /// Time under load before the measurement starts
    #[arg(long, value_name = "TIME", default_value = "500ms", value_parser = duration_or_none)]
    warmup: Duration,

    /// Begin the load, with its warm-up, at this time: 2026-11-29T17:00:00Z, seconds since 1970, or +30s from now. The
    /// connections are opened before
    #[arg(long, value_name = "TIME", value_parser = units::start_at)]
    pub(crate) start_at: Option<SystemTime>,

    /// Give up on a connection after this long without an answer
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = duration)]
    timeout: Duration,

    /// Most requests under way on one connection
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = count)]
    depth: usize,

    /// Times between requests in an open loop: even, or random as from many users [default: constant]
    #[arg(long, value_enum)]
    arrivals: Option<ArrivalsArg>,

    /// Change the rate in steps without a pause, one row per rate: 10k:50k:10k:2s
    #[arg(long, value_name = "FROM:TO:STEP:TIME", value_parser = units::ramp,
        conflicts_with_all = ["rate", "sweep", "find_knee", "duration"])]
    ramp: Option<(Vec<f64>, Duration)>,

    /// Measure each of these rates on its own, one row per rate: 10k,20k,40k
    #[arg(long, value_name = "RATE,RATE", value_delimiter = ',', value_parser = units::rate,
        conflicts_with_all = ["rate", "find_knee"])]
    sweep: Vec<f64>,

    /// Search for the highest rate that keeps --limit; it starts at -R [default: 1000]
    #[arg(long, requires = "limit")]
    find_knee: bool,

    /// A percentile of the response time and its limit: p99=1ms, p99.9=5ms, max=50ms
    #[arg(long, value_name = "PERCENTILE=TIME", value_parser = Limit::parse, requires = "find_knee")]
    limit: Option<Limit>,

    /// Close each connection after N requests and open another
    #[arg(long, value_name = "N", value_parser = units::small_count)]
    requests_per_conn: Option<u32>,

    /// Idle connections to hold open beside the others
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = count_or_none)]
    pub(crate) idle: usize,

    /// Share of the connections that send without a pause and read slowly: 10%, 0.1
    #[arg(long, value_name = "SHARE", default_value = "0", value_parser = units::share, help_heading = "Badly behaved clients, reported separately")]
    slow_reader: f64,

    /// Share that shut down their sending side after a request and expect the answer
    #[arg(long, value_name = "SHARE", default_value = "0", value_parser = units::share, help_heading = "Badly behaved clients, reported separately")]
    half_close: f64,

    /// Share that reset the connection in the middle of an answer
    #[arg(long, value_name = "SHARE", default_value = "0", value_parser = units::share, help_heading = "Badly behaved clients, reported separately")]
    reset: f64,

    /// The server's process, to see the CPU time that it takes, with its children, under load and at rest
    #[arg(long, value_name = "PID")]
    pub(crate) pid: Option<u32>,

    /// System calls of the generator; uring needs fewer per request, so that the server stays the bottleneck
    #[arg(long, value_enum, default_value_t = EngineArg::Epoll, help_heading = "The generator")]
    engine: EngineArg,

    /// spin (busy-wait) sees answers at once and needs a processor of its own; sleep shares the processor, and its
    /// wake-ups are part of the latency [default: spin if a processor is free]
    #[arg(long, value_enum, help_heading = "The generator")]
    wait: Option<WaitArg>,

    /// Bind each thread to a processor, starting from the last one that is allowed
    #[arg(long, help_heading = "The generator")]
    pub(crate) pin: bool,

    /// Source addresses, used in turn: 127.0.0.2-127.0.0.9, or a list [default: on loopback as many as are needed]
    #[arg(long, value_name = "ADDR-ADDR", value_parser = units::sources, help_heading = "The generator")]
    sources: Option<Addresses>,

    /// Seed of the payload and of random times and sizes: the same seed sends the same
    #[arg(long, value_name = "N", default_value_t = 1, help_heading = "The generator")]
    pub(crate) seed: u64,

    /// A limit on a figure, such as 'p99<=1ms' or 'achieved>=50k', or @FILE with one in each line; exit code 3 if it is
    /// not met; may be repeated
    #[arg(long, value_name = "GATE", help_heading = "Gates")]
    pub(crate) gate: Vec<String>,

    /// Show the figures of an earlier report (--json -o FILE) beside these; then a gate may be 'p99<=1.10x', 1.10 times
    /// the earlier figure
    #[arg(long, value_name = "FILE", help_heading = "Gates")]
    pub(crate) baseline: Option<PathBuf>,

    /// Also write JUnit XML: a case for each gate, one for the bytes and connections
    #[arg(long, value_name = "FILE", help_heading = "Gates")]
    pub(crate) junit: Option<PathBuf>,

    /// Print one JSON document
    #[arg(long, help_heading = "Output")]
    pub(crate) json: bool,

    /// Write the report to this file; `-` is standard output, here and for the other files
    #[arg(short, long, value_name = "FILE", help_heading = "Output")]
    pub(crate) output: Option<PathBuf>,

    /// Write one JSON object per second to this file, a line each
    #[arg(long, value_name = "FILE", help_heading = "Output")]
    pub(crate) ndjson: Option<PathBuf>,

    /// Write the latency distribution for the HdrHistogram plotter, in milliseconds
    #[arg(long, value_name = "FILE", help_heading = "Output")]
    pub(crate) hgrm: Option<PathBuf>,

    /// Write the histograms of each second: an HdrHistogram interval log in nanoseconds, which `merge` reads
    #[arg(long, value_name = "FILE", help_heading = "Output")]
    pub(crate) hlog: Option<PathBuf>,

    /// Test the generator itself, on servers that try to fool it
    #[arg(long, group = "no_target", conflicts_with_all = ["target", "pid", "start_at", "rate", "ramp", "sweep", "find_knee", "hgrm", "hlog",
        "ndjson", "gate", "baseline", "junit"])]
    pub(crate) self_test: bool,

    /// Take a plan and orders on standard input instead, for `compare`
    #[arg(long, group = "no_target", hide = true)]
    pub(crate) follow_orders: bool,
}

/// The addresses of the server. A type of its own, because clap takes a vector for an option that may be repeated.
#[derive(Debug, Clone)]
struct Target(Vec<SocketAddr>);

fn target(text: &str) -> Result<Target, String> {
    serve::addresses(text).map(Target)
}

/// How long one of several addresses may take to accept a connection.
const TO_CONNECT: Duration = Duration::from_secs(5);

/// A name has several addresses, such as 127.0.0.1 and ::1 for localhost, and the server may listen on one of them.
fn first_that_answers(addresses: &[SocketAddr]) -> Result<SocketAddr, Failure> {
    let mut failures = Vec::new();
    for addr in addresses {
        match TcpStream::connect_timeout(addr, TO_CONNECT) {
            Ok(_) => return Ok(*addr),
            Err(why) => failures.push(format!("{addr}: {why}")),
        }
    }
    Err(Failure::run(anyhow::anyhow!("no address of this name takes a connection: {}", failures.join("; "))))
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
pub(crate) enum PayloadArg {
    Random,
    Text,
}

impl From<PayloadArg> for Payload {
    fn from(payload: PayloadArg) -> Payload {
        match payload {
            PayloadArg::Random => Payload::Random,
            PayloadArg::Text => Payload::Text,
        }
    }
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
        let Some(Target(addresses)) = &self.target else {
            return Err(Failure::usage("say which server: ADDR:PORT"));
        };
        match addresses[..] {
            [only] => Ok(only),
            _ => first_that_answers(addresses),
        }
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
            payload: self.payload.into(),
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

    /// The gates, and the earlier run beside which this one is shown.
    pub(crate) fn gates(&self) -> Result<Gates, Failure> {
        let gates = gate::read(&self.gate, &gates::FIGURES).map_err(Failure::usage)?;
        let baseline = self.baseline.as_ref().map(|file| file.display().to_string());
        Gates::new(gates, baseline.as_deref()).map_err(Failure::usage)
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
        if hostile.saturating_add(self.threads) > self.connections {
            return Err(Failure::usage(format_args!(
                "{hostile} of {} connections would be hostile: leave at least one to measure for each of {} threads, or \
                 open more with -c",
                self.connections, self.threads
            )));
        }
        Ok(clients)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    #[test]
    fn of_several_addresses_the_first_that_takes_a_connection_is_the_server() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let server = listener.local_addr().unwrap();
        let nobody = |host| SocketAddr::from(([127, 0, 0, host], server.port()));
        assert_eq!(first_that_answers(&[nobody(2), server]).unwrap(), server);
        let why = first_that_answers(&[nobody(2), nobody(3)]).unwrap_err().to_string();
        assert!(why.contains(&nobody(2).to_string()) && why.contains(&nobody(3).to_string()), "{why}");
    }
}
