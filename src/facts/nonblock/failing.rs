//! A connect that fails, and how often it says so.

use super::super::check::{Held, is};
use super::super::support::*;
use super::super::{Area, Fact, Since};
use crate::sys::Errno;
use crate::sys::raw::{Address, Reply, no};
use libc::{AF_UNIX, MSG_NOSIGNAL, SHUT_WR, SOCK_CLOEXEC, SOCK_NONBLOCK, SOCK_STREAM};

pub(super) const FACTS: &[Fact] = &[
    Fact {
        id: "nb-connect-refused-einprogress",
        area: Area::Nonblock,
        claim: "A non-blocking connect to a loopback port at which nobody listens gives EINPROGRESS too, \
                never ECONNREFUSED; the refusal is found by poll, with IN+OUT+ERR+HUP+RDHUP, and in \
                SO_ERROR.",
        reference: "connect(2); __inet_stream_connect in net/ipv4/af_inet.c",
        since: Since::ALWAYS,
        matters: "Code that looks for a refusal in the result of connect alone never sees one, and goes on \
                  with a dead socket.",
        experiment: "A non-blocking socket connects to a port that is bound but not listened at, and is \
                     polled.",
        wrong: &[
            "WSL 1: https://github.com/microsoft/WSL/issues/1584",
            "WSL 1: https://github.com/microsoft/WSL/issues/3560",
            "mio, whose manual left SO_ERROR out: https://github.com/tokio-rs/mio/issues/1565",
        ],
        alone: false,
        run: connect_refused_einprogress,
    },
    Fact {
        id: "nb-connect-error-once",
        area: Area::Nonblock,
        claim: "After a refusal SO_ERROR is ECONNREFUSED once, then 0; after that recv gives 0 and send \
                gives EPIPE.",
        reference: "socket(7) SO_ERROR; sock_error in include/net/sock.h",
        since: Since::ALWAYS,
        matters: "Who asks second, a library after the program or the other way round, takes a refused \
                  connection for one that was made and then closed.",
        experiment: "A non-blocking connect is refused; SO_ERROR is read twice, then recv and send are \
                     called.",
        wrong: &[],
        alone: false,
        run: connect_error_once,
    },
    Fact {
        id: "nb-connect-retry-after-refusal",
        area: Area::Nonblock,
        claim: "connect that is called again after a refusal, without SO_ERROR having been read, gives \
                ECONNREFUSED, and the one after it starts afresh, with EINPROGRESS.",
        reference: "__inet_stream_connect in net/ipv4/af_inet.c, at sock_error",
        since: Since::ALWAYS,
        matters: "connect tells how the last attempt went before it makes a new one: a loop that retries \
                  tries only every second time.",
        experiment: "A non-blocking connect is refused, and connect is called twice more.",
        wrong: &["gVisor: https://github.com/google/gvisor/issues/3828"],
        alone: false,
        run: connect_retry_after_refusal,
    },
    Fact {
        id: "nb-connect-after-soerror-econnaborted",
        area: Area::Nonblock,
        claim: "If SO_ERROR was read first, the next connect gives ECONNABORTED, and only the one after it \
                starts afresh, with EINPROGRESS.",
        reference: "__inet_stream_connect in net/ipv4/af_inet.c: sock_error(sk) ? : -ECONNABORTED",
        since: Since::ALWAYS,
        matters: "A socket cannot simply be used again after a refusal that was looked up properly: a retry \
                  fails with an errno that connect(2) does not list.",
        experiment: "A non-blocking connect is refused, SO_ERROR is read, and connect is called twice more.",
        wrong: &["gVisor: https://github.com/google/gvisor/issues/3828"],
        alone: false,
        run: connect_after_soerror_econnaborted,
    },
    Fact {
        id: "nb-connect-unix-eagain",
        area: Area::Nonblock,
        claim: "A non-blocking connect of an AF_UNIX stream to a full queue gives EAGAIN, and nothing is in \
                progress: the socket polls OUT+HUP, SO_ERROR is 0, and connect must be called again. \
                listen(0) lets 1 connection wait, listen(1) lets 2.",
        reference: "connect(2) EAGAIN; unix_stream_connect in net/unix/af_unix.c",
        since: Since::ALWAYS,
        matters: "EAGAIN is no EINPROGRESS: who waits until the socket is writable finds it so at once, and \
                  not connected.",
        experiment: "Clients connect to listeners in the abstract namespace until one is told EAGAIN; that \
                     one is polled, room is made, it is polled again, and connects.",
        wrong: &[
            "mio: https://github.com/tokio-rs/mio/issues/1560",
            "tokio: https://github.com/tokio-rs/tokio/issues/3879",
            "async-io: https://github.com/smol-rs/async-io/issues/18",
        ],
        alone: false,
        run: connect_unix_eagain,
    },
    Fact {
        id: "nb-unconnected-errors",
        area: Area::Nonblock,
        claim: "On a TCP socket that was never connected recv gives ENOTCONN, send EPIPE and shutdown \
                ENOTCONN; on an AF_UNIX stream recv gives EINVAL and send ENOTCONN.",
        reference: "tcp_recvmsg_locked and tcp_sendmsg_locked in net/ipv4/tcp.c; unix_stream_read_generic \
                    and unix_stream_sendmsg in net/unix/af_unix.c",
        since: Since::ALWAYS,
        matters: "EPIPE does not prove that there was a connection; and without MSG_NOSIGNAL that send kills \
                  the process.",
        experiment: "New sockets of both kinds, and one call each.",
        wrong: &[],
        alone: false,
        run: unconnected_errors,
    },
];

/// A socket whose non-blocking connect was refused, and that has not told so yet; and the address.
fn refused(k: K) -> Held<(i32, Address)> {
    let (address, client) = (refused_address(k)?, tcp_nonblocking(k)?);
    is("a non-blocking connect to a closed port", k.connect(client, &address), no(Errno::EINPROGRESS))?;
    is("the socket once it is refused", mask_with(k, client, ERR)?, IN | OUT | ERR | HUP | RDHUP)?;
    Ok((client, address))
}

fn connect_refused_einprogress(k: K) -> Held {
    let (client, _) = refused(k)?;
    is("SO_ERROR", so_error(k, client)?, Errno::ECONNREFUSED)
}

fn connect_error_once(k: K) -> Held {
    let (client, _) = refused(k)?;
    is("SO_ERROR after a refusal", so_error(k, client)?, Errno::ECONNREFUSED)?;
    is("SO_ERROR when it is read again", so_error(k, client)?, NO_ERROR)?;
    is("recv after that", k.recv(client, &mut [0; 8], 0), Ok(0))?;
    is("send after that", k.send(client, b"data", MSG_NOSIGNAL), no(Errno::EPIPE))
}

fn connect_retry_after_refusal(k: K) -> Held {
    let (client, address) = refused(k)?;
    is("the second connect", k.connect(client, &address), no(Errno::ECONNREFUSED))?;
    is("the third connect", k.connect(client, &address), no(Errno::EINPROGRESS))?;
    is("the socket, refused again", mask_with(k, client, ERR)?, IN | OUT | ERR | HUP | RDHUP)
}

fn connect_after_soerror_econnaborted(k: K) -> Held {
    let (client, address) = refused(k)?;
    is("SO_ERROR", so_error(k, client)?, Errno::ECONNREFUSED)?;
    is("the connect after SO_ERROR was read", k.connect(client, &address), no(Errno::ECONNABORTED))?;
    is("the connect after that one", k.connect(client, &address), no(Errno::EINPROGRESS))?;
    is("the socket, refused again", mask_with(k, client, ERR)?, IN | OUT | ERR | HUP | RDHUP)
}

fn connect_unix_eagain(k: K) -> Held {
    let socket = || -> Reply<i32> { k.socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0) };
    for (backlog, room) in [(0, 1), (1, 2)] {
        let listener = socket()?;
        k.bind(listener, &Address::any_unix())?;
        k.listen(listener, backlog)?;
        let address = k.getsockname(listener)?;
        for n in 1..=room {
            is(format!("connect {n} after listen({backlog})"), k.connect(socket()?, &address), Ok(()))?;
        }
        let late = socket()?;
        let what = format!("connect {} after listen({backlog})", room + 1);
        is(&what, k.connect(late, &address), no(Errno::EAGAIN))?;
        is("the socket after EAGAIN", mask(k, late)?, OUT | HUP)?;
        is("its SO_ERROR", so_error(k, late)?, NO_ERROR)?;
        k.accept(listener)?;
        is("the socket after accept made room", mask(k, late)?, OUT | HUP)?;
        is("its peer then", k.getpeername(late).map(drop), no(Errno::ENOTCONN))?;
        is("connect again", k.connect(late, &address), Ok(()))?;
        is("the socket that is connected", mask(k, late)?, OUT)?;
    }
    Ok(())
}

fn unconnected_errors(k: K) -> Held {
    let fresh = tcp(k)?;
    is("recv of a new TCP socket", k.recv(fresh, &mut [0; 8], 0), no(Errno::ENOTCONN))?;
    is("its send", k.send(fresh, b"data", MSG_NOSIGNAL), no(Errno::EPIPE))?;
    is("its shutdown", k.shutdown(fresh, SHUT_WR), no(Errno::ENOTCONN))?;
    let fresh = k.socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)?;
    is("recv of a new AF_UNIX stream", k.recv(fresh, &mut [0; 8], 0), no(Errno::EINVAL))?;
    is("its send", k.send(fresh, b"data", MSG_NOSIGNAL), no(Errno::ENOTCONN))
}
