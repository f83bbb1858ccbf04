//! How many connections wait to be accepted, and what happens to one more.

use crate::facts::support::*;

pub(super) const FACTS: &[Fact] = &[
    Fact {
        id: "tcp-backlog-plus-one",
        claim: "listen(n) lets exactly n + 1 connections be established and wait; later ones stay in SYN_SENT, with \
                no error and an empty poll mask.",
        reference: "listen(2); sk_acceptq_is_full in include/net/sock.h is a >; commit 5ea8ea2cb7f1",
        since: Since(4, 10),
        matters: "A client beyond the queue does not fail: it hangs, and is retried after a second, then two, then four. \
                  Slow connects under load are a full queue.",
        experiment: "For a backlog of 0 to 5, five more clients than that connect without blocking. TCP_INFO tells how many are \
                     established and how many are in SYN_SENT; then as many are accepted as there are.",
        wrong: &[
            "Linux before 4.10: clients could look established that were not",
            "OpenOnload: https://github.com/Xilinx-CNS/onload/issues/182",
        ],
        run: |k| {
            for backlog in 0..=5 {
                let (listener, address) = listener(k, backlog)?;
                let mut clients = Vec::new();
                for n in 1..=backlog + 5 {
                    clients.push(connecting(k, &address)?);
                    // The last ACK of a handshake is what puts a connection into the queue.
                    let expected = n.min(backlog + 1).cast_unsigned();
                    let what = format!(
                        "{expected} connections are in the queue of listen({backlog}) after {n} connects"
                    );
                    comes_true(&what, || Ok(tcp_info(k, listener)?.queued()? >= expected))?;
                }
                let mut states = (0, 0);
                for &client in &clients {
                    match tcp_info(k, client)?.state {
                        ESTABLISHED => states.0 += 1,
                        SYN_SENT => {
                            states.1 += 1;
                            is(
                                "a client in SYN_SENT",
                                (mask(k, client)?, so_error(k, client)?),
                                (NONE, NO_ERROR),
                            )?;
                        }
                        other => return is("the state of a client", other, SYN_SENT),
                    }
                }
                let what = format!("clients established and in SYN_SENT with listen({backlog})");
                is(what, states, (backlog + 1, 4))?;
                set_nonblocking(k, listener)?;
                // Each accept makes room; a SYN that is sent again a second later may use it, so no more are counted.
                for _ in 0..=backlog {
                    k.close(k.accept(listener)?)?;
                }
                clients.into_iter().try_for_each(|client| k.close(client))?;
                k.close(listener)?;
            }
            Ok(())
        },
        ..Fact::ALWAYS
    },
    Fact {
        id: "tcp-backlog-capped",
        claim: "The backlog is capped to net.core.somaxconn; a negative backlog means somaxconn; calling listen again \
                changes the limit.",
        reference: "listen(2) NOTES; __sys_listen in net/socket.c casts to unsigned",
        matters: "A server that asks for 65 535 gets 4096, or 128 before Linux 5.4, and nobody tells it.",
        experiment: "A socket listens with backlogs of 5, -1, more than somaxconn, and 3 again. TCP_INFO of the listener has the \
                     limit after each.",
        wrong: &["asterinas: https://github.com/asterinas/asterinas/issues/1734"],
        run: |k| {
            let Ok(text) = std::fs::read_to_string("/proc/sys/net/core/somaxconn") else {
                return skip(Why::Oracle, "net.core.somaxconn cannot be read here");
            };
            let Ok(most) = text.trim().parse::<u32>() else {
                return skip(Why::Setting, format!("net.core.somaxconn is {text:?} here"));
            };
            let (listener, _) = listener(k, 5)?;
            is("the limit with listen(5)", tcp_info(k, listener)?.limit()?, 5.min(most))?;
            k.listen(listener, -1)?;
            is("the limit with listen(-1), which is somaxconn", tcp_info(k, listener)?.limit()?, most)?;
            k.listen(listener, i32::MAX)?;
            is("the limit with a backlog above somaxconn", tcp_info(k, listener)?.limit()?, most)?;
            k.listen(listener, 3)?;
            is("the limit with listen(3), called again", tcp_info(k, listener)?.limit()?, 3.min(most))
        },
        ..Fact::ALWAYS
    },
    Fact {
        id: "tcp-overflow-drops-syn",
        claim: "A full queue drops SYNs without a word, even with tcp_abort_on_overflow = 1: connections beyond the queue never \
                see an RST.",
        reference: "tcp_conn_request in net/ipv4/tcp_input.c; the sysctl acts only on the last ACK of the handshake",
        since: Since(4, 10),
        matters: "Setting tcp_abort_on_overflow does not make an overloaded server fail fast.",
        experiment: "In a network namespace with the sysctl set, a client connects to a listener whose queue is full. A retransmitted \
                     SYN is waited for; the client is still in SYN_SENT, without an error.",
        wrong: &["asterinas, tried and rejected: https://github.com/asterinas/asterinas/issues/1734"],
        run: |k| {
            own_network(k)?;
            set_sysctl("net.ipv4.tcp_abort_on_overflow", "1")?;
            let (_, address) = full_listener(k)?;
            let client = connecting(k, &address)?;
            // An RST would have come in the call; one in answer to a later SYN is waited for too.
            is("the client's mask", mask(k, client)?, NONE)?;
            let mut one = entry(client, ALL);
            let n = k.poll((&mut one).into(), 1200)?;
            is("descriptors ready until the SYN has been sent again", n, 0)?;
            is("the client's state", tcp_info(k, client)?.state, SYN_SENT)?;
            is("its SO_ERROR", so_error(k, client)?, NO_ERROR)
        },
        ..Fact::ALWAYS
    },
    Fact {
        id: "tcp-defer-accept",
        claim: "With TCP_DEFER_ACCEPT a client's connect succeeds, but the listener is not readable until data arrives.",
        reference: "tcp(7) TCP_DEFER_ACCEPT",
        matters: "A server whose protocol lets the server speak first hangs with this option.",
        experiment: "A client connects to such a listener; a second connection, which speaks over the same path, shows that the first would \
                     have been seen. The listener reports nothing. Then the client writes, and it is readable.",
        run: |k| {
            let fence = Fence::new(k)?;
            let (listener, address) = listener(k, 5)?;
            set_option(k, listener, libc::IPPROTO_TCP, libc::TCP_DEFER_ACCEPT, 5)?;
            let client = connected(k, &address)?;
            fence.cross(k)?;
            is("the listener before data", mask(k, listener)?, NONE)?;
            k.send(client, b"x", libc::MSG_NOSIGNAL)?;
            is("the listener after data", mask_with(k, listener, IN)?, IN)
        },
        ..Fact::ALWAYS
    },
];
