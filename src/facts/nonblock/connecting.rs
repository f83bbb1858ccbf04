//! A connect that is under way.

use crate::facts::support::*;
use libc::{MSG_NOSIGNAL, SIGUSR1};

pub(super) const FACTS: &[Fact] = &[
    Fact {
        id: "nb-connect-einprogress-loopback",
        claim: "A non-blocking TCP connect to a listener on loopback gives EINPROGRESS; soon poll shows exactly OUT.",
        reference: "connect(2) EINPROGRESS; release_sock in net/core/sock.c handles the SYN-ACK at the end of the call",
        matters: "Code that treats a connect to 127.0.0.1 as done at once is wrong, although on a machine at rest the \
                  very next poll shows OUT.",
        experiment: "A non-blocking socket connects to a listener and is polled until it is writable.",
        run: |k| {
            let (_, address) = listener(k, 5)?;
            let fd = tcp_nonblocking(k)?;
            is("connect", k.connect(fd, &address), no(Errno::EINPROGRESS))?;
            is("the mask once it is writable", mask_with(k, fd, OUT)?, OUT)
        },
        ..Fact::ALWAYS
    },
    Fact {
        id: "nb-connect-poll-sequence",
        claim: "After EINPROGRESS, once the connection is established, connect returns 0 once and then EISCONN.",
        reference: "connect(2); __inet_stream_connect in net/ipv4/af_inet.c",
        matters: "A second connect is a portable way to ask whether the first is done, but only for those who expect both answers.",
        experiment: "A non-blocking socket connects, is polled until OUT, and connects twice more.",
        run: |k| {
            let (_, address) = listener(k, 5)?;
            let fd = tcp_nonblocking(k)?;
            is("the first connect", k.connect(fd, &address), no(Errno::EINPROGRESS))?;
            until_shows(k, fd, OUT)?;
            is("the second connect", k.connect(fd, &address), Ok(()))?;
            is("the third connect", k.connect(fd, &address), no(Errno::EISCONN))
        },
        ..Fact::ALWAYS
    },
    Fact {
        id: "nb-connect-ealready",
        claim: "While a connection is in SYN_SENT, connect gives EALREADY, recv and send EAGAIN, getpeername ENOTCONN, and SO_ERROR is 0.",
        reference: "connect(2), tcp(7)",
        matters: "SO_ERROR of 0 does not mean connected; getpeername tells.",
        experiment: "A socket connects to a listener whose queue is full, and each call is made.",
        wrong: &[
            "mio: https://github.com/tokio-rs/mio/issues/1942",
            "async-io: https://github.com/smol-rs/async-io/issues/21",
        ],
        run: |k| {
            let (_, address) = full_listener(k)?;
            let fd = connecting(k, &address)?;
            noted(is("SO_ERROR", so_error(k, fd)?, NO_ERROR));
            noted(is("connect again", k.connect(fd, &address), no(Errno::EALREADY)));
            noted(is("recv", k.recv(fd, &mut [0; 8], 0), no(Errno::EAGAIN)));
            noted(is("send", k.send(fd, b"x", MSG_NOSIGNAL), no(Errno::EAGAIN)));
            noted(is("getpeername", k.getpeername(fd).map(drop), no(Errno::ENOTCONN)));
            is("the state", tcp_info(k, fd)?.state, SYN_SENT)
        },
        ..Fact::ALWAYS
    },
    Fact {
        id: "nb-connect-completes-on-syn-retransmit",
        claim: "A connect that met a full queue does not complete when accept makes room, but when the SYN is sent again, \
                a second after the first.",
        reference: "tcp(7) tcp_syn_retries; RFC 6298 section 2",
        matters: "Connection times of 1, 2 or 3 s in a histogram (1, 3 or 7 s before Linux 6.5) are a listener's queue that \
                  was full for a moment.",
        experiment: "A socket connects to a full listener and one connection is accepted; the socket is polled until it is \
                     connected, and TCP_INFO tells how often its SYN was sent again.",
        run: |k| {
            let (fence, (listener, address)) = (Fence::new(k)?, full_listener(k)?);
            let fd = connecting(k, &address)?;
            // The first SYN has met the full queue.
            fence.cross(k)?;
            k.accept(listener)?;
            let mut one = entry(fd, OUT);
            is("sockets that are writable after a while", k.poll(At::from(&mut one), ms(kernel_time()))?, 1)?;
            let info = tcp_info(k, fd)?;
            noted(is("its state", info.state, ESTABLISHED));
            holds("its SYN was sent again", info.repeated()? >= 1, info.repeated()?)
        },
        ..Fact::ALWAYS
    },
    Fact {
        id: "nb-connect-interrupted-continues",
        claim: "A blocking connect that a handler without SA_RESTART interrupts gives EINTR and goes on: a connect after it gives EALREADY.",
        reference: "connect(2) EINTR; POSIX connect()",
        matters: "The connection is being made all the same: whoever closes the socket and begins afresh leaves a second \
                  connection at the server.",
        experiment: "A thread blocks in connect to a full listener and gets a signal; then the socket is made non-blocking and connects \
                     again.",
        run: |k| {
            k.sigaction(SIGUSR1, Action::Count, 0)?;
            let (_, address) = full_listener(k)?;
            let fd = tcp(k)?;
            let waiter = Waiter::asleep(CONNECT, move || k.connect(fd, &address))?;
            raw::tgkill(waiter.thread, SIGUSR1)?;
            is("the interrupted connect", waiter.join()?, no(Errno::EINTR))?;
            set_nonblocking(k, fd)?;
            is("its state", tcp_info(k, fd)?.state, SYN_SENT)?;
            is("a connect after it", k.connect(fd, &address), no(Errno::EALREADY))
        },
        ..Fact::ALWAYS
    },
    Fact {
        id: "nb-connect-again-after-eintr",
        claim: "connect that is called again on a blocking socket after EINTR waits for the connection and gives 0.",
        reference: "__inet_stream_connect in net/ipv4/af_inet.c: SS_CONNECTING waits as well",
        matters: "On Linux a loop on EINTR works for a blocking socket. POSIX gives EALREADY, and so does Linux for a \
                  non-blocking one: portable code waits for OUT and reads SO_ERROR.",
        experiment: "A thread blocks in connect to a full listener, gets a signal, and calls connect again, in which it is \
                     asleep; then one connection is accepted, and the SYN, sent again, is answered.",
        run: |k| {
            k.sigaction(SIGUSR1, Action::Count, 0)?;
            let (listener, address) = full_listener(k)?;
            let fd = tcp(k)?;
            let waiter = Waiter::asleep(CONNECT, move || k.connect(fd, &address))?;
            raw::tgkill(waiter.thread, SIGUSR1)?;
            is("the interrupted connect", waiter.join()?, no(Errno::EINTR))?;
            let waiter = Waiter::asleep(CONNECT, move || k.connect(fd, &address))?;
            k.accept(listener)?;
            // The SYN was sent at first by the connect that was interrupted: at most a second is left.
            is("connect again", waiter.join_within(kernel_time()), Some(Ok(())))?;
            is("its state", tcp_info(k, fd)?.state, ESTABLISHED)
        },
        ..Fact::ALWAYS
    },
    Fact {
        id: "nb-connect-sndtimeo",
        claim: "SO_SNDTIMEO makes a blocking connect give EINPROGRESS when the time is over, and connect again gives EALREADY.",
        reference: "socket(7) SO_SNDTIMEO",
        matters: "A connect with a time limit needs no select; but its failure reads EINPROGRESS, not ETIMEDOUT, and it goes on.",
        experiment: "A socket with a limit of 200 ms connects to a full listener; it waits; it connects again.",
        run: |k| {
            let (_, address) = full_listener(k)?;
            let fd = tcp(k)?;
            set_time_limit(k, fd, libc::SO_SNDTIMEO, 200)?;
            let waiter = Waiter::started(CONNECT, move || {
                let begun = Instant::now();
                (k.connect(fd, &address), begun.elapsed())
            })?;
            let (reply, took) = waiter.join()?;
            noted(is("connect with a time limit of 200 ms", reply, no(Errno::EINPROGRESS)));
            // The limit is counted in ticks of the kernel's clock, which stands still while a busy host does not run this kernel.
            noted(holds("it lasts for half of its limit at least", took >= Duration::from_millis(100), took));
            is("connect again", k.connect(fd, &address), no(Errno::EALREADY))
        },
        ..Fact::ALWAYS
    },
    Fact {
        id: "nb-connect-unix-eagain",
        claim: "A non-blocking connect of an AF_UNIX stream socket to a full queue gives EAGAIN with nothing under way: the socket polls OUT+HUP, SO_ERROR is 0, \
                and connect must be called again. listen(0) lets 1 wait, listen(1) lets 2.",
        reference: "connect(2) EAGAIN; unix_stream_connect in net/unix/af_unix.c",
        matters: "There is nothing to poll for. Event loops that wait for writability after EAGAIN take the OUT+HUP for success.",
        experiment: "Clients connect to a listener of an abstract name until EAGAIN; the last one is polled and asked for its error; after one accept \
                     it connects.",
        wrong: &[
            "mio: https://github.com/tokio-rs/mio/issues/1560",
            "tokio: https://github.com/tokio-rs/tokio/issues/3879",
            "async-io: https://github.com/smol-rs/async-io/issues/18",
        ],
        run: |k| {
            for backlog in [0, 1] {
                let listener = k.socket(libc::AF_UNIX, libc::SOCK_STREAM | libc::SOCK_CLOEXEC, 0)?;
                k.bind(listener, &Address::any_unix())?;
                k.listen(listener, backlog)?;
                let address = k.getsockname(listener)?;
                let client = || {
                    k.socket(libc::AF_UNIX, libc::SOCK_STREAM | libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC, 0)
                };
                let what = format!("connect with room in the queue of listen({backlog})");
                for _ in 0..=backlog {
                    is(&what, k.connect(client()?, &address), Ok(()))?;
                }
                let late = client()?;
                is(
                    format!("connect to the full queue of listen({backlog})"),
                    k.connect(late, &address),
                    no(Errno::EAGAIN),
                )?;
                is("its mask", mask(k, late)?, OUT | HUP)?;
                is("its SO_ERROR", so_error(k, late)?, NO_ERROR)?;
                k.accept(listener)?;
                is("its mask after an accept", mask(k, late)?, OUT | HUP)?;
                is("connect again", k.connect(late, &address), Ok(()))?;
                is("its mask then", mask(k, late)?, OUT)?;
            }
            Ok(())
        },
        ..Fact::ALWAYS
    },
    Fact {
        id: "nb-connect-unspec-disconnects",
        claim: "connect with AF_UNSPEC on a TCP socket that is connected or in SYN_SENT returns 0, the state is CLOSE, and the socket can \
                connect again. ECONNRESET is left in SO_ERROR, and ERR in the mask, until somebody asks.",
        reference: "connect(2); tcp_disconnect in net/ipv4/tcp.c",
        matters: "It is the only way to give up a connect and keep the descriptor.",
        experiment: "A connected socket, and one in SYN_SENT, connect to AF_UNSPEC, and then to a listener.",
        run: |k| {
            let (listener_fd, address) = listener(k, 5)?;
            let established = connected(k, &address)?;
            k.accept(listener_fd)?;
            let (_, full) = full_listener(k)?;
            let under_way = connecting(k, &full)?;
            for (what, fd) in [("a connected socket", established), ("a socket in SYN_SENT", under_way)] {
                step(what, || {
                    is("connect to AF_UNSPEC", k.connect(fd, &Address::unspecified()), Ok(()))?;
                    noted(is("its state", tcp_info(k, fd)?.state, CLOSE));
                    noted(shows("the socket", k, fd, ERR | HUP));
                    noted(is("its SO_ERROR", so_error(k, fd)?, Errno::ECONNRESET));
                    let expected = if fd == established { Ok(()) } else { no(Errno::EINPROGRESS) };
                    noted(is("a new connect", k.connect(fd, &address), expected));
                    comes_true("it is connected", || Ok(tcp_info(k, fd)?.state == ESTABLISHED))
                });
            }
            Ok(())
        },
        ..Fact::ALWAYS
    },
    Fact {
        id: "nb-register-before-connect",
        claim: "A TCP socket that is added to epoll before connect reports OUT+HUP at once; after connect the next edge is OUT.",
        reference: "tcp_poll in net/ipv4/tcp.c",
        matters: "A library that registers first takes the hang-up of a fresh socket for the end of its connection.",
        experiment: "A fresh non-blocking socket is added edge-triggered, waited for, connected, and waited for again.",
        wrong: &[
            "tokio: https://github.com/tokio-rs/tokio/issues/4549",
            "epoll-shim: https://github.com/jiixyj/epoll-shim/issues/3",
        ],
        run: |k| {
            let (_, address) = listener(k, 5)?;
            let (epoll, fd) = (epoll(k)?, tcp_nonblocking(k)?);
            add(k, epoll, fd, ALL | ET)?;
            is("a fresh socket", ready(k, epoll)?, vec![(fd, OUT | HUP)])?;
            is("a fresh socket, waited for again", ready(k, epoll)?, vec![])?;
            is("connect", k.connect(fd, &address), no(Errno::EINPROGRESS))?;
            is("the next edge", ready_soon(k, epoll)?, vec![(fd, OUT)])
        },
        ..Fact::ALWAYS
    },
];
