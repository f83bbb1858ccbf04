//! Several listeners, or several processes, on one port.

use crate::facts::support::*;
use libc::{MSG_DONTWAIT, O_CLOEXEC, SO_REUSEPORT, SOL_SOCKET};
use std::os::unix::fs::MetadataExt;

const SHARING: &[Fact] = &[
    Fact {
        id: "mp-reuseport-all-or-nothing",
        claim: "Two listeners share a port only if both have SO_REUSEPORT and the same effective user; if \
                not, the second bind fails with EADDRINUSE.",
        reference: "socket(7) SO_REUSEPORT; inet_csk_bind_conflict in net/ipv4/inet_connection_sock.c",
        since: Since(3, 9),
        matters: "A new process cannot share the port of an old one that did not ask for it. No other user \
                  can take a part of the clients.",
        experiment: "The four combinations of two listeners with and without the option; then both with it, \
                     the second in a child that is another user.",
        run: |k| {
            for (first, second) in [(true, true), (true, false), (false, true), (false, false)] {
                let (one, reply) = listener_bound(k, &Address::loopback(0), first)?;
                reply?;
                k.listen(one, 1)?;
                let (other, reply) = listener_bound(k, &k.getsockname(one)?, second)?;
                let expected = if first && second { Ok(()) } else { no(Errno::EADDRINUSE) };
                is(
                    format!("bind, with SO_REUSEPORT {second}, to a port taken with {first}"),
                    reply,
                    expected,
                )?;
                if expected.is_ok() {
                    is("listen of the second", k.listen(other, 1), Ok(()))?;
                }
            }
            let (one, reply) = listener_bound(k, &Address::loopback(0), true)?;
            reply?;
            k.listen(one, 1)?;
            let address = k.getsockname(one)?;
            Forked::start(|| {
                let user = std::fs::metadata("/proc/self").map_or(0, |process| process.uid());
                if raw::setuid(user + 1).is_err() {
                    return skip(
                        Why::Denied,
                        "only root can be another user; all but the users is as it should be",
                    );
                }
                let (_, reply) = listener_bound(k, &address, true)?;
                is("bind, with SO_REUSEPORT, to the port of another user", reply, no(Errno::EADDRINUSE))
            })?
            .join()
        },
        ..Fact::ALWAYS
    },
    Fact {
        id: "mp-reuseport-one-owner",
        claim: "Each connection is in the queue of exactly one of the listeners that share a port, and each \
                of two gets some of 64.",
        reference: "socket(7) SO_REUSEPORT; inet_lookup_reuseport in net/ipv4/inet_hashtables.c",
        since: Since(3, 9),
        matters: "Workers with a listener each wake for their own clients alone. A worker that is stuck \
                  keeps its share waiting while the others are idle.",
        experiment: "Two listeners and 64 clients, one after the other; after each both listeners are \
                     polled.",
        run: |k| {
            let (a, b, address) = two_sharing(k)?;
            let mut of = [0; 2];
            for _ in 0..64 {
                connected(k, &address)?;
                let mut entries = [entry(a, IN), entry(b, IN)];
                is(
                    "listeners that are readable after one connect",
                    k.poll(At::from(&mut entries), bound_ms())?,
                    1,
                )?;
                let owner = usize::from(revents(&entries[1]) == IN);
                k.accept([a, b][owner])?;
                of[owner] += 1;
            }
            is("both listeners after 64 were accepted", (mask(k, a)?, mask(k, b)?), (NONE, NONE))?;
            is("listeners with some of the 64", of.iter().filter(|&&n| n > 0).count(), 2)
        },
        ..Fact::ALWAYS
    },
    Fact {
        id: "mp-reuseport-close-drops-queue",
        claim: "close of one listener of a shared port resets the connections in its queue. The other \
                listener keeps its own, and gets all that come later.",
        reference: "inet_csk_listen_stop in net/ipv4/inet_connection_sock.c",
        since: Since(3, 9),
        matters: "A restart in which the old process closes its listener loses clients that were connected \
                  already.",
        experiment: "3 clients steered to the first of two listeners and 12 to the second, which is closed; \
                     what each client sees; one more client.",
        wrong: &[
            "Embox: https://github.com/embox/embox/pull/2982",
            "Envoy: https://github.com/envoyproxy/envoy/pull/18686",
            "go-reuseport: https://github.com/libp2p/go-reuseport/issues/6",
        ],
        run: |k| {
            let (kept, closed, address) = two_sharing(k)?;
            k.steer_reuseport(kept, 0)?;
            let safe = clients(k, &address, 3)?;
            k.steer_reuseport(kept, 1)?;
            let lost = clients(k, &address, 12)?;
            is("connections at the first and the second listener", waiting(k, (kept, closed), 15)?, (3, 12))?;
            k.close(closed)?;
            is("resets among the 12 of the closed listener", resets(k, &lost, 12)?, 12)?;
            is("resets among the 3 of the other", resets(k, &safe, 0)?, 0)?;
            connected(k, &address)?;
            is("the other, with its 3 and a new one", waiting(k, (kept, kept), 8)?, (4, 4))?;
            is("accepted from it", accepted(k, kept)?, 4)
        },
        ..Fact::ALWAYS
    },
    Fact {
        id: "mp-migrate-req-keeps-queue",
        claim: "With net.ipv4.tcp_migrate_req = 1 the same close loses nothing: all 12 are accepted from the \
                listener that is left.",
        reference: "ip-sysctl tcp_migrate_req; reuseport_migrate_sock in net/core/sock_reuseport.c; commit \
                    54b92e841937",
        since: Since(5, 14),
        matters: "One sysctl makes a restart lossless, but it is off by default.",
        experiment: "In a network namespace of its own with the sysctl set: 12 clients steered to the second \
                     of two listeners, which is closed; accept on the first.",
        run: |k| {
            own_network(k)?;
            set_sysctl("net.ipv4.tcp_migrate_req", "1")?;
            let (kept, closed, address) = two_sharing(k)?;
            k.steer_reuseport(kept, 1)?;
            let clients = clients(k, &address, 12)?;
            is("connections at the first and the second listener", waiting(k, (kept, closed), 12)?, (0, 12))?;
            k.close(closed)?;
            is("accepted from the listener that is left", accepted(k, kept)?, 12)?;
            is("resets among the 12", resets(k, &clients, 0)?, 0)
        },
        ..Fact::ALWAYS
    },
    Fact {
        id: "mp-reuseport-cbpf-steers",
        claim: "A program attached with SO_ATTACH_REUSEPORT_CBPF that returns k sends every connection to \
                the k-th listener, counted from 0 in the order of listen.",
        reference: "socket(7) SO_ATTACH_REUSEPORT_CBPF; reuseport_add_sock and run_bpf_filter in \
                    net/core/sock_reuseport.c",
        since: Since(4, 6),
        matters: "The number is that of the listener's place, not of its worker: with another order of \
                  start, or after a close, it means another one.",
        experiment: "Two listeners, bound in one order and listening in the other; 10 clients for k = 0, 10 \
                     for k = 1.",
        run: |k| {
            let (second, reply) = listener_bound(k, &Address::loopback(0), true)?;
            reply?;
            let address = k.getsockname(second)?;
            let (first, reply) = listener_bound(k, &address, true)?;
            reply?;
            k.listen(first, 128)?;
            k.listen(second, 128)?;
            k.steer_reuseport(second, 0)?;
            clients(k, &address, 10)?;
            is(
                "connections at the first and the second to listen, k = 0",
                waiting(k, (first, second), 10)?,
                (10, 0),
            )?;
            k.steer_reuseport(second, 1)?;
            clients(k, &address, 10)?;
            is(
                "connections at the first and the second to listen, k = 1",
                waiting(k, (first, second), 20)?,
                (10, 10),
            )
        },
        ..Fact::ALWAYS
    },
    Fact {
        id: "mp-reuseport-after-bind",
        claim: "SO_REUSEPORT that is set after listen still lets a second listener join and share.",
        reference: "socket(7), which wants it before bind; inet_csk_bind_conflict in \
                    net/ipv4/inet_connection_sock.c looks at the option as it is now",
        since: Since(4, 6),
        matters: "A listener inherited from a service manager can be shared after all.",
        experiment: "A listener without the option, and a second one that cannot bind; the option set on the \
                     first; the second binds, and 60 clients go to both.",
        run: |k| {
            let (first, address) = listener(k, 128)?;
            let (second, reply) = listener_bound(k, &address, true)?;
            is("bind to the port of a listener without SO_REUSEPORT", reply, no(Errno::EADDRINUSE))?;
            is(
                "SO_REUSEPORT set on it after listen",
                set_option(k, first, SOL_SOCKET, SO_REUSEPORT, 1),
                Ok(()),
            )?;
            is("bind to its port now", k.bind(second, &address), Ok(()))?;
            is("listen", k.listen(second, 128), Ok(()))?;
            clients(k, &address, 60)?;
            let (a, b) = waiting(k, (first, second), 60)?;
            is("connections in both queues", a + b, 60)?;
            is("whether each listener has some of 60", (a > 0, b > 0), (true, true))
        },
        ..Fact::ALWAYS
    },
    Fact {
        id: "mp-prefork-shared-listener",
        claim: "Processes that are blocked in accept on one inherited listener get one connection each. Of \
                those that wait with epoll, all are told of one connection; one accepts it, and the others \
                see EAGAIN.",
        reference: "accept(2); inet_csk_wait_for_connect in net/ipv4/inet_connection_sock.c",
        matters: "Prefork servers need no lock around accept. Those with epoll need a non-blocking listener, \
                  or a worker that comes late blocks in accept.",
        experiment: "Four children asleep in accept, four clients, each of which is sent the number of the \
                     process that accepted it. Four children asleep in epoll_wait, one client; when all four \
                     have been woken, they accept.",
        run: |k| {
            let (blocking, address) = listener(k, 16)?;
            let children = (0..4)
                .map(|_| {
                    Forked::start(|| {
                        let connection = k.accept(blocking)?;
                        k.write(connection, &std::process::id().to_ne_bytes())?;
                        Ok(())
                    })
                })
                .collect::<Held<Vec<_>>>()?;
            for child in &children {
                child.until_asleep(ACCEPT)?;
            }
            let mut served_by = Vec::new();
            for n in 1..=4 {
                let client = connected(k, &address)?;
                let mut pid = [0; 4];
                is("a client that waits to be served", has_soon(k, client, IN)?, true)?;
                is("bytes from the process that accepted", k.recv(client, &mut pid, 0), Ok(4))?;
                served_by.push(i32::from_ne_bytes(pid));
                // The others were not woken for nothing: they have been asleep all the time, or would not be yet.
                let asleep = |child: &&Forked| asleep_in(&format!("/proc/{}", child.pid), ACCEPT);
                is(
                    format!("processes asleep in accept after {n} clients"),
                    children.iter().filter(asleep).count(),
                    4 - n,
                )?;
            }
            children.iter().try_for_each(Forked::join)?;
            served_by.sort_unstable();
            let mut pids: Vec<i32> = children.iter().map(|child| child.pid).collect();
            pids.sort_unstable();
            is("the processes that accepted four connections", served_by, pids)?;

            let (nonblocking, address) = listener(k, 16)?;
            set_nonblocking(k, nonblocking)?;
            let ([woken, tell_woken], [go, tell_go], [got, tell_got]) =
                (k.pipe2(O_CLOEXEC)?, k.pipe2(O_CLOEXEC)?, k.pipe2(O_CLOEXEC)?);
            let children = (0..4)
                .map(|_| {
                    Forked::start(|| {
                        let epoll = epoll(k)?;
                        add(k, epoll, nonblocking, IN)?;
                        is(
                            "epoll_wait in one of four processes",
                            wait(k, epoll, -1),
                            Ok(vec![(nonblocking, IN)]),
                        )?;
                        k.write(tell_woken, b"w")?;
                        k.read(go, &mut [0])?;
                        let result = k.accept(nonblocking).map(|_| ()).map_err(|refusal| refusal.errno as u8);
                        k.write(tell_got, &[result.err().unwrap_or(0)])?;
                        Ok(())
                    })
                })
                .collect::<Held<Vec<_>>>()?;
            for child in &children {
                child.until_asleep(EPOLL)?;
            }
            connected(k, &address)?;
            let all = |pipe| {
                until("all four processes are heard of", || Ok((readable_bytes(k, pipe)? == 4).then_some(())))
            };
            all(woken)?;
            k.write(tell_go, b"gggg")?;
            all(got)?;
            let mut errnos = [0; 4];
            k.read(got, &mut errnos)?;
            errnos.sort_unstable();
            let again = Errno::EAGAIN as u8;
            is("errnos of accept in four processes, 0 for success", errnos, [0, again, again, again])
        },
        ..Fact::ALWAYS
    },
];

pub(super) const FACTS: &[&[Fact]] = &[SHARING];

/// A socket that is bound to `address`, if it may be; with SO_REUSEPORT or without.
fn listener_bound(k: K, address: &Address, reuseport: bool) -> Held<(i32, Reply<()>)> {
    let fd = tcp(k)?;
    set_option(k, fd, SOL_SOCKET, SO_REUSEPORT, reuseport.into())?;
    Ok((fd, k.bind(fd, address)))
}

/// A non-blocking listener with SO_REUSEPORT.
fn sharing(k: K, address: &Address) -> Held<i32> {
    let (fd, reply) = listener_bound(k, address, true)?;
    reply?;
    set_nonblocking(k, fd)?;
    k.listen(fd, 128)?;
    Ok(fd)
}

/// Two listeners that share a port.
fn two_sharing(k: K) -> Held<(i32, i32, Address)> {
    let first = sharing(k, &Address::loopback(0))?;
    let address = k.getsockname(first)?;
    Ok((first, sharing(k, &address)?, address))
}

/// `n` connected clients.
fn clients(k: K, address: &Address, n: usize) -> Reply<Vec<i32>> {
    (0..n).map(|_| connected(k, address)).collect()
}

/// How many connections wait at each, once all `n` do.
fn waiting(k: K, listeners: (i32, i32), n: u32) -> Held<(u32, u32)> {
    until(&format!("{n} connections are in the queues"), || {
        let now = (tcp_info(k, listeners.0)?.queued()?, tcp_info(k, listeners.1)?.queued()?);
        Ok((now.0 + now.1 >= n).then_some(now))
    })
}

/// How many of `clients` have been reset, once `n` have or after [`bound`].
fn resets(k: K, clients: &[i32], n: usize) -> Held<usize> {
    let deadline = Instant::now() + bound();
    let (mut clients, mut resets) = (clients.to_vec(), 0);
    loop {
        clients.retain(|&fd| {
            k.recv(fd, &mut [0], MSG_DONTWAIT) != no(Errno::ECONNRESET) || {
                resets += 1;
                false
            }
        });
        if resets >= n || Instant::now() > deadline {
            return Ok(resets);
        }
        between_looks();
    }
}

/// How many connections can be accepted now.
fn accepted(k: K, listener: i32) -> Held<usize> {
    let mut n = 0;
    loop {
        match k.accept(listener) {
            Ok(_) => n += 1,
            Err(refusal) if refusal.errno == Errno::EAGAIN => return Ok(n),
            Err(refusal) => return Err(refusal.into()),
        }
    }
}
