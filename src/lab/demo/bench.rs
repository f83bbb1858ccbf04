//! What a measurement works with: the program as a process, its clients, and what it did.

use super::build::Built;
use super::{Demo, Which};
use crate::lab::check::server::{Launch, Server};
use crate::lab::check::{Ended, Step, sockets};
use crate::lab::child::Failed;
use crate::lab::meter::CallCounter;
use crate::lab::results::demo::{Language, Run};
use crate::stop::Stop;
use crate::sys::calls::Call;
use crate::sys::limits::Nofile;
use crate::sys::signal::Signal;
use crate::sys::sockopt;
use anyhow::{Context, anyhow};
use std::fs::File;
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How a program is measured.
pub(super) type Measure = fn(&At<'_>) -> Step<Run>;

/// How long an answer may take that must come. On a busy machine a server may have no processor for a while.
const TO_ANSWER: Duration = Duration::from_secs(30);

/// So long nothing comes of a server that waits, before it counts as all.
const QUIET: Duration = Duration::from_millis(100);

/// The programs of a demo in one language, ready to be started.
pub(super) struct Bench<'a> {
    demo: &'a Demo,
    program: PathBuf,
    built: Option<Built>,
    stop: &'a Stop,
}

/// One of these programs.
pub(super) struct At<'a> {
    bench: &'a Bench<'a>,
    which: Which,
}

/// One that runs. It ends when this is dropped.
pub(super) struct Running<'a> {
    pub(super) server: Server,
    counter: Counter,
    stop: &'a Stop,
}

/// How often the program has called the kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Calls {
    /// Returns of epoll_wait(2) and its kind.
    pub(super) waits: u64,
    /// Calls of accept(2).
    pub(super) accepts: u64,
    /// All of them: of a C++ program, those that count.cpp knows.
    pub(super) all: u64,
}

/// Where the program counts its system calls.
enum Counter {
    /// As all programs of ours do.
    Rust(CallCounter),
    /// As demos/count.cpp does: three numbers.
    Cpp(File),
}

impl<'a> Bench<'a> {
    pub(super) fn new(
        demo: &'a Demo,
        language: Language,
        program: &Path,
        stop: &'a Stop,
    ) -> Result<Bench<'a>, Failed> {
        let built = match language {
            Language::Rust => None,
            Language::Cpp => {
                let none = || anyhow!("{} has no programs in C++", demo.id);
                match Built::new(demo.sources(language).with_context(none)?) {
                    // Ctrl-C reaches the compiler as well.
                    Err(_) if stop.is_set()? => return Err(Failed::Interrupted),
                    built => Some(built?),
                }
            }
        };
        Ok(Bench { demo, program: program.to_owned(), built, stop })
    }

    pub(super) fn with(&'a self, which: Which) -> At<'a> {
        At { bench: self, which }
    }
}

impl<'a> At<'a> {
    /// Start the program, and wait until it listens.
    pub(super) fn start(&self) -> Step<Running<'a>> {
        self.start_limited(Nofile::current()?.soft)
    }

    /// The same, with this limit on descriptors.
    pub(super) fn start_limited(&self, nofile: u64) -> Step<Running<'a>> {
        let stop = self.bench.stop;
        let (counter, command) = self.command()?;
        let launch = Launch { program: &self.bench.program, command: &command, nofile };
        Ok(Running { server: Server::start(launch, stop)?, counter, stop })
    }

    /// Start the program once more, on this port: whether it listens there.
    pub(super) fn starts_again(&self, port: u16) -> Step<bool> {
        let (_counter, command) = self.command()?;
        let nofile = Nofile::current()?.soft;
        let launch = Launch { program: &self.bench.program, command: &command, nofile };
        match Server::start_on(launch, port, self.bench.stop) {
            Ok(_) => Ok(true),
            Err(Failed::Error(_)) => Ok(false),
            Err(Failed::Interrupted) => Err(Ended::Interrupted),
        }
    }

    /// The command of sh(1) that starts the program, and where that counts its system calls.
    fn command(&self) -> Step<(Counter, String)> {
        let Bench { demo, program, built, .. } = self.bench;
        match built {
            None => {
                let counter = CallCounter::new()?;
                let [program, file] = [of_this_process(program), counter.path()].map(|path| quoted(&path));
                let (id, which) = (demo.id, self.which.name());
                let command = format!("exec {program} demo {id} --run {which} {{port}} --count-into {file}");
                Ok((Counter::Rust(counter), command))
            }
            Some(built) => {
                let (file, path) = built.counts(self.which)?;
                let [program, path] = [built.program(self.which), path].map(|path| quoted(&path));
                Ok((Counter::Cpp(file), format!("IO_MODELS_COUNTS={path} exec {program} {{port}}")))
            }
        }
    }
}

/// `/proc/self/…` as other processes find it.
fn of_this_process(path: &Path) -> PathBuf {
    match path.strip_prefix("/proc/self") {
        Ok(rest) => Path::new("/proc").join(std::process::id().to_string()).join(rest),
        Err(_) => path.to_owned(),
    }
}

/// A path as sh(1) reads it.
fn quoted(path: &Path) -> String {
    format!("'{}'", path.display().to_string().replace('\'', r"'\''"))
}

impl Running<'_> {
    /// A client that has connected, and whose reads and writes have a time limit.
    pub(super) fn connect(&self) -> Step<TcpStream> {
        let client = TcpStream::connect_timeout(&self.server.addr(), TO_ANSWER)?;
        client.set_nodelay(true)?;
        client.set_read_timeout(Some(TO_ANSWER))?;
        client.set_write_timeout(Some(TO_ANSWER))?;
        Ok(client)
    }

    /// A client that has got one byte back, so that the server has accepted it.
    pub(super) fn connect_and_ask(&self) -> Step<TcpStream> {
        let mut client = self.connect()?;
        client.write_all(b"?")?;
        client.read_exact(&mut [0])?;
        Ok(client)
    }

    /// Wait until the server waits; `false` for one that never does.
    pub(super) fn until_it_waits(&self) -> Step<bool> {
        self.server.until_it_waits(self.stop)
    }

    /// Stop the server while it waits, do something, and let it go on: then it finds all of it at once.
    pub(super) fn while_stopped<T>(&self, meanwhile: impl FnOnce() -> Step<T>) -> Step<T> {
        self.until_it_waits()?;
        if !self.server.stop_with(Signal::SIGSTOP)? {
            return Err(Ended::NotMade("it was not stopped by SIGSTOP".to_owned()));
        }
        let done = meanwhile();
        self.server.signal_all(Signal::SIGCONT)?;
        done
    }

    /// Wait until the kernel of the server has all that the client has sent.
    pub(super) fn until_acknowledged(&self, client: &TcpStream) -> Step {
        self.within("the server's kernel has what was sent", || Ok(sockopt::unsent(client)? == 0))
    }

    /// All that comes until the server waits and nothing more comes, or the connection ends.
    pub(super) fn all_that_comes(&self, client: &mut TcpStream) -> Step<Vec<u8>> {
        let (mut all, mut piece, mut waits) = (Vec::new(), vec![0; 1 << 16], false);
        client.set_read_timeout(Some(QUIET))?;
        loop {
            match client.read(&mut piece) {
                Ok(0) => return Ok(all),
                Ok(n) => {
                    all.extend_from_slice(&piece[..n]);
                    waits = false;
                }
                Err(why) if why.kind() == ErrorKind::ConnectionReset => return Ok(all),
                Err(why) if why.kind() != ErrorKind::WouldBlock => return Err(why.into()),
                Err(_) if waits => return Ok(all),
                // It may have answered just before it began to wait.
                Err(_) => {
                    self.until_it_waits()?;
                    waits = true;
                }
            }
        }
    }

    /// Bytes that wait at the server's end of this connection, because it did not read them.
    pub(super) fn unread(&self, client: &TcpStream) -> Step<u32> {
        let end = sockets::established(self.server.addr(), client.local_addr()?)?;
        Ok(end.map_or(0, |end| end.unread))
    }

    /// Whether it waits although bytes of this client are there: it does not want to read them.
    pub(super) fn leaves_unread(&self, client: &TcpStream) -> Step<bool> {
        let before = self.calls()?.all;
        // One that wants them runs, or has read them.
        Ok(self.unread(client)? > 0 && self.until_it_waits()? && self.calls()?.all == before)
    }

    /// Look again and again for so long: the time in milliseconds, and what `look` found.
    pub(super) fn watch(&self, long: Duration, look: impl Fn() -> Step<f64>) -> Step<Vec<(f64, f64)>> {
        const LOOKS: u32 = 20;
        let began = Instant::now();
        let mut points = vec![(0.0, look()?)];
        for i in 1..=LOOKS {
            self.pause((long * i / LOOKS).saturating_sub(began.elapsed()))?;
            points.push((began.elapsed().as_secs_f64() * 1e3, look()?));
        }
        Ok(points)
    }

    /// Wait that long, unless a stop comes.
    pub(super) fn pause(&self, pause: Duration) -> Step {
        if self.stop.wait(Some(pause))? { Err(Ended::Interrupted) } else { Ok(()) }
    }

    /// Wait until something is so, which must come.
    pub(super) fn within(&self, what: &str, mut is_so: impl FnMut() -> Step<bool>) -> Step {
        let until = Instant::now() + TO_ANSWER;
        while !is_so()? {
            if Instant::now() > until {
                return Err(Ended::NotMade(format!("not within {} s: {what}", TO_ANSWER.as_secs())));
            }
            self.pause(Duration::from_millis(1))?;
        }
        Ok(())
    }

    /// Whether it ends within a second, when a client was not served.
    pub(super) fn ends(&self) -> Step<bool> {
        Ok(self.server.wait_for_end(Duration::from_secs(1), self.stop)?.is_some())
    }

    /// What it has called until now.
    pub(super) fn calls(&self) -> Step<Calls> {
        match &self.counter {
            Counter::Rust(counter) => {
                let counts = counter.counts()?;
                let waits = [Call::EpollWait, Call::EpollPwait2].map(|call| counts.of(call));
                let [waits, accepts] = [waits.iter().sum(), counts.of(Call::Accept4)];
                Ok(Calls { waits, accepts, all: counts.total() })
            }
            Counter::Cpp(file) => {
                let number = |i: u64| -> Step<u64> {
                    let mut number = [0; 8];
                    file.read_exact_at(&mut number, 8 * i)?;
                    Ok(u64::from_ne_bytes(number))
                };
                Ok(Calls { waits: number(0)?, accepts: number(1)?, all: number(2)? })
            }
        }
    }

    /// How long it has run, in milliseconds.
    pub(super) fn cpu_ms(&self) -> f64 {
        self.server.ran().unwrap_or_default().as_secs_f64() * 1e3
    }
}
