//! How many connections wait to be accepted, and what happens to one more.

use crate::facts::support::*;

pub(super) const FACTS: &[Fact] = &[
    Fact {
        id: "tcp-backlog-plus-one",
        claim: "listen(n) lets exactly n + 1 connections be established and wait; later ones stay in SYN_SENT, with \
                no error and an empty poll mask.",
        reference: "listen(2); sk_acceptq_is_full in include/net/sock.h is a >; commit 5ea8ea2cb7f1",
        since: Since(4, 10),
        matters: "A client beyond the queue does not fail: it waits, and its SYN is sent again a second later. Slow \
                  connects under load are a full queue.",
        experiment: "For backlogs of 0, 1 and 5, n + 1 clients connect without blocking, each as soon as the byte of the last is \
                     acknowledged. Four more stay in SYN_SENT. Then all that wait are accepted.",
        wrong: &[
            "Linux before 4.10: clients could look established that were not",
            "OpenOnload: https://github.com/Xilinx-CNS/onload/issues/182",
        ],
        run: |k| {
            for backlog in [0, 1, 5] {
                step(format!("listen({backlog})"), || {
                    needs_somaxconn(backlog.into())?;
                    let (listener, address) = listener(k, backlog)?;
                    set_nonblocking(k, listener)?;
                    for n in 1..=backlog + 1 {
                        let client = connecting(k, &address)?;
                        comes_true(&format!("client {n} is connected"), || {
                            Ok(tcp_info(k, client)?.state == ESTABLISHED)
                        })?;
                        until_queued(k, client)?;
                    }
                    let late = (0..4).map(|_| connecting(k, &address)).collect::<Reply<Vec<_>>>()?;
                    Fence::new(k)?.cross(k)?;
                    for (n, client) in late.into_iter().enumerate() {
                        let found = (tcp_info(k, client)?.state, mask(k, client)?, so_error(k, client)?);
                        let what = format!("state, mask and SO_ERROR of client {}", backlog + 2 + n as i32);
                        noted(is(what, found, (SYN_SENT, NONE, NO_ERROR)));
                    }
                    // Each accept makes room; a SYN that is sent again a second later may use it, so no more are counted.
                    let accepted = (0..=backlog).filter(|_| k.accept(listener).is_ok()).count();
                    is("connections that waited", accepted, backlog as usize + 1)
                });
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
            needs_queue_in_tcp_info()?;
            let most = u32::try_from(number_of("/proc/sys/net/core/somaxconn")?).unwrap_or(u32::MAX);
            let (listener, _) = listener(k, 5)?;
            let limit = || tcp_info(k, listener)?.limit();
            noted(is("the limit with listen(5)", limit()?, 5.min(most)));
            k.listen(listener, -1)?;
            noted(is("the limit with listen(-1), which is somaxconn", limit()?, most));
            k.listen(listener, 3)?;
            noted(is("the limit with listen(3), called again", limit()?, 3.min(most)));
            k.listen(listener, i32::MAX)?;
            is("the limit with a backlog above somaxconn", limit()?, most)
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
        experiment: "In a network namespace with the sysctl set, a client connects to a listener whose queue is full, and is polled \
                     until TCP_INFO says that its SYN has been sent again. It is still in SYN_SENT, without an error.",
        wrong: &["asterinas, tried and rejected: https://github.com/asterinas/asterinas/issues/1734"],
        run: |k| {
            own_network(k)?;
            set_sysctl("net.ipv4.tcp_abort_on_overflow", "1")?;
            let (_, address) = full_listener(k)?;
            let client = connecting(k, &address)?;
            let mut one = entry(client, ALL);
            while tcp_info(k, client)?.repeated()? == 0 {
                is(
                    "descriptors ready until the SYN has been sent again",
                    k.poll(At::from(&mut one), 200)?,
                    0,
                )?;
            }
            noted(is("the client's mask", mask(k, client)?, NONE));
            noted(is("its state", tcp_info(k, client)?.state, SYN_SENT));
            is("its SO_ERROR", so_error(k, client)?, NO_ERROR)
        },
        ..Fact::ALWAYS
    },
    Fact {
        id: "tcp-syn-linear",
        claim: "A SYN that is not answered is sent again after 1, 2, 3, 4 and 5 s, and only then after twice the time.",
        reference: "ip-sysctl tcp_syn_linear_timeouts; tcp_retransmit_timer in net/ipv4/tcp_timer.c; commit ccce324dabfe",
        since: Since(6, 5),
        matters: "Before, it was after 1, 3 and 7 s. A client that lost two SYNs connects after 2 s instead of 3, and all \
                  tables of connection times that are older are wrong. TCP_SYNCNT counts those beyond the linear ones.",
        experiment: "A client connects to a listener whose queue is full. TCP_INFO tells how often its SYN was sent again \
                     within 6 s: it is done at the third, which would come after 7 s.",
        run: |k| {
            for name in ["tcp_syn_linear_timeouts", "tcp_syn_retries"] {
                if let Ok(most) = number_of(&format!("/proc/sys/net/ipv4/{name}")) {
                    needs(Why::Setting, format!("net.ipv4.{name} is at least 3"), most >= 3, most)?;
                }
            }
            let (_, address) = full_listener(k)?;
            let client = tcp_nonblocking(k)?;
            let begun = Instant::now();
            is("connect", k.connect(client, &address), no(Errno::EINPROGRESS))?;
            let mut one = entry(client, ALL);
            let mut info = tcp_info(k, client)?;
            while info.state == SYN_SENT && info.repeated()? < 3 && begun.elapsed() < Duration::from_secs(6) {
                k.poll(At::from(&mut one), 100)?;
                info = tcp_info(k, client)?;
            }
            is("how often the SYN was sent again within 6 s", info.repeated()?, 3)
        },
        ..Fact::ALWAYS
    },
    Fact {
        id: "tcp-defer-accept",
        claim: "With TCP_DEFER_ACCEPT a client's connect succeeds, but the listener is not readable until data arrives.",
        reference: "tcp(7) TCP_DEFER_ACCEPT",
        matters: "A server whose protocol lets the server speak first is delayed until the option's time is over.",
        experiment: "A client connects to such a listener; a second connection, which speaks over the same path, shows that the first would \
                     have been seen. The listener reports nothing. Then the client writes, and it is readable.",
        run: |k| {
            if let Ok(cookies) = number_of("/proc/sys/net/ipv4/tcp_syncookies") {
                needs(Why::Setting, "SYN cookies are not forced", cookies != 2, cookies)?;
            }
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
