//! Several listeners on one port, and several processes at one listener.

use super::check::{Held, holds, is};
use super::support::*;
use super::{Area, Fact, Since};
use crate::sys::Errno;
use crate::sys::raw::{self, Address, Reply, no};
use libc::{MSG_NOSIGNAL, SO_REUSEPORT, SOL_SOCKET};

pub(super) const FACTS: &[&[Fact]] = &[&[
    Fact {
        id: "mp-reuseport-all-or-nothing",
        area: Area::Sharing,
        claim: "Two listeners share a port only if both set SO_REUSEPORT and belong to the same effective user; otherwise bind gives EADDRINUSE.",
        reference: "socket(7) SO_REUSEPORT; inet_csk_bind_conflict in net/ipv4/inet_connection_sock.c",
        since: Since(3, 9),
        matters: "A stranger on the machine cannot take a share of a service's connections.",
        experiment: "A second socket binds with and without the option, beside a listener with and without it; then in a child that became \
                     another user, where that is allowed.",
        wrong: &[],
        alone: false,
        run: reuseport_all_or_nothing,
    },
    Fact {
        id: "mp-reuseport-one-owner",
        area: Area::Sharing,
        claim: "Each connection waits at exactly one listener of the group, and each of two gets some of 64.",
        reference: "inet_lhash2_lookup and reuseport_select_sock in the kernel",
        since: Since(3, 9),
        matters: "There is no herd; and a process that is slow keeps the connections that the hash gave it.",
        experiment: "64 clients connect one after another to two listeners; after each, exactly one of the two has one connection more.",
        wrong: &[],
        alone: false,
        run: reuseport_one_owner,
    },
    Fact {
        id: "mp-reuseport-close-drops-queue",
        area: Area::Sharing,
        claim: "Closing one listener of a group resets the connections in its queue; those of the others stay, and later ones go to the \
                survivor.",
        reference: "inet_csk_listen_stop in net/ipv4/inet_connection_sock.c",
        since: Since(4, 6),
        matters: "A rolling restart over SO_REUSEPORT loses connections that were established and not yet accepted.",
        experiment: "A BPF program steers 12 clients to one of two listeners, which is then closed: 12 clients are reset. A thirteenth is \
                     accepted by the other.",
        wrong: &[
            "pingora: https://github.com/cloudflare/pingora/issues/427",
            "Envoy: https://github.com/envoyproxy/envoy/issues/3804",
        ],
        alone: false,
        run: reuseport_close_drops_queue,
    },
    Fact {
        id: "mp-migrate-req-keeps-queue",
        area: Area::Sharing,
        claim: "With net.ipv4.tcp_migrate_req = 1 the same close loses nothing: the survivor accepts all 12.",
        reference: "Documentation/networking/ip-sysctl.rst tcp_migrate_req",
        since: Since(5, 14),
        matters: "It is the setting that makes rolling restarts safe, and it is off by default.",
        experiment: "In a network namespace with the sysctl set, 12 clients are steered to one listener, which is closed; the other accepts.",
        wrong: &[],
        alone: false,
        run: migrate_req_keeps_queue,
    },
    Fact {
        id: "mp-reuseport-cbpf-steers",
        area: Area::Sharing,
        claim: "SO_ATTACH_REUSEPORT_CBPF with a program that returns k sends every connection to the listener that was bound as the \
                kth.",
        reference: "socket(7) SO_ATTACH_REUSEPORT_CBPF",
        since: Since(4, 6),
        matters: "A server can steer connections by processor, or away from a process that drains.",
        experiment: "With k of 0 and of 1, ten clients connect to two listeners, and the queues are counted.",
        wrong: &[],
        alone: false,
        run: reuseport_cbpf_steers,
    },
    Fact {
        id: "mp-reuseport-after-bind",
        area: Area::Sharing,
        claim: "SO_REUSEPORT that is set on a listener after listen still lets a second listener join and share.",
        reference: "socket(7) says that it must be set before bind; the kernel is laxer",
        since: Since::ALWAYS,
        matters: "A running server may be joined by another if it sets the option late; the manual page says that it cannot.",
        experiment: "A socket listens, then sets the option; a second one binds and listens with it; each gets some of 64 clients.",
        wrong: &["the manual page socket(7)"],
        alone: false,
        run: reuseport_after_bind,
    },
    Fact {
        id: "mp-prefork-shared-listener",
        area: Area::Sharing,
        claim: "Processes that are blocked in accept on one inherited listener each get a connection of their own; non-blocking ones that epoll woke see \
                EAGAIN if another was first.",
        reference: "accept(2)",
        since: Since::ALWAYS,
        matters: "It is what prefork servers live by; and with epoll accept must expect to find nothing.",
        experiment: "Four forked children block in accept; four clients connect and each is answered with the number of another process. Then two \
                     epolls are told of one connection, and the second accept finds nothing.",
        wrong: &["puma: https://github.com/puma/puma/issues/3934"],
        alone: false,
        run: prefork_shared_listener,
    },
]];

/// A TCP socket with SO_REUSEPORT or without.
fn socket_with(k: K, reuseport: bool) -> Reply<i32> {
    let fd = tcp(k)?;
    set_option(k, fd, SOL_SOCKET, SO_REUSEPORT, reuseport.into())?;
    Ok(fd)
}

/// Two listeners with SO_REUSEPORT on one loopback port.
fn group(k: K) -> Reply<([i32; 2], Address)> {
    let first = socket_with(k, true)?;
    k.bind(first, &Address::loopback(0))?;
    let address = k.getsockname(first)?;
    k.listen(first, 100)?;
    let second = socket_with(k, true)?;
    k.bind(second, &address)?;
    k.listen(second, 100)?;
    Ok(([first, second], address))
}

fn queued(k: K, listener: i32) -> Reply<u32> {
    tcp_info(k, listener).map(|info| info.unacked)
}

fn reuseport_all_or_nothing(k: K) -> Held {
    for (first, second) in [(true, true), (true, false), (false, true), (false, false)] {
        let fd = socket_with(k, first)?;
        k.bind(fd, &Address::loopback(0))?;
        k.listen(fd, 5)?;
        let bound = k.bind(socket_with(k, second)?, &k.getsockname(fd)?);
        let expected = if first && second { Ok(()) } else { no(Errno::EADDRINUSE) };
        is(format!("bind with SO_REUSEPORT of {second}, beside a listener with {first}"), bound, expected)?;
    }
    let fd = socket_with(k, true)?;
    k.bind(fd, &Address::loopback(0))?;
    k.listen(fd, 5)?;
    let address = k.getsockname(fd)?;
    let child = Forked::start(|| {
        // Without the privilege there is one user only, and nothing more to be seen.
        if raw::setuid(65_534).is_ok() {
            let bound = k.bind(socket_with(k, true)?, &address);
            is("bind by another user", bound, no(Errno::EADDRINUSE))?;
        }
        Ok(())
    })?;
    child.join()
}

/// Connect `n` clients and return how many each listener has in its queue.
fn connect_all(k: K, listeners: [i32; 2], address: &Address, n: usize) -> Held<(Vec<i32>, [u32; 2])> {
    let mut clients = Vec::new();
    for _ in 0..n {
        clients.push(connected(k, address)?);
    }
    let counts = bounded("all connections wait at a listener", || {
        let counts = [queued(k, listeners[0])?, queued(k, listeners[1])?];
        Ok((counts[0] + counts[1] >= n as u32).then_some(counts))
    })?;
    Ok((clients, counts))
}

fn reuseport_one_owner(k: K) -> Held {
    let (listeners, address) = group(k)?;
    let mut before = [0, 0];
    for n in 1..=64 {
        connected(k, &address)?;
        let now = bounded("a connection waits at a listener", || {
            let now = [queued(k, listeners[0])?, queued(k, listeners[1])?];
            Ok((now != before).then_some(now))
        })?;
        is(format!("connections at both listeners after {n} clients"), now[0] + now[1], n)?;
        before = now;
    }
    holds("each of two listeners has some of 64 connections", before[0] > 0 && before[1] > 0, before)
}

fn reuseport_close_drops_queue(k: K) -> Held {
    let (listeners, address) = group(k)?;
    k.steer_reuseport(listeners[0], 0)?;
    let (clients, counts) = connect_all(k, listeners, &address, 12)?;
    is("connections at each listener, steered to the first", counts, [12, 0])?;
    k.close(listeners[0])?;
    // The last one's reset came after all the others'.
    mask_with(k, clients[11], ERR)?;
    let mut reset = 0;
    for &client in &clients {
        reset += usize::from(mask(k, client)?.has(ERR));
    }
    is("clients that were reset", reset, 12)?;
    connected(k, &address)?;
    is("whether the survivor has a later one", has_soon(k, listeners[1], IN)?, true)
}

fn migrate_req_keeps_queue(k: K) -> Held {
    own_network(k)?;
    set_sysctl("net.ipv4.tcp_migrate_req", "1")?;
    let (listeners, address) = group(k)?;
    k.steer_reuseport(listeners[0], 0)?;
    let (clients, counts) = connect_all(k, listeners, &address, 12)?;
    is("connections at each listener, steered to the first", counts, [12, 0])?;
    k.close(listeners[0])?;
    set_nonblocking(k, listeners[1])?;
    let mut accepted = Vec::new();
    while let Ok(fd) = k.accept(listeners[1]) {
        accepted.push(fd);
    }
    is("connections that the survivor accepts", accepted.len(), 12)?;
    let mut reset = 0;
    for &client in &clients {
        reset += usize::from(mask(k, client)?.has(ERR));
    }
    is("clients that were reset", reset, 0)?;
    k.send(clients[0], b"x", MSG_NOSIGNAL)?;
    is("whether a byte of the first client arrives", has_soon(k, accepted[0], IN)?, true)
}

fn reuseport_cbpf_steers(k: K) -> Held {
    for (steered, expected) in [(0, [10, 0]), (1, [0, 10])] {
        let (listeners, address) = group(k)?;
        k.steer_reuseport(listeners[0], steered)?;
        let (_, counts) = connect_all(k, listeners, &address, 10)?;
        is(format!("connections at each listener with a program that returns {steered}"), counts, expected)?;
    }
    Ok(())
}

fn reuseport_after_bind(k: K) -> Held {
    let (first, address) = listener(k, 100)?;
    set_option(k, first, SOL_SOCKET, SO_REUSEPORT, 1)?;
    let second = socket_with(k, true)?;
    is("bind of the second listener", k.bind(second, &address), Ok(()))?;
    is("its listen", k.listen(second, 100), Ok(()))?;
    let (_, counts) = connect_all(k, [first, second], &address, 64)?;
    holds("each of two listeners has some of 64 connections", counts[0] > 0 && counts[1] > 0, counts)
}

fn prefork_shared_listener(k: K) -> Held {
    let (listening, address) = listener(k, 5)?;
    let mut children = Vec::new();
    for _ in 0..4 {
        let child = Forked::start(|| {
            let fd = k.accept(listening)?;
            k.send(fd, &std::process::id().to_ne_bytes(), MSG_NOSIGNAL)?;
            // Until the client leaves, so that no child can take two.
            k.recv(fd, &mut [0; 1], 0)?;
            Ok(())
        })?;
        child.until_asleep(ACCEPT)?;
        children.push(child);
    }
    let (mut clients, mut processes) = (Vec::new(), Vec::new());
    for _ in 0..4 {
        let client = connected(k, &address)?;
        let mut answer = [0; 4];
        set_time_limit(k, client, libc::SO_RCVTIMEO, i64::from(BOUND_MS))?;
        is("bytes of the answer", k.recv(client, &mut answer, 0), Ok(4))?;
        clients.push(client);
        processes.push(u32::from_ne_bytes(answer).cast_signed());
    }
    processes.sort_unstable();
    let mut expected: Vec<i32> = children.iter().map(|child| child.pid).collect();
    expected.sort_unstable();
    is("the processes that answered", processes, expected)?;
    clients.iter().try_for_each(|&client| k.close(client))?;
    children.iter().try_for_each(Forked::join)?;

    let (listening, address) = listener(k, 5)?;
    set_nonblocking(k, listening)?;
    let (one, other) = (epoll(k)?, epoll(k)?);
    add(k, one, listening, IN)?;
    add(k, other, listening, IN)?;
    connected(k, &address)?;
    is("the first epoll", ready_soon(k, one)?, vec![(listening, IN)])?;
    is("the second epoll", ready_soon(k, other)?, vec![(listening, IN)])?;
    is("the first accept", k.accept(listening).map(drop), Ok(()))?;
    is("the second accept", k.accept(listening), no(Errno::EAGAIN))
}
