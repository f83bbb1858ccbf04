//! System calls of a server, each of which is counted: a thread that traces it while clients ask one by one, together, and for much.

use crate::lab::check::server::{Launch, Server};
use crate::lab::child::Failed;
use crate::lab::results::doctor::Calls;
use crate::lab::trace::decode;
use crate::lab::trace::record::not_traced;
use crate::stop::Stop;
use crate::sys::fork::Pid;
use crate::sys::ptrace::{self, Stop as Stopped};
use anyhow::{Context, anyhow};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// Requests of one connection.
const REQUESTS: u32 = 200;

/// Connections that ask together, and how often.
const TOGETHER: usize = 16;
const ROUNDS: u32 = 30;

/// The large message, and how often it is sent.
const LARGE: usize = 64 << 10;
const LARGE_ROUNDS: u32 = 8;

/// How long an answer may take, and all of them together. A server that is traced is slow.
const PATIENCE: Duration = Duration::from_secs(5);
const LONGEST: Duration = Duration::from_secs(20);

/// What the clients do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Nothing that counts.
    Apart,
    OneByOne,
    Together,
    Large,
}

const PHASES: [Phase; 4] = [Phase::Apart, Phase::OneByOne, Phase::Together, Phase::Large];

/// What was counted.
#[derive(Debug, Default)]
struct Counted {
    /// Calls of each phase by their names.
    by_phase: [BTreeMap<&'static str, u64>; 4],
    /// Writes to standard output and standard error while one connection asks.
    prints: u64,
    /// Calls that received something of a large message, and how much.
    receives: u64,
    received: u64,
    threads: HashSet<Pid>,
    settings: Calls,
}

/// Count the calls of a server that is started for it.
///
/// # Errors
///
/// When it does not start or may not be traced, and when it does not answer.
pub(super) fn count(launch: Launch<'_>, stop: &Stop) -> Result<Calls, Failed> {
    let phase = Arc::new(AtomicUsize::new(0));
    let mut tracer = None;
    let mut before = |process: Pid| {
        tracer = Some(trace(process, phase.clone())?);
        Ok(())
    };
    let server = Server::start_held(launch, &mut before, stop)?;
    let tracer = tracer.context("a server that was held before it began")?;
    let asked = ask(&server, &phase, stop);
    phase.store(0, Ordering::SeqCst);
    drop(server);
    let counted = tracer.join().map_err(|_| anyhow!("the thread that traces the server has panicked"))?;
    asked?;
    Ok(counted.calls())
}

/// Ask it in each of the ways.
fn ask(server: &Server, phase: &AtomicUsize, stop: &Stop) -> Result<(), Failed> {
    let until = Instant::now() + LONGEST;
    let go_on = || match stop.wait(Some(Duration::ZERO)) {
        Ok(false) if Instant::now() < until => Ok(()),
        Ok(false) => {
            let seconds = LONGEST.as_secs();
            Err(anyhow!("the traced server did not answer all requests within {seconds} s").into())
        }
        Ok(true) => Err(Failed::Interrupted),
        Err(why) => Err(why.into()),
    };
    let mut clients = Vec::new();
    for i in 0..TOGETHER {
        go_on()?;
        let mut client = TcpStream::connect_timeout(&server.addr(), PATIENCE)?;
        client.set_nodelay(true)?;
        client.set_read_timeout(Some(PATIENCE))?;
        client.set_write_timeout(Some(PATIENCE))?;
        exchange(&mut client, &[b'A' + i as u8; 64])?;
        clients.push(client);
    }
    let begin = |next: Phase| -> Result<(), Failed> {
        // What it still does belongs to what came before.
        settle(server, stop)?;
        phase.store(next as usize, Ordering::SeqCst);
        Ok(())
    };
    begin(Phase::OneByOne)?;
    for _ in 0..REQUESTS {
        go_on()?;
        exchange(&mut clients[0], &[b'a'; 64])?;
    }
    begin(Phase::Together)?;
    for _ in 0..ROUNDS {
        go_on()?;
        for client in &mut clients {
            client.write_all(&[b'b'; 64])?;
        }
        for client in &mut clients {
            receive(client, &[b'b'; 64])?;
        }
    }
    begin(Phase::Large)?;
    for _ in 0..LARGE_ROUNDS {
        go_on()?;
        // A server that cannot do that is told of when it has such a load.
        if exchange(&mut clients[0], &[b'c'; LARGE]).is_err() {
            break;
        }
    }
    begin(Phase::Apart)
}

/// Wait until it sleeps; one that never does gets a moment.
fn settle(server: &Server, stop: &Stop) -> Result<(), Failed> {
    for _ in 0..100 {
        if server.sleeps() == Some(true) {
            break;
        }
        if stop.wait(Some(Duration::from_millis(1)))? {
            return Err(Failed::Interrupted);
        }
    }
    Ok(())
}

fn exchange(client: &mut TcpStream, bytes: &[u8]) -> anyhow::Result<()> {
    client.write_all(bytes).context("a request to the traced server")?;
    receive(client, bytes)
}

fn receive(client: &mut TcpStream, bytes: &[u8]) -> anyhow::Result<()> {
    let mut answer = vec![0; bytes.len()];
    client.read_exact(&mut answer).map_err(|why| match why.kind() {
        ErrorKind::WouldBlock => {
            let seconds = PATIENCE.as_secs();
            anyhow!("the traced server gave no answer within {seconds} s; does it serve {TOGETHER} clients at the same time?")
        }
        _ => anyhow!("an answer of the traced server: {why}"),
    })?;
    anyhow::ensure!(answer == bytes, "the traced server answered with wrong bytes");
    Ok(())
}

/// Trace this process, which is about to execute the server, until all its threads and processes have ended.
fn trace(process: Pid, phase: Arc<AtomicUsize>) -> anyhow::Result<JoinHandle<Counted>> {
    let (tell, started) = mpsc::channel();
    let traces = move || {
        let begun = ptrace::seize(process).and_then(|()| ptrace::interrupt(process));
        let has_begun = begun.is_ok();
        tell.send(begun).ok();
        let mut counted = Counted::default();
        if has_begun {
            counted.follow(&phase);
        }
        counted
    };
    let thread = thread::Builder::new().spawn(traces).context("no thread to trace the server")?;
    let begun = started.recv().context("the thread that traces the server has ended")?;
    begun.map_err(not_traced)?;
    Ok(thread)
}

/// A call that has not returned.
struct Open {
    name: &'static str,
    arguments: [u64; 6],
}

impl Counted {
    fn follow(&mut self, phase: &AtomicUsize) {
        let mut open: HashMap<Pid, Open> = HashMap::new();
        while let Ok(Some((thread, stopped))) = ptrace::wait() {
            let now = phase.load(Ordering::SeqCst);
            // A thread that was killed in the meantime cannot be told anything; its end comes next.
            let _gone = match stopped {
                Stopped::Entry { number, arguments } => {
                    let name = decode::name(number).unwrap_or("?");
                    self.settings.note(thread, name, &arguments);
                    open.insert(thread, Open { name, arguments });
                    ptrace::go_on(thread, 0)
                }
                Stopped::Exit(result) => {
                    if let Some(open) = open.remove(&thread) {
                        self.add(PHASES[now], thread, &open, result);
                    }
                    ptrace::go_on(thread, 0)
                }
                Stopped::Signal(signal) => ptrace::go_on(thread, signal),
                Stopped::Group => ptrace::listen(thread),
                Stopped::Event | Stopped::Unknown(_) => ptrace::go_on(thread, 0),
                Stopped::Ended(_) => {
                    open.remove(&thread);
                    Ok(())
                }
            };
        }
    }

    fn add(&mut self, phase: Phase, thread: Pid, call: &Open, result: Result<i64, i32>) {
        *self.by_phase[phase as usize].entry(call.name).or_insert(0) += 1;
        if phase == Phase::Apart {
            return;
        }
        self.threads.insert(thread);
        let is_print = matches!(call.name, "write" | "writev") && matches!(call.arguments[0], 1 | 2);
        if phase == Phase::OneByOne && is_print {
            self.prints += 1;
        }
        let receives = matches!(call.name, "read" | "readv" | "recvfrom" | "recvmsg" | "splice");
        match result {
            // Eight bytes are those of an eventfd or a timerfd.
            Ok(n) if phase == Phase::Large && receives && n > 0 && n != 8 => {
                self.receives += 1;
                self.received += n.cast_unsigned();
            }
            _ => {}
        }
    }

    fn calls(self) -> Calls {
        let Counted { by_phase: [_, one_by_one, together, _], prints, receives, received, threads, settings } =
            self;
        let per_request = |n: u64| (n as f64 / f64::from(REQUESTS) * 1e2).round() / 1e2;
        let futex = together.get("futex").copied().unwrap_or_default();
        Calls {
            per_request: one_by_one
                .iter()
                .map(|(name, n)| ((*name).to_owned(), per_request(*n)))
                .filter(|(_, n)| *n >= 0.01)
                .collect(),
            prints_per_request: per_request(prints),
            futex_per_request: futex as f64 / f64::from(ROUNDS * TOGETHER as u32),
            bytes_per_receive: (receives > 0).then(|| received as f64 / receives as f64),
            threads: threads.len(),
            ..settings
        }
    }
}

impl Calls {
    /// What it asks of the kernel for its sockets.
    fn note(&mut self, thread: Pid, name: &str, arguments: &[u64; 6]) {
        match name {
            "listen" => self.backlog = Some(arguments[1] as i32),
            "setsockopt" => {
                let value = ptrace::read(thread, arguments[3]).map(i32::from_ne_bytes).ok();
                match (arguments[1] as i32, arguments[2] as i32) {
                    (libc::IPPROTO_TCP, libc::TCP_NODELAY) => {
                        self.sets_nodelay |= value.is_some_and(|on| on != 0)
                    }
                    (libc::SOL_SOCKET, libc::SO_SNDBUF) => self.send_buffer = value,
                    (libc::SOL_SOCKET, libc::SO_RCVBUF) => self.receive_buffer = value,
                    _ => {}
                }
            }
            _ => {}
        }
    }
}
