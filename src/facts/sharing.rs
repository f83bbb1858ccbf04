//! Several listeners, or several processes, on one port.

use crate::facts::support::*;
use crate::sys::affinity;
use libc::{
    AF_UNIX, MSG_DONTWAIT, O_CLOEXEC, SO_INCOMING_CPU, SO_REUSEPORT, SOCK_CLOEXEC, SOCK_STREAM, SOL_SOCKET,
};
use std::os::unix::fs::MetadataExt;

const SHARING: &[Fact] = &[
    Fact {
        id: "mp-reuseport-all-or-nothing",
        claim: "Two listeners share a port only if both have SO_REUSEPORT; if not, the second bind fails with EADDRINUSE.",
        reference: "socket(7) SO_REUSEPORT; inet_csk_bind_conflict in net/ipv4/inet_connection_sock.c",
        since: Since(3, 9),
        matters: "A new process cannot share the port of an old one that did not ask for it.",
        experiment: "The four combinations of two listeners with and without the option.",
        run: |k| {
            for (first, second) in [(true, true), (true, false), (false, true), (false, false)] {
                step(format!("SO_REUSEPORT of the first {first}, of the second {second}"), || {
                    let (one, reply) = listener_bound(k, &Address::loopback(0), first)?;
                    reply?;
                    k.listen(one, 1)?;
                    let (other, reply) = listener_bound(k, &k.getsockname(one)?, second)?;
                    match first && second {
                        true => {
                            is("bind of the second", reply, Ok(()))?;
                            is("its listen", k.listen(other, 1), Ok(()))
                        }
                        false => is("bind of the second", reply, no(Errno::EADDRINUSE)),
                    }
                });
            }
            Ok(())
        },
        ..Fact::ALWAYS
    },
    Fact {
        id: "mp-reuseport-same-user",
        claim: "Two listeners share a port only if they have the same effective user; if not, the second bind fails with \
                EADDRINUSE.",
        reference: "socket(7) SO_REUSEPORT; inet_csk_bind_conflict in net/ipv4/inet_connection_sock.c",
        since: Since(3, 9),
        matters: "No other user can take a part of the clients; and a new version of a server that drops privileges before \
                  it binds cannot join the old one.",
        experiment: "Two listeners with the option, the second in a child that is another user.",
        run: |k| {
            let (one, reply) = listener_bound(k, &Address::loopback(0), true)?;
            reply?;
            k.listen(one, 1)?;
            let address = k.getsockname(one)?;
            Forked::start(|| {
                let user = std::fs::metadata("/proc/self").map_or(0, |process| process.uid());
                be_user(user + 1)?;
                let (_, reply) = listener_bound(k, &address, true)?;
                is("bind to the port of another user", reply, no(Errno::EADDRINUSE))
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
        experiment: "Two listeners and 64 clients; as many connections are accepted from both together, and some from each.",
        run: |k| {
            let (a, b, address) = two_sharing(k)?;
            clients(k, &address, 64)?;
            spread(accepted(k, a)?, accepted(k, b)?)
        },
        ..Fact::ALWAYS
    },
    Fact {
        id: "mp-reuseport-close-drops-queue",
        claim: "close of one listener of a shared port resets the connections in its queue. The other \
                listener keeps its own, and gets all that come later.",
        reference: "inet_csk_listen_stop in net/ipv4/inet_connection_sock.c",
        since: Since(3, 9),
        matters: "A restart in which the old process closes its listener loses clients that were connected already.",
        experiment: "3 clients steered to the first of two listeners and 12 to the second, which is closed; \
                     what each client sees; one more client.",
        wrong: &[
            "Embox: https://github.com/embox/embox/pull/2982",
            "Envoy: https://github.com/envoyproxy/envoy/pull/18686",
            "go-reuseport: https://github.com/libp2p/go-reuseport/issues/6",
        ],
        run: |k| {
            if let Ok(migrate) = number_of("/proc/sys/net/ipv4/tcp_migrate_req") {
                needs(Why::Setting, "net.ipv4.tcp_migrate_req is 0", migrate == 0, migrate)?;
            }
            let fence = Fence::new(k)?;
            let (kept, closed, address) = two_sharing(k)?;
            k.steer_reuseport(kept, 0)?;
            let safe = clients(k, &address, 3)?;
            k.steer_reuseport(kept, 1)?;
            let lost = clients(k, &address, 12)?;
            k.close(closed)?;
            noted(is("resets among the 12 of the closed listener", resets(k, &lost)?, 12));
            fence.cross(k)?;
            noted(is("clients of the other that are still connected", still_connected(k, &safe), 3));
            clients(k, &address, 1)?;
            is("accepted from the other, with its 3 and a new one", accepted(k, kept)?, 4)
        },
        ..Fact::ALWAYS
    },
    Fact {
        id: "mp-migrate-req-keeps-queue",
        claim: "With net.ipv4.tcp_migrate_req = 1 the same close loses nothing: all 12 are accepted from the \
                listener that is left.",
        reference: "ip-sysctl tcp_migrate_req; reuseport_migrate_sock in net/core/sock_reuseport.c; commit 54b92e841937",
        since: Since(5, 14),
        matters: "One sysctl makes a restart lossless, but it is off by default.",
        experiment: "In a network namespace of its own with the sysctl set: 12 clients steered to the second \
                     of two listeners, which is closed; accept on the first.",
        run: |k| {
            own_network(k)?;
            set_sysctl("net.ipv4.tcp_migrate_req", "1")?;
            let fence = Fence::new(k)?;
            let (kept, closed, address) = two_sharing(k)?;
            k.steer_reuseport(kept, 1)?;
            let clients = clients(k, &address, 12)?;
            noted(is("connections at the first before", accepted(k, kept)?, 0));
            k.close(closed)?;
            fence.cross(k)?;
            noted(is("accepted from the listener that is left", accepted(k, kept)?, 12));
            is("clients that are still connected", still_connected(k, &clients), 12)
        },
        ..Fact::ALWAYS
    },
    Fact {
        id: "mp-reuseport-cbpf-steers",
        claim: "A program attached with SO_ATTACH_REUSEPORT_CBPF that returns k sends every connection to \
                the k-th listener, counted from 0 in the order of listen.",
        reference: "socket(7) SO_ATTACH_REUSEPORT_CBPF; reuseport_add_sock and run_bpf_filter in net/core/sock_reuseport.c",
        since: Since(4, 6),
        matters: "The number is that of the listener's place, not of its worker: with another order of \
                  start, or after a close, it means another one.",
        experiment: "Two listeners, bound in one order and listening in the other; 10 clients for k = 0, 10 for k = 1.",
        run: |k| {
            let (second, reply) = listener_bound(k, &Address::loopback(0), true)?;
            reply?;
            let address = k.getsockname(second)?;
            let (first, reply) = listener_bound(k, &address, true)?;
            reply?;
            for listener in [first, second] {
                set_nonblocking(k, listener)?;
                k.listen(listener, 128)?;
            }
            for (place, expected) in [(0, (10, 0)), (1, (0, 10))] {
                k.steer_reuseport(second, place)?;
                clients(k, &address, 10)?;
                let what = format!("connections at the first and the second to listen, k = {place}");
                noted(is(what, (accepted(k, first)?, accepted(k, second)?), expected));
            }
            Ok(())
        },
        ..Fact::ALWAYS
    },
    Fact {
        id: "mp-cbpf-out-of-range",
        claim: "A program that returns a number which no listener has is as good as none: connections are spread over all.",
        reference: "socket(7) SO_ATTACH_REUSEPORT_CBPF; reuseport_select_sock in net/core/sock_reuseport.c: an invalid \
                    result falls back to the hash",
        since: Since(4, 6),
        matters: "A program written for eight workers goes on with two of them, at random, and nobody is told that it no \
                  longer steers.",
        experiment: "A program that returns 7, two listeners and 64 clients; both get some.",
        run: |k| {
            let (a, b, address) = two_sharing(k)?;
            k.steer_reuseport(a, 7)?;
            clients(k, &address, 64)?;
            spread(accepted(k, a)?, accepted(k, b)?)
        },
        ..Fact::ALWAYS
    },
    Fact {
        id: "mp-incoming-cpu",
        claim: "Of listeners that share a port, one whose SO_INCOMING_CPU is the processor that handles a SYN gets the \
                connection.",
        reference: "socket(7) SO_INCOMING_CPU; reuseport_select_sock_by_hash in net/core/sock_reuseport.c; commit b261eda84ec1",
        since: Since(6, 1),
        matters: "A worker on each processor serves the clients whose packets arrive there, without a program.",
        experiment: "Two listeners, each with the option for one of two processors; 16 clients connect from the one and 16 from \
                     the other. Over loopback a SYN is handled where it is sent.",
        run: |k| {
            let allowed = affinity::allowed().unwrap_or_default();
            let &[one, other, ..] = &*allowed else {
                return skip(Why::Limits, "there is one processor here");
            };
            let steered =
                std::fs::read_to_string("/sys/class/net/lo/queues/rx-0/rps_cpus").unwrap_or_default();
            let moves = steered.contains(|digit: char| digit.is_ascii_hexdigit() && digit != '0');
            needs(
                Why::Setting,
                "loopback packets stay on their processor (rps_cpus is 0)",
                !moves,
                steered.trim(),
            )?;
            let (a, b, address) = two_sharing(k)?;
            set_option(k, a, SOL_SOCKET, SO_INCOMING_CPU, one as i32)?;
            set_option(k, b, SOL_SOCKET, SO_INCOMING_CPU, other as i32)?;
            for (cpu, expected) in [(one, (16, 0)), (other, (0, 16))] {
                if affinity::pin_this_thread(cpu).is_err() {
                    return skip(Why::Denied, "a thread cannot choose its processor here");
                }
                clients(k, &address, 16)?;
                let what = format!(
                    "connections at both, from the processor of the {}",
                    if cpu == one { "first" } else { "second" }
                );
                noted(is(what, (accepted(k, a)?, accepted(k, b)?), expected));
            }
            Ok(())
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
            needs_somaxconn(60)?;
            let (first, address) = listener(k, 128)?;
            set_nonblocking(k, first)?;
            let (second, reply) = listener_bound(k, &address, true)?;
            noted(is("bind to the port of a listener without SO_REUSEPORT", reply, no(Errno::EADDRINUSE)));
            let set = set_option(k, first, SOL_SOCKET, SO_REUSEPORT, 1);
            is("SO_REUSEPORT set on it after listen", set, Ok(()))?;
            is("bind to its port now", k.bind(second, &address), Ok(()))?;
            set_nonblocking(k, second)?;
            is("listen", k.listen(second, 128), Ok(()))?;
            clients(k, &address, 64)?;
            spread(accepted(k, first)?, accepted(k, second)?)
        },
        ..Fact::ALWAYS
    },
    Fact {
        id: "mp-abstract-per-netns",
        claim: "An abstract AF_UNIX name belongs to a network namespace: from another one connect gives ECONNREFUSED, while a \
                path connects.",
        reference: "unix(7) Abstract sockets; unix_find_abstract and unix_find_bsd in net/unix/af_unix.c",
        matters: "A container with the network of its host can connect to each daemon's abstract socket, whatever files it \
                  sees; one with its own cannot, not even to those that were meant for it.",
        experiment: "A listener at an abstract name and one at a path; a child connects to both, and again in a network \
                     namespace of its own.",
        wrong: &[
            "containerd-shim, CVE-2020-15257: https://github.com/containerd/containerd/security/advisories/GHSA-36xw-fx78-c5r4",
        ],
        run: |k| {
            let path = Scratch::new();
            let listening = |address: &Address| -> Reply<Address> {
                let fd = k.socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)?;
                k.bind(fd, address)?;
                k.listen(fd, 5)?;
                k.getsockname(fd)
            };
            let (name, file) = (listening(&Address::any_unix())?, listening(&Address::unix(path.path()))?);
            Forked::start(|| {
                let connect = |address| k.connect(k.socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)?, address);
                is("connect to the abstract name at first", connect(&name), Ok(()))?;
                own_network(k)?;
                noted(is(
                    "connect to the abstract name from elsewhere",
                    connect(&name),
                    no(Errno::ECONNREFUSED),
                ));
                is("connect to the path from elsewhere", connect(&file), Ok(()))
            })?
            .join()
        },
        ..Fact::ALWAYS
    },
    Fact {
        id: "mp-prefork-shared-accept",
        claim: "Processes that are blocked in accept on one inherited listener get one connection each.",
        reference: "accept(2); inet_csk_wait_for_connect in net/ipv4/inet_connection_sock.c",
        matters: "Prefork servers need no lock around accept.",
        experiment: "Four children asleep in accept, four clients, each of which is sent the number of the process that accepted it.",
        run: |k| {
            let (blocking, address) = listener(k, 16)?;
            let children = four(|| {
                let connection = k.accept(blocking)?;
                k.write(connection, &std::process::id().to_ne_bytes())?;
                Ok(())
            })?;
            for child in &children {
                child.until_asleep(ACCEPT)?;
            }
            let mut served_by = Vec::new();
            for _ in 0..4 {
                let client = connected(k, &address)?;
                let mut pid = [0; 4];
                until_shows(k, client, IN)?;
                k.recv(client, &mut pid, MSG_DONTWAIT)?;
                served_by.push(i32::from_ne_bytes(pid));
            }
            served_by.sort_unstable();
            let mut pids: Vec<i32> = children.iter().map(|child| child.pid).collect();
            pids.sort_unstable();
            is("the processes that accepted four connections", served_by, pids)
        },
        ..Fact::ALWAYS
    },
    Fact {
        id: "mp-prefork-shared-listener",
        claim: "Of processes that wait with epoll for one inherited listener all are told of one connection; one accepts it, and \
                the others see EAGAIN.",
        reference: "accept(2); ep_poll_callback in fs/eventpoll.c",
        matters: "Prefork servers with epoll need a non-blocking listener, or a worker that comes late blocks in accept.",
        experiment: "Four children asleep in epoll_wait, one client; when all four have been woken, they accept.",
        run: |k| {
            let (nonblocking, address) = listener(k, 16)?;
            set_nonblocking(k, nonblocking)?;
            let ([woken, tell_woken], [go, tell_go], [got, tell_got]) =
                (k.pipe2(O_CLOEXEC)?, k.pipe2(O_CLOEXEC)?, k.pipe2(O_CLOEXEC)?);
            let children = four(|| {
                let epoll = watching(k, nonblocking, IN)?;
                wait(k, epoll, -1)?;
                k.write(tell_woken, b"w")?;
                k.read(go, &mut [0])?;
                let result = k.accept(nonblocking).map_err(|refusal| refusal.errno as u8);
                k.write(tell_got, &[result.err().unwrap_or(0)])?;
                Ok(())
            })?;
            for child in &children {
                child.until_asleep(EPOLL)?;
            }
            connected(k, &address)?;
            comes_true("all four processes are woken", || Ok(readable_bytes(k, woken)? == 4))?;
            k.write(tell_go, b"gggg")?;
            comes_true("all four accepts return", || Ok(readable_bytes(k, got)? == 4))?;
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
    loopback_is_up()?;
    let first = sharing(k, &Address::loopback(0))?;
    let address = k.getsockname(first)?;
    Ok((first, sharing(k, &address)?, address))
}

/// `n` clients that wait to be accepted.
fn clients(k: K, address: &Address, n: usize) -> Held<Vec<i32>> {
    needs_somaxconn(n as i64)?;
    (0..n).map(|_| queued_client(k, address)).collect()
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

/// Of 64 clients each is at one of two listeners, and each of these has some.
fn spread(a: usize, b: usize) -> Held {
    noted(is("connections at both listeners", a + b, 64));
    is("whether each listener has some", (a > 0, b > 0), (true, true))
}

/// How many of `clients` were reset, once the last one is, or after [`bound`].
fn resets(k: K, clients: &[i32]) -> Held<usize> {
    if let Some(&last) = clients.last() {
        mask_with(k, last, ERR)?;
    }
    let reset = |&&fd: &&i32| k.recv(fd, &mut [0], MSG_DONTWAIT) == no(Errno::ECONNRESET);
    Ok(clients.iter().filter(reset).count())
}

/// How many of `clients` have nothing to read, and no end.
fn still_connected(k: K, clients: &[i32]) -> usize {
    clients.iter().filter(|&&fd| k.recv(fd, &mut [0], MSG_DONTWAIT) == no(Errno::EAGAIN)).count()
}

/// Four children that do the same.
fn four(work: impl Fn() -> Held) -> Held<Vec<Forked>> {
    (0..4).map(|_| Forked::start(&work)).collect()
}
