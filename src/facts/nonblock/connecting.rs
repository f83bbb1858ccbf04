//! A connect that does not wait, or not to the end, and goes on by itself.

use super::super::check::{Held, holds, is};
use super::super::support::*;
use super::super::{Area, Fact, Since};
use crate::sys::Errno;
use crate::sys::raw::{self, Action, Address, no};
use libc::{MSG_NOSIGNAL, SIGUSR1};
use std::time::{Duration, Instant};

pub(super) const FACTS: &[Fact] = &[
    Fact {
        id: "nb-connect-einprogress-loopback",
        area: Area::Nonblock,
        claim: "A non-blocking connect of TCP gives EINPROGRESS even to a listener on the same machine; poll \
                then shows exactly OUT.",
        reference: "connect(2) EINPROGRESS; __inet_stream_connect in net/ipv4/af_inet.c",
        since: Since::ALWAYS,
        matters: "Code that was only tested where connect succeeds at once has never run its other branch.",
        experiment: "A non-blocking socket connects to a loopback listener, and is polled.",
        wrong: &[],
        alone: false,
        run: connect_einprogress_loopback,
    },
    Fact {
        id: "nb-connect-poll-sequence",
        area: Area::Nonblock,
        claim: "After EINPROGRESS, once the connection is established, the next connect gives 0, and those \
                after it EISCONN.",
        reference: "__inet_stream_connect in net/ipv4/af_inet.c",
        since: Since::ALWAYS,
        matters: "connect can be called again to learn how it went, but code that expects EISCONN from the \
                  second call, as the BSDs give it, takes success for a failure.",
        experiment: "A non-blocking socket connects, is polled until it is writable, and connects twice \
                     more.",
        wrong: &[],
        alone: false,
        run: connect_poll_sequence,
    },
    Fact {
        id: "nb-connect-ealready",
        area: Area::Nonblock,
        claim: "While the connection is being made (SYN_SENT), poll shows nothing, connect gives EALREADY, \
                recv and send give EAGAIN, getpeername gives ENOTCONN, and SO_ERROR is 0.",
        reference: "connect(2) EALREADY; tcp(7); tcp_sendmsg and tcp_recvmsg in net/ipv4/tcp.c",
        since: Since::ALWAYS,
        matters: "SO_ERROR of 0 does not mean connected: before the socket is writable it only says that \
                  nothing has failed yet.",
        experiment: "A non-blocking socket connects to a listener whose queue is full, and each call is \
                     made.",
        wrong: &[],
        alone: false,
        run: connect_ealready,
    },
    Fact {
        id: "nb-connect-completes-on-syn-retransmit",
        area: Area::Nonblock,
        claim: "A connect to a full queue does not complete when accept makes room, but when the SYN is sent \
                again, about 1 s after the first.",
        reference: "tcp(7) tcp_syn_retries; RFC 6298; TCP_TIMEOUT_INIT in include/net/tcp.h",
        since: Since::ALWAYS,
        matters: "A queue that overflows for a moment shows as latencies of 1, 3 and 7 s, with idle \
                  processors on both sides.",
        experiment: "A non-blocking socket connects to a listener whose queue is full, accept makes room, \
                     and the time from connect until it is writable is taken.",
        wrong: &[],
        alone: false,
        run: connect_completes_on_syn_retransmit,
    },
    Fact {
        id: "nb-connect-interrupted-continues",
        area: Area::Nonblock,
        claim: "A blocking connect that a signal handler interrupts gives EINTR, and the connection goes on \
                being made: a non-blocking connect gives EALREADY.",
        reference: "connect(2) EINTR; POSIX connect(); inet_wait_for_connect in net/ipv4/af_inet.c",
        since: Since::ALWAYS,
        matters: "The usual loop around EINTR is wrong for connect: what is left to do is to wait until the \
                  socket is writable.",
        experiment: "A thread is asleep in connect to a full queue, a signal with a handler is sent to it, \
                     and connect is called again, non-blocking.",
        wrong: &[],
        alone: false,
        run: connect_interrupted_continues,
    },
    Fact {
        id: "nb-connect-sndtimeo",
        area: Area::Nonblock,
        claim: "With SO_SNDTIMEO a blocking connect gives EINPROGRESS after that time, not ETIMEDOUT, and \
                the connection goes on being made: connect again gives EALREADY.",
        reference: "socket(7) SO_SNDTIMEO; __inet_stream_connect in net/ipv4/af_inet.c",
        since: Since::ALWAYS,
        matters: "A time limit on connect without poll: but the errno is not the one that its name suggests.",
        experiment: "A blocking socket with a limit of 50 ms connects to a full queue, twice; the time of \
                     each is taken.",
        wrong: &[],
        alone: false,
        run: connect_sndtimeo,
    },
    Fact {
        id: "nb-connect-unspec-disconnects",
        area: Area::Nonblock,
        claim: "connect with AF_UNSPEC on a TCP socket that is connected, or in SYN_SENT, gives 0; the state \
                is CLOSE then, and the socket can connect again.",
        reference: "connect(2); tcp_disconnect in net/ipv4/tcp.c",
        since: Since::ALWAYS,
        matters: "It takes back a connect without a new descriptor. Few systems have it for TCP.",
        experiment: "A connected socket and one in SYN_SENT connect to AF_UNSPEC, and then to another \
                     listener.",
        wrong: &[],
        alone: false,
        run: connect_unspec_disconnects,
    },
    Fact {
        id: "nb-register-before-connect",
        area: Area::Nonblock,
        claim: "A TCP socket that is added to epoll before it connects is reported with OUT+HUP at once; \
                after connect the next edge is OUT.",
        reference: "tcp_poll in net/ipv4/tcp.c",
        since: Since::ALWAYS,
        matters: "A library that registers first takes a socket that was never connected for one that is \
                  writable, or closed.",
        experiment: "A new socket is added to epoll with EPOLLET, epoll_wait is called, the socket connects, \
                     and epoll_wait is called again.",
        wrong: &["tokio: https://github.com/tokio-rs/tokio/issues/4549"],
        alone: false,
        run: register_before_connect,
    },
];

fn connect_einprogress_loopback(k: K) -> Held {
    let (_, address) = listener(k, 5)?;
    let client = tcp_nonblocking(k)?;
    is("a non-blocking connect to a listener", k.connect(client, &address), no(Errno::EINPROGRESS))?;
    is("the socket once it is connected", mask_with(k, client, OUT)?, OUT)?;
    is("its state", tcp_info(k, client)?.state, ESTABLISHED)
}

fn connect_poll_sequence(k: K) -> Held {
    let (_, address) = listener(k, 5)?;
    let client = tcp_nonblocking(k)?;
    is("the first connect", k.connect(client, &address), no(Errno::EINPROGRESS))?;
    is("the socket once it is connected", mask_with(k, client, OUT)?, OUT)?;
    is("the second connect, once it is connected", k.connect(client, &address), Ok(()))?;
    is("the third connect", k.connect(client, &address), no(Errno::EISCONN))?;
    is("the fourth connect", k.connect(client, &address), no(Errno::EISCONN))
}

fn connect_ealready(k: K) -> Held {
    let (_, address) = full_listener(k)?;
    let client = tcp_nonblocking(k)?;
    is("the first connect to a full queue", k.connect(client, &address), no(Errno::EINPROGRESS))?;
    is("the state", tcp_info(k, client)?.state, SYN_SENT)?;
    is("poll in SYN_SENT", mask(k, client)?, NONE)?;
    is("connect in SYN_SENT", k.connect(client, &address), no(Errno::EALREADY))?;
    is("recv in SYN_SENT", k.recv(client, &mut [0; 8], 0), no(Errno::EAGAIN))?;
    is("send in SYN_SENT", k.send(client, b"data", MSG_NOSIGNAL), no(Errno::EAGAIN))?;
    is("getpeername in SYN_SENT", k.getpeername(client).map(drop), no(Errno::ENOTCONN))?;
    is("SO_ERROR in SYN_SENT", so_error(k, client)?, NO_ERROR)?;
    is("the state after all of them", tcp_info(k, client)?.state, SYN_SENT)
}

fn connect_completes_on_syn_retransmit(k: K) -> Held {
    let (listener, address) = full_listener(k)?;
    let started = Instant::now();
    let client = connecting(k, &address)?;
    k.accept(listener)?;
    is("the socket, in the end", mask_with_sleeping(k, client)?, OUT)?;
    let took = started.elapsed();
    // The timer of the SYN starts within connect, and 1 s is far from 500 ms whatever the clock tick.
    let what = "the connection completes 500 ms after connect at the earliest";
    holds(what, took >= Duration::from_millis(500), took)
}

/// What poll says once `fd` is writable, or after [`BOUND`], without using a processor until then.
fn mask_with_sleeping(k: K, fd: i32) -> Held<Events> {
    has_soon(k, fd, OUT)?;
    Ok(mask(k, fd)?)
}

fn connect_interrupted_continues(k: K) -> Held {
    let (_, address) = full_listener(k)?;
    k.sigaction(SIGUSR1, Action::Count, 0)?;
    let client = tcp(k)?;
    let waiter = Waiter::asleep(CONNECT, move || k.connect(client, &address))?;
    raw::tgkill(waiter.thread, SIGUSR1)?;
    is("a connect that was interrupted", waiter.join()?, no(Errno::EINTR))?;
    is("how often the handler ran", raw::handled(SIGUSR1), 1)?;
    is("the state after EINTR", tcp_info(k, client)?.state, SYN_SENT)?;
    set_nonblocking(k, client)?;
    is("a non-blocking connect after EINTR", k.connect(client, &address), no(Errno::EALREADY))
}

fn connect_sndtimeo(k: K) -> Held {
    let (_, address) = full_listener(k)?;
    let client = tcp(k)?;
    set_time_limit(k, client, libc::SO_SNDTIMEO, 50)?;
    for (what, errno) in [("the first connect", Errno::EINPROGRESS), ("the second connect", Errno::EALREADY)]
    {
        let started = Instant::now();
        is(format!("{what}, after the limit"), k.connect(client, &address), no(errno))?;
        let took = started.elapsed();
        // The limit is counted in ticks, of which the first has begun already: 10 ms at HZ = 100.
        holds(format!("{what} waits for its 50 ms, less a tick"), took >= Duration::from_millis(39), took)?;
    }
    is("the state after both", tcp_info(k, client)?.state, SYN_SENT)
}

fn connect_unspec_disconnects(k: K) -> Held {
    let (_, elsewhere) = listener(k, 5)?;

    let (client, server) = tcp_pair(k)?;
    let what = "of a connected socket";
    is(format!("connect to AF_UNSPEC {what}"), k.connect(client, &Address::unspecified()), Ok(()))?;
    is("its state", tcp_info(k, client)?.state, CLOSE)?;
    is("its peer sees an end", mask_with(k, server, RDHUP)?.has(RDHUP), true)?;
    is(format!("the next connect {what}"), k.connect(client, &elsewhere), Ok(()))?;
    is("its state", tcp_info(k, client)?.state, ESTABLISHED)?;

    let (_, full) = full_listener(k)?;
    let client = connecting(k, &full)?;
    is("the state", tcp_info(k, client)?.state, SYN_SENT)?;
    let what = "of a socket in SYN_SENT";
    is(format!("connect to AF_UNSPEC {what}"), k.connect(client, &Address::unspecified()), Ok(()))?;
    is("its state", tcp_info(k, client)?.state, CLOSE)?;
    is(format!("the next connect {what}"), k.connect(client, &elsewhere), no(Errno::EINPROGRESS))?;
    until_state(k, client, ESTABLISHED)
}

fn register_before_connect(k: K) -> Held {
    let (_, address) = listener(k, 5)?;
    let (epoll, client) = (epoll(k)?, tcp_nonblocking(k)?);
    add(k, epoll, client, ALL | ET)?;
    is("epoll_wait for a socket that never connected", ready(k, epoll)?, vec![(client, OUT | HUP)])?;
    is("epoll_wait again", ready(k, epoll)?, vec![])?;
    is("connect", k.connect(client, &address), no(Errno::EINPROGRESS))?;
    is("epoll_wait once it is connected", ready_soon(k, epoll)?, vec![(client, OUT)])
}
