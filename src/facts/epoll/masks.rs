//! Which events an entry reports.

use super::*;

pub(super) const FACTS: &[Fact] = &[
    Fact {
        id: "ep-err-hup-implicit",
        claim: "EPOLLERR and EPOLLHUP are reported though nobody asked for them, even by an entry with events = 0.",
        reference: "epoll_ctl(2) EPOLLERR, EPOLLHUP; do_epoll_ctl in fs/eventpoll.c adds both",
        matters: "Who sets events to 0 to leave a descriptor alone for a while gets 100 % CPU once the peer \
                  is gone. Only DEL, EPOLLONESHOT or EPOLLET keep it quiet.",
        experiment: "Entries with 0 and with events that do not come, on both ends of pipes and on a Unix \
                     socket; the other end is closed.",
        wrong: &[
            "h2o: https://github.com/h2o/h2o/issues/603",
            "CUPS: https://github.com/apple/cups/issues/4605",
            "Seastar: https://github.com/scylladb/seastar/issues/1945",
            "fibers: https://github.com/wingo/fibers/issues/38",
            "tunneldigger: https://github.com/wlanslovenija/tunneldigger/issues/148",
            "Pharo: https://github.com/pharo-project/pharo-vm/issues/1092",
            "XRootD: https://github.com/xrootd/xrootd/issues/303",
        ],
        run: |k| {
            for asked in [NONE, OUT, ET] {
                let (epoll, (r, w)) = watched_pipe(k, asked)?;
                is(format!("an empty pipe, asked for {asked}"), ready(k, epoll)?, vec![])?;
                k.close(w)?;
                noted(is(
                    format!("a pipe without a writer, asked for {asked}"),
                    ready(k, epoll)?,
                    vec![(r, HUP)],
                ));
            }
            for asked in [NONE, IN, ET] {
                let (epoll, (r, w)) = (epoll(k)?, pipe(k)?);
                add(k, epoll, w, asked)?;
                k.close(r)?;
                noted(is(
                    format!("a pipe without a reader, asked for {asked}"),
                    ready(k, epoll)?,
                    vec![(w, ERR)],
                ));
            }
            let (epoll, (a, b)) = (epoll(k)?, unix_pair(k)?);
            add(k, epoll, a, NONE)?;
            k.close(b)?;
            is("a Unix socket without a peer, asked for nothing", ready(k, epoll)?, vec![(a, HUP)])?;
            is("the same once more", ready(k, epoll)?, vec![(a, HUP)])
        },
        ..Fact::ALWAYS
    },
    Fact {
        id: "ep-events-zero-registers",
        claim: "An entry with events = 0 is an entry: it does not report data or room, but it reports HUP \
                and ERR, a second ADD gives EEXIST, and MOD makes it report again.",
        reference: "do_epoll_ctl and ep_modify in fs/eventpoll.c",
        matters: "It is a way to be silent about data without losing the entry; it is not the same as DEL.",
        experiment: "Both ends of a pipe with events = 0; a byte is written; MOD to IN and back; then one end is closed.",
        run: |k| {
            let (epoll, (r, w)) = (epoll(k)?, pipe(k)?);
            is("ADD of the reading end with events = 0", add(k, epoll, r, NONE), Ok(()))?;
            is("ADD of the writing end with events = 0", add(k, epoll, w, NONE), Ok(()))?;
            is("a second ADD", add(k, epoll, r, NONE), no(Errno::EEXIST))?;
            k.write(w, b"!")?;
            is("a pipe with a byte and room, asked for nothing", ready(k, epoll)?, vec![])?;
            is("MOD to IN", modify(k, epoll, r, IN), Ok(()))?;
            is("the byte, asked for IN", ready(k, epoll)?, vec![(r, IN)])?;
            is("MOD to events = 0", modify(k, epoll, r, NONE), Ok(()))?;
            is("the byte, asked for nothing again", ready(k, epoll)?, vec![])?;
            // A second pair, of which the other end goes.
            let (r2, w2) = pipe(k)?;
            add(k, epoll, w2, NONE)?;
            k.close(r2)?;
            is("a pipe without a reader, asked for nothing", ready(k, epoll)?, vec![(w2, ERR)])?;
            is("DEL of it", delete(k, epoll, w2), Ok(()))?;
            is("DEL of the other writing end", delete(k, epoll, w), Ok(()))?;
            k.close(w)?;
            is("a pipe with a byte, without a writer, asked for nothing", ready(k, epoll)?, vec![(r, HUP)])
        },
        ..Fact::ALWAYS
    },
    Fact {
        id: "ep-rdhup-opt-in",
        claim: "EPOLLRDHUP is reported only to those who ask for it. The FIN of a TCP peer is IN and RDHUP, IN alone for those \
                who ask for IN, and nothing for events = 0 until both sides have shut down, which is HUP.",
        reference: "epoll_ctl(2) EPOLLRDHUP; tcp_poll in net/ipv4/tcp.c; commit f348d70a324e",
        since: Since(2, 6),
        matters: "A server that has stopped reading, with events = 0, does not hear that its peer has gone, \
                  unless it asks for RDHUP.",
        experiment: "The client shuts down its side; the server's entry is asked for IN and RDHUP, for \
                     RDHUP, for IN and for nothing; then the server shuts down its side.",
        wrong: &[
            "Netty: https://github.com/netty/netty/issues/4013",
            "OSv: https://github.com/cloudius-systems/osv/issues/1239",
            "Unikraft: https://github.com/unikraft/lib-lwip/issues/55",
        ],
        run: |k| {
            let (epoll, (client, server)) = (epoll(k)?, tcp_pair(k)?);
            add(k, epoll, server, RDHUP)?;
            is("before the FIN", ready(k, epoll)?, vec![])?;
            k.shutdown(client, libc::SHUT_WR)?;
            is("after the FIN, asked for RDHUP", ready_soon(k, epoll)?, vec![(server, RDHUP)])?;
            for (asked, expected) in [
                (IN | RDHUP, vec![(server, IN | RDHUP)]),
                (RDHUP, vec![(server, RDHUP)]),
                (IN, vec![(server, IN)]),
                (NONE, vec![]),
            ] {
                modify(k, epoll, server, asked)?;
                noted(is(format!("after the FIN, with MOD to {asked}"), ready(k, epoll)?, expected));
            }
            k.shutdown(server, libc::SHUT_WR)?;
            is("after both have shut down, asked for nothing", ready(k, epoll)?, vec![(server, HUP)])
        },
        ..Fact::ALWAYS
    },
    Fact {
        id: "ep-unknown-bits-accepted",
        claim: "Bits of events that mean nothing (bit 20) are accepted by ADD and MOD, are shown in fdinfo, \
                and are never reported.",
        reference: "do_epoll_ctl in fs/eventpoll.c does not check the mask; ep_show_fdinfo",
        since: Since(3, 8),
        matters: "No error tells that a flag is too new for the kernel: EPOLLEXCLUSIVE before 4.5 was such a bit.",
        experiment: "ADD with IN and bit 20, a byte, a wait; MOD to bit 20 alone, a wait; the entry in fdinfo.",
        run: |k| {
            let unknown = Events(1 << 20);
            let (epoll, (r, w)) = (epoll(k)?, pipe(k)?);
            is("ADD with IN and bit 20", add(k, epoll, r, IN | unknown), Ok(()))?;
            is("an empty pipe", ready(k, epoll)?, vec![])?;
            k.write(w, b"!")?;
            is("a pipe with a byte", ready(k, epoll)?, vec![(r, IN)])?;
            is("MOD to bit 20 alone", modify(k, epoll, r, unknown), Ok(()))?;
            is("a pipe with a byte, asked for bit 20 alone", ready(k, epoll)?, vec![])?;
            modify(k, epoll, r, IN | unknown)?;
            is("its events in fdinfo", events_in_fdinfo(epoll)?, IN | ERR | HUP | unknown)
        },
        ..Fact::ALWAYS
    },
];
