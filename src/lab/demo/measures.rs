//! How the programs of each demo are measured: the part of their clients.

use super::bench::{At, Running};
use crate::lab::check::{Ended, Step, sockets};
use crate::lab::results::demo::{Drawn, Run};
use crate::sys::poll::{PollFlags, PollSet};
use crate::sys::socket::{self, Connected, Mode};
use crate::sys::sockopt;
use procfs::net::TcpState;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::fd::OwnedFd;
use std::thread;
use std::time::{Duration, Instant};

/// A run with a bar of these parts.
fn bar<const N: usize>(number: usize, parts: [(&str, usize); N]) -> Run {
    let parts = parts.map(|(label, value)| (label.to_owned(), value as f64)).to_vec();
    Run { number: number as f64, figures: [].into(), drawn: Drawn::Parts(parts) }
}

/// A run with a line over time, whose number is that of its last point.
fn over_time(points: Vec<(f64, f64)>) -> Run {
    let number = points.last().map_or(0.0, |&(_, y)| y);
    Run { number, figures: [].into(), drawn: Drawn::OverTime(points) }
}

impl Run {
    /// The same with one figure more.
    fn with(mut self, label: &str, value: f64) -> Run {
        self.figures.insert(label.to_owned(), value);
        self
    }
}

/// For so long nothing is asked of a server that should sleep.
const SECOND: Duration = Duration::from_secs(1);

/// How often the waits of the server returned while nothing was asked of it, for a second.
fn waits_while_idle(server: &Running<'_>) -> Step<Run> {
    server.until_it_waits()?;
    let (before, cpu) = (server.calls()?.waits, server.cpu_ms());
    let points = server.watch(SECOND, || Ok((server.calls()?.waits - before) as f64))?;
    Ok(over_time(points).with("cpu", server.cpu_ms() - cpu))
}

/// How many of these clients have got something.
fn answered(server: &Running<'_>, clients: &[TcpStream]) -> Step<usize> {
    let mut last = 0;
    loop {
        server.until_it_waits()?;
        let has_bytes = |client: &&TcpStream| sockopt::unread(client).is_ok_and(|bytes| bytes > 0);
        let now = clients.iter().filter(has_bytes).count();
        if now == last {
            return Ok(now);
        }
        last = now;
        server.pause(Duration::from_millis(50))?;
    }
}

/// Wake-ups while half a request lies in the receive buffer; and what a whole request costs.
pub(super) fn level_or_edge(at: &At<'_>) -> Step<Run> {
    const REQUESTS: u32 = 200;
    let request = [b'x'; 64];
    let server = at.start()?;
    let mut client = server.connect()?;
    let mut ask = |request: &[u8]| -> Step {
        client.write_all(request)?;
        Ok(client.read_exact(&mut [0; 64])?)
    };
    ask(&request)?;
    server.until_it_waits()?;
    let before = server.calls()?.all;
    for _ in 0..REQUESTS {
        ask(&request)?;
        // Otherwise one wait may find the request before the thread has slept.
        server.until_it_waits()?;
    }
    let each = (server.calls()?.all - before) as f64 / f64::from(REQUESTS);
    client.write_all(&request[..32])?;
    server.until_acknowledged(&client)?;
    Ok(waits_while_idle(&server)?.with("calls", (each * 10.0).round() / 10.0))
}

/// Bytes that come back of a request that is there at once.
pub(super) fn one_read(at: &At<'_>) -> Step<Run> {
    const REQUEST: [u8; 8192] = [b'x'; 8192];
    let server = at.start()?;
    let mut client = server.connect_and_ask()?;
    server.while_stopped(|| {
        client.write_all(&REQUEST)?;
        server.until_acknowledged(&client)
    })?;
    let answered = server.all_that_comes(&mut client)?.len();
    let left = server.unread(&client)? as usize;
    Ok(bar(answered, [("answered", answered), ("left", left)]))
}

/// Clients that are answered when several connect before the server looks.
pub(super) fn one_accept(at: &At<'_>) -> Step<Run> {
    const CLIENTS: usize = 16;
    let server = at.start()?;
    let clients = server.while_stopped(|| {
        let connected = (0..CLIENTS).map(|_| {
            let mut client = server.connect()?;
            client.write_all(b"?")?;
            server.until_acknowledged(&client)?;
            Ok(client)
        });
        connected.collect::<Step<Vec<_>>>()
    })?;
    let answered = answered(&server, &clients)?;
    Ok(bar(answered, [("answered", answered), ("queued", CLIENTS - answered)]))
}

/// How often a wait returns while a client is silent.
pub(super) fn epollout(at: &At<'_>) -> Step<Run> {
    let server = at.start()?;
    let _silent = server.connect_and_ask()?;
    waits_while_idle(&server)
}

/// Bytes that come back when the client begins to read after the server has filled its send buffer.
pub(super) fn write_flood(at: &At<'_>) -> Step<Run> {
    const BYTES: usize = 32 << 20;
    let server = at.start()?;
    let client = server.connect()?;
    let mut writer = client.try_clone()?;
    let mut reader = client;
    let got = thread::scope(|scope| {
        // A server that keeps what it cannot send reads no more for the time being.
        let writes = scope.spawn(move || {
            writer.write_all(&vec![b'x'; BYTES])?;
            writer.shutdown(Shutdown::Write)
        });
        server.within("the server keeps what it cannot send, or has taken all", || {
            let is_taken = writes.is_finished() && sockopt::unsent(&reader)? == 0;
            if is_taken { server.until_it_waits() } else { server.leaves_unread(&reader) }
        })?;
        let (mut piece, mut got) = (vec![0; 1 << 16], 0);
        loop {
            match reader.read(&mut piece)? {
                0 => break,
                n => got += n,
            }
        }
        writes.join().expect("a writer does not panic")?;
        Ok::<_, Ended>(got)
    })?;
    Ok(bar(got, [("arrived", got), ("lost", BYTES - got)]))
}

/// Calls of accept(2) while clients wait for which there is no descriptor.
pub(super) fn emfile(at: &At<'_>) -> Step<Run> {
    const DESCRIPTORS: u64 = 32;
    const CLIENTS: usize = 40;
    let server = at.start_limited(DESCRIPTORS)?;
    let mut clients = Vec::new();
    for _ in 0..CLIENTS {
        let mut client = server.connect()?;
        client.write_all(b"?")?;
        server.until_acknowledged(&client)?;
        clients.push(client);
    }
    let served = answered(&server, &clients)?;
    if served == 0 || served == CLIENTS {
        let why = format!("with {DESCRIPTORS} descriptors it served {served} of {CLIENTS} clients");
        return Err(Ended::NotMade(why));
    }
    let (before, log) = (server.calls()?.accepts, server.server.written());
    let points = server.watch(SECOND, || Ok((server.calls()?.accepts - before) as f64))?;
    let log = (server.server.written() - log) as f64 / 1024.0;
    // When one leaves, another is served.
    clients.remove(0);
    server.within("a client that waits is served when another has left", || {
        Ok(answered(&server, &clients)? == served)
    })?;
    Ok(over_time(points).with("log", log.round()))
}

/// Answers that overtake that of an earlier request.
pub(super) fn two_threads(at: &At<'_>) -> Step<Run> {
    const REQUESTS: u8 = 60;
    const EVERY: u8 = 10;
    let server = at.start()?;
    let mut client = server.connect()?;
    let request = |number: u8| [if number.is_multiple_of(EVERY) { 255 } else { 1 }, number];
    client.write_all(&(0..REQUESTS).flat_map(request).collect::<Vec<_>>())?;
    let mut answers = [0; 2 * REQUESTS as usize];
    client.read_exact(&mut answers)?;
    let numbers: Vec<u8> = answers.chunks_exact(2).map(|answer| answer[1]).collect();
    let overtakes = |at: &usize| numbers[at + 1..].iter().any(|later| *later < numbers[*at]);
    let number = (0..numbers.len()).filter(overtakes).count() as f64;
    let points = numbers.iter().enumerate().map(|(at, &number)| (at as f64 + 1.0, f64::from(number) + 1.0));
    Ok(Run { number, figures: [].into(), drawn: Drawn::Points(points.collect()) })
}

/// How often a wait returns when a client has left whose descriptor has a copy.
pub(super) fn duplicated(at: &At<'_>) -> Step<Run> {
    let server = at.start()?;
    let client = server.connect_and_ask()?;
    client.shutdown(Shutdown::Write)?;
    server.until_acknowledged(&client)?;
    waits_while_idle(&server)
}

/// Who has the connections in TIME_WAIT, and whether the port can be used again.
pub(super) fn who_closes_first(at: &At<'_>) -> Step<Run> {
    const CLIENTS: usize = 20;
    let server = at.start()?;
    let addr = server.server.addr();
    let (mut close_wait, mut at_server, mut at_clients) = (0, 0, 0);
    for _ in 0..CLIENTS {
        let client = server.connect_and_ask()?;
        let own = client.local_addr()?;
        let states = || -> Step<[Option<TcpState>; 2]> {
            let of = |end: Option<sockets::End>| end.map(|end| end.state);
            Ok([of(sockets::end(addr, own)?), of(sockets::end(own, addr)?)])
        };
        let time_wait = Some(TcpState::TimeWait);
        // A server that closes first has its turn, and another one waits for the client.
        server.until_it_waits()?;
        close_wait = usize::from(states()?.contains(&Some(TcpState::CloseWait)));
        drop(client);
        server.within("both sides have closed", || {
            Ok(states()?.into_iter().all(|state| state.is_none() || state == time_wait))
        })?;
        // Now, because TIME_WAIT ends after a minute.
        let [server, client] = states()?;
        at_server += usize::from(server == time_wait);
        at_clients += usize::from(client == time_wait);
    }
    // A server that is killed closes first what is open then.
    let open = server.connect()?;
    drop(server);
    drop(open);
    let refused = usize::from(!at.starts_again(addr.port())?);
    let run = bar(at_server, [("clients", at_clients), ("server", at_server)]);
    Ok(run.with("close_wait", close_wait as f64).with("refused", refused as f64))
}

/// The messages that the server sees in those that were sent.
pub(super) fn messages(at: &At<'_>) -> Step<Run> {
    const MESSAGES: usize = 100;
    const BODY: [u8; 15] = *b"a short message";
    let server = at.start()?;
    let mut client = server.connect()?;
    let message = crate::echo::framed(&BODY);
    server.while_stopped(|| {
        (0..MESSAGES).try_for_each(|_| client.write_all(&message))?;
        server.until_acknowledged(&client)
    })?;
    let answers = server.all_that_comes(&mut client)?;
    let mut frames = crate::echo::Frames::new(answers.len());
    frames.heard(&answers);
    let mut taken = Vec::new();
    let mut from = 0;
    while let Some(body) = frames.next()? {
        // One that knows of frames gives back the body, and has taken the length with it.
        let took = if body == BODY { message.len() } else { body.len() };
        taken.push((from as f64, (from + took) as f64));
        from += took;
    }
    let sent = (0..MESSAGES).map(|i| ((i * message.len()) as f64, ((i + 1) * message.len()) as f64));
    Ok(Run {
        number: taken.len() as f64,
        figures: [].into(),
        drawn: Drawn::Pieces { sent: sent.collect(), taken },
    })
}

/// Clients that are served after one that has left before its answer.
pub(super) fn sigpipe(at: &At<'_>) -> Step<Run> {
    const CLIENTS: usize = 10;
    let server = at.start()?;
    server.connect_and_ask()?;
    server.while_stopped(|| {
        let mut client = server.connect()?;
        client.write_all(b"eight...")?;
        server.until_acknowledged(&client)
    })?;
    let served = served(&server, CLIENTS)?;
    Ok(bar(served, [("served", served), ("refused", CLIENTS - served)]))
}

/// How many of so many clients get an answer, one after another. None of them does when the server has ended.
fn served(server: &Running<'_>, clients: usize) -> Step<usize> {
    let mut served = 0;
    for _ in 0..clients {
        match server.connect_and_ask() {
            Ok(_) => served += 1,
            // It may be about to end.
            Err(_) if server.ends()? => {}
            Err(why) => return Err(why),
        }
    }
    Ok(served)
}

/// Clients that are served by one that has more than 1023 descriptors open.
pub(super) fn fd_set(at: &At<'_>) -> Step<Run> {
    const CLIENTS: usize = 8;
    const DESCRIPTORS: u64 = 2048;
    let server = at.start_limited(DESCRIPTORS)?;
    let served = served(&server, CLIENTS)?;
    Ok(bar(served, [("served", served), ("refused", CLIENTS - served)]))
}

/// How long an exchange takes.
pub(super) fn nagle(at: &At<'_>) -> Step<Run> {
    const EXCHANGES: usize = 25;
    let server = at.start()?;
    let mut client = server.connect()?;
    let mut points = Vec::new();
    for i in 1..=EXCHANGES {
        // As the kernel does by itself on a connection where answers follow requests, but not always from the first one on.
        sockopt::set_quickack(&client, false)?;
        let began = Instant::now();
        client.write_all(b"request")?;
        client.read_exact(&mut [0; 7])?;
        points.push((i as f64, began.elapsed().as_secs_f64() * 1e3));
    }
    let mut times: Vec<_> = points.iter().map(|&(_, ms)| ms).collect();
    times.sort_by(f64::total_cmp);
    let number = (times[EXCHANGES / 2] * 10.0).round() / 10.0;
    Ok(Run { number, figures: [].into(), drawn: Drawn::Points(points) })
}

/// Threads that wake up for a new client.
pub(super) fn herd(at: &At<'_>) -> Step<Run> {
    const CLIENTS: u64 = 20;
    let server = at.start()?;
    let mut clients = vec![server.connect_and_ask()?];
    server.until_it_waits()?;
    let before = server.server.waits()?;
    for _ in 0..CLIENTS {
        clients.push(server.connect()?);
        // A thread that has not run yet would wake up once for two clients.
        server.pause(Duration::from_millis(10))?;
        server.until_it_waits()?;
    }
    let woken = (server.server.waits()? - before) as f64 / CLIENTS as f64;
    let parts = vec![("accepts".to_owned(), woken.min(1.0)), ("in_vain".to_owned(), (woken - 1.0).max(0.0))];
    Ok(Run { number: (woken * 10.0).round() / 10.0, figures: [].into(), drawn: Drawn::Parts(parts) })
}

/// Clients whose connection is there at once although the server does not accept.
pub(super) fn accept_queue(at: &At<'_>) -> Step<Run> {
    const CLIENTS: usize = 64;
    /// Before the kernel of a client sends its SYN again, which is after a second.
    const AT_ONCE: Duration = Duration::from_millis(500);
    let server = at.start()?;
    let addr = server.server.addr();
    let (clients, connected) = server.while_stopped(|| {
        let connect = |_| -> Step<OwnedFd> {
            let client = socket::tcp(&addr, Mode::Nonblocking)?;
            let _: Connected = socket::connect(&client, &addr)?;
            Ok(client)
        };
        let clients = (0..CLIENTS).map(connect).collect::<Step<Vec<_>>>()?;
        let mut set = PollSet::new();
        let slots: Vec<_> = clients.iter().map(|client| set.push(client, PollFlags::POLLOUT)).collect();
        server.pause(AT_ONCE)?;
        set.wait(Some(Duration::ZERO))?;
        let connected = slots.iter().filter(|slot| set.revents(**slot) == PollFlags::POLLOUT).count();
        Ok((clients, connected))
    })?;
    drop(clients);
    Ok(bar(connected, [("connected", connected), ("waiting", CLIENTS - connected)]))
}
