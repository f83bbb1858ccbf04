//! `io-models serve MODEL`: one server, until Ctrl-C, and what it cost.

use crate::failure::Failure;
use crate::output::{self, Output, help_table};
use io_models::echo::Reply;
use io_models::lab::{self, explain::in_words, explain::nearest, serve::Report, unp30};
use io_models::model::{self, Clients, Model};
use io_models::observer::Notices;
use io_models::remedy;
use io_models::serve::Job;
use io_models::stop;
use io_models::sys::limits::Nofile;
use io_models::sys::signal::Signal;
use io_models::sys::{affinity, calls, fork};
use std::fs::File;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::num::NonZeroUsize;
use std::os::fd::AsFd;
use std::process::ExitCode;
use std::time::Instant;

/// Run one server model until Ctrl-C (SIGINT) or SIGTERM, then print what it did and what it cost
#[derive(Debug, clap::Args)]
#[command(after_help = models())]
pub(crate) struct Args {
    /// The model, from the table below
    #[arg(value_parser = model)]
    model: &'static Model,

    /// Where to listen; port 0 lets the kernel choose
    #[arg(long, value_name = "ADDR:PORT", default_value = "127.0.0.1:0", value_parser = address)]
    listen: SocketAddr,

    /// The answer: the bytes that came, or `ok` for each piece
    #[arg(long, value_enum, default_value_t = ReplyArg::Echo)]
    reply: ReplyArg,

    /// Workers, for models that have some [default: as many as processors are allowed]
    #[arg(long, value_name = "N", value_parser = crate::units::workers)]
    workers: Option<NonZeroUsize>,

    /// At most so many clients at a time, over all workers, and no more workers than that; other clients wait in the queue of
    /// listen(2) until one leaves [default: as many as descriptors, threads or processes allow]
    #[arg(long, value_name = "N", value_parser = crate::units::clients)]
    max_clients: Option<NonZeroUsize>,

    /// Look so often for an event before sleeping, in the models `epoll-*`, `reuseport*` and `uring*`: answers sooner, and keeps
    /// a processor busy
    #[arg(long, value_name = "N", default_value_t = 0, hide_default_value = true, value_parser = crate::units::spin)]
    spin: u32,

    /// Print the report as one JSON document, after the line `listening on`
    #[arg(long)]
    json: bool,

    /// Count system calls into the file that is standard input, where `compare` reads them
    #[arg(long, hide = true)]
    count_into_stdin: bool,

    /// End when this process, which must be the one that started us, ends
    #[arg(long, value_name = "PID", hide = true)]
    with_parent: Option<i32>,
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum ReplyArg {
    Echo,
    Ok,
    /// As many bytes as the client asks for, as the servers of UNP chapter 30: for `unp30`.
    #[value(hide = true)]
    Bytes,
}

pub(crate) fn run(args: Args) -> Result<ExitCode, Failure> {
    let Args { model, listen, .. } = args;
    let workers = workers(model, args.workers)?;
    if args.spin > 0 && !model.can_spin {
        return Err(Failure::usage(format_args!(
            "{} has no wait that could spin: leave --spin out, or use {}",
            model.name,
            names_of(|row| row.can_spin)
        )));
    }
    if let Some(why) = (model.why_not)() {
        return Err(Failure::run(format_args!("{} cannot run here: {why}", model.name)));
    }
    if let Some(pid) = args.with_parent {
        let lives = fork::die_with_parent(fork::Pid::from_raw(pid), Signal::SIGTERM).map_err(Failure::of)?;
        if !lives {
            return Err(Failure::run("the process that started this server has ended"));
        }
    }
    if args.count_into_stdin {
        let file = File::from(io::stdin().as_fd().try_clone_to_owned().map_err(Failure::of)?);
        calls::share_through(&file).map_err(Failure::of)?;
    }
    Nofile::raise().map_err(Failure::of)?;
    let (stopper, stop) = stop::pair().map_err(Failure::of)?;
    stopper.stop_on_signals().map_err(Failure::of)?;
    let listener = model.listen(listen).map_err(|error| cannot_listen(listen, error))?;
    let addr = listener.addr();
    Output::stdout().report(&format!("listening on {addr}\n"))?;

    let reply = match args.reply {
        ReplyArg::Echo => Reply::Echo,
        ReplyArg::Ok => Reply::Ok,
        ReplyArg::Bytes => Reply::Own(unp30::as_many_bytes),
    };
    let started = Instant::now();
    let mut job = Job::new(listener, &stop, reply).with_workers(workers).spinning(args.spin);
    if let Some(most) = args.max_clients {
        job = job.with_max_clients(most);
    }
    let notices = Notices::told_by(output::note);
    let totals = (model.serve)(job.observed(&|_| notices.clone())).map_err(Failure::of)?;
    let report = Report::new(model.name, addr, totals, started.elapsed()).map_err(Failure::of)?;
    let output = Output::stdout();
    let text = match args.json {
        true => format!("{}\n", lab::json(&report)),
        false => report.text(output.columns()),
    };
    output.report(&text)?;
    Ok(ExitCode::SUCCESS)
}

/// As many workers as were asked for, or as there are processors for them.
fn workers(model: &Model, asked: Option<NonZeroUsize>) -> Result<NonZeroUsize, Failure> {
    if !model.has_workers() && asked.is_some() {
        return Err(Failure::usage(format_args!(
            "{} has no workers: leave --workers out, or use {}",
            model.name,
            names_of(Model::has_workers)
        )));
    }
    Ok(asked.unwrap_or_else(one_each_processor))
}

/// The names of the models of which this is so.
fn names_of(is_so: fn(&Model) -> bool) -> String {
    let names: Vec<_> = model::ALL.iter().filter(|row| is_so(row)).map(|row| row.name).collect();
    names.join(", ")
}

/// As many workers as this process may use processors.
pub(crate) fn one_each_processor() -> NonZeroUsize {
    let allowed = affinity::allowed().map_or(1, |allowed| allowed.len());
    NonZeroUsize::new(allowed).unwrap_or(NonZeroUsize::MIN)
}

fn cannot_listen(addr: SocketAddr, error: io_models::Error) -> Failure {
    let known = error.errno().and_then(|errno| remedy::to_listen_on(addr, errno));
    let error = anyhow::Error::from(error).context(format!("cannot listen on {addr}"));
    match known {
        Some(remedy) => Failure::run(format_args!("{}; {remedy}", in_words(&error))),
        None => Failure::of(error),
    }
}

/// clap's parser for the name of a model.
pub(crate) fn model(name: &str) -> Result<&'static Model, String> {
    model::find(name).ok_or_else(|| {
        let names: Vec<_> = model::ALL.iter().map(|model| model.name).collect();
        let nearest = nearest(name, 2, names.iter().copied());
        format!("no such model; the nearest: {nearest}; all: {}", names.join(", "))
    })
}

/// clap's parser for an address: numbers or a name, and a port.
pub(crate) fn address(text: &str) -> Result<SocketAddr, String> {
    addresses(text).map(|found| found[0])
}

/// All addresses of a name, at least one; IPv4 first, because servers here listen on IPv4 unless told otherwise.
pub(crate) fn addresses(text: &str) -> Result<Vec<SocketAddr>, String> {
    // The resolver knows the zone of an address by its name (%eth0), and knows no brackets.
    let in_brackets = text.strip_prefix('[').and_then(|rest| rest.split_once("]:"));
    let found = match in_brackets.map(|(host, port)| (host, port.parse::<u16>())) {
        Some((host, Ok(port))) if host.contains('%') => (host, port).to_socket_addrs(),
        _ => text.to_socket_addrs(),
    };
    let found = found.map_err(|why| {
        format!("{why}; write ADDR:PORT, such as 127.0.0.1:5005, [::1]:5005, [fe80::1%eth0]:5005 or localhost:5005")
    });
    let mut found: Vec<_> = found?.collect();
    found.sort_by_key(SocketAddr::is_ipv6);
    if found.is_empty() { Err("the name has no address".to_owned()) } else { Ok(found) }
}

fn models() -> String {
    let about = |model: &Model| {
        let most = match model.clients {
            Clients::One => " (1 client)".to_owned(),
            Clients::UpTo { most, .. } => format!(" (about {most} clients)"),
            _ => String::new(),
        };
        (model.name.to_owned(), format!("{}{most}", model.summary))
    };
    format!("Models:\n{}", help_table(model::ALL.iter().map(about)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_zone_is_known_by_its_name_and_a_wrong_one_gets_an_example() {
        let index = std::fs::read_to_string("/sys/class/net/lo/ifindex").expect("the loopback device");
        let [SocketAddr::V6(found)] = addresses("[fe80::1%lo]:5005").unwrap()[..] else {
            panic!("one address of IPv6")
        };
        assert_eq!((found.scope_id().to_string(), found.port()), (index.trim().to_owned(), 5005));
        for wrong in ["[fe80::1%no-such-device]:5005", "[fe80::1%lo]", "[fe80::1%lo]:65536"] {
            let why = addresses(wrong).unwrap_err();
            assert!(why.contains("[fe80::1%eth0]:5005"), "{wrong}: {why}");
        }
    }

    #[test]
    fn of_the_addresses_of_a_name_those_of_ipv4_come_first() {
        let found = addresses("localhost:5005").unwrap();
        assert!(!found.is_empty() && found.is_sorted_by_key(SocketAddr::is_ipv6), "{found:?}");
        assert!(found.iter().all(|addr| addr.ip().is_loopback() && addr.port() == 5005), "{found:?}");
    }
}
