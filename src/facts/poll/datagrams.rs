//! Datagrams as poll sees them: UDP and AF_UNIX.

use super::*;
use libc::{AF_INET, AF_UNIX, MSG_DONTWAIT, SOCK_CLOEXEC, SOCK_DGRAM};

pub(super) const FACTS: &[Fact] = &[
    Fact {
        id: "poll-udp-icmp-error",
        claim: "The first send of a connected UDP socket to a port without a receiver succeeds; then poll says OUT \
                and ERR, and the next send or recv fails with ECONNREFUSED, once. A socket that is not connected \
                hears nothing: it has OUT, and SO_ERROR is 0.",
        reference: "udp(7) ERRORS; __udp4_lib_err in net/ipv4/udp.c",
        matters: "The error belongs to an earlier datagram, not to the one that the failing send was given: that one \
                  was not sent, and may be sent again. An unconnected client has to use a time limit.",
        experiment: "sendto a port without a receiver from an unconnected socket, then send from a connected one, \
                     whose ERR shows that the ICMP message of both has come; then send, send, recv, recv.",
        run: |k| {
            let nobody = port_without_receiver(k)?;
            let udp = || k.socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
            let (unconnected, connected) = (udp()?, udp()?);
            k.connect(connected, &nobody)?;
            is("sendto from the unconnected socket", k.sendto(unconnected, b"0", 0, &nobody), Ok(1))?;
            is("the first send", k.send(connected, b"1", 0), Ok(1))?;
            is("the connected socket after the ICMP message", mask_with(k, connected, ERR)?, OUT | ERR)?;
            is("the unconnected socket after its ICMP message", mask(k, unconnected)?, OUT)?;
            is("SO_ERROR of the unconnected socket", so_error(k, unconnected)?, NO_ERROR)?;

            is("the second send", k.send(connected, b"2", 0), no(Errno::ECONNREFUSED))?;
            is("after the second send", mask(k, connected)?, OUT)?;
            is("the third send", k.send(connected, b"3", 0), Ok(1))?;
            is("after the third send's ICMP message", mask_with(k, connected, ERR)?, OUT | ERR)?;
            is("recv", k.recv(connected, &mut [0], MSG_DONTWAIT), no(Errno::ECONNREFUSED))?;
            is("after recv", mask(k, connected)?, OUT)?;
            is("recv again", k.recv(connected, &mut [0], MSG_DONTWAIT), no(Errno::EAGAIN))
        },
        ..Fact::ALWAYS
    },
    Fact {
        id: "poll-udp-zero-length-readable",
        claim: "A datagram without any bytes gives IN; recv returns 0 for it once, and then EAGAIN.",
        reference: "udp(7); recv(2) RETURN VALUE; udp_poll in net/ipv4/udp.c",
        matters: "A recv of 0 is no end for datagrams. FIONREAD says 0 with a datagram there, and without one.",
        experiment: "send of no bytes between two connected UDP sockets; poll until there is IN; recv twice.",
        run: |k| {
            let (ours, peer) = udp_pair(k)?;
            is("send of no bytes", k.send(peer, b"", 0), Ok(0))?;
            is("with an empty datagram", mask_with(k, ours, IN)?, IN | OUT)?;
            is("FIONREAD", readable_bytes(k, ours)?, 0)?;
            is("recv", k.recv(ours, &mut [0], MSG_DONTWAIT), Ok(0))?;
            is("after recv", mask(k, ours)?, OUT)?;
            is("recv again", k.recv(ours, &mut [0], MSG_DONTWAIT), no(Errno::EAGAIN))
        },
        ..Fact::ALWAYS
    },
    Fact {
        id: "poll-unix-dgram-peer-queue",
        claim: "A connected AF_UNIX datagram socket has OUT only while its peer's queue (net.unix.max_dgram_qlen) has room, no \
                matter who filled it. One that is not connected always has OUT, also where sendto gives EAGAIN.",
        reference: "unix(7) max_dgram_qlen; unix_dgram_poll, unix_recvq_full in net/unix/af_unix.c",
        matters: "A logger that sends with sendto and waits for OUT after EAGAIN spins, because OUT is there already: \
                  it has to connect first.",
        experiment: "Other sockets fill the queue of a receiver; poll of a connected and of an unconnected socket, \
                     and send there; recv, and the same again.",
        wrong: &[
            "Shadow: https://github.com/shadow/shadow/issues/2125",
            "node-unix-dgram: https://github.com/bnoordhuis/node-unix-dgram/issues/39",
        ],
        run: |k| {
            let datagram = || k.socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
            let (receiver, connected, unconnected) = (datagram()?, datagram()?, datagram()?);
            k.bind(receiver, &Address::any_unix())?;
            let address = k.getsockname(receiver)?;
            k.connect(connected, &address)?;
            is("the connected socket, with an empty queue", mask(k, connected)?, OUT)?;
            // None of them sends so much that its own SO_SNDBUF is used up.
            let full = (0..4096).any(|_| {
                let Ok(other) = datagram() else { return false };
                let full =
                    (0..4).any(|_| raw::sendto(other, b"x", MSG_DONTWAIT, &address) == no(Errno::EAGAIN));
                k.close(other).is_ok() && full
            });
            needs(Why::Setting, "the queue is full after 16384 datagrams", full, full)?;
            is("the connected socket, with a full queue", mask(k, connected)?, NONE)?;
            is("send from it", k.send(connected, b"x", MSG_DONTWAIT), no(Errno::EAGAIN))?;
            is("the unconnected socket, with a full queue", mask(k, unconnected)?, OUT)?;
            let to = |fd| k.sendto(fd, b"x", MSG_DONTWAIT, &address);
            is("sendto from it", to(unconnected), no(Errno::EAGAIN))?;
            k.recv(receiver, &mut [0], MSG_DONTWAIT)?;
            is("the connected socket, with room for one datagram", mask(k, connected)?, OUT)?;
            is("send with room for one datagram", k.send(connected, b"x", MSG_DONTWAIT), Ok(1))?;
            is("the connected socket, with a full queue again", mask(k, connected)?, NONE)
        },
        ..Fact::ALWAYS
    },
];

/// A UDP port that nobody can send to, or take: its socket is connected to itself.
fn port_without_receiver(k: K) -> Held<Address> {
    let fd = k.socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0)?;
    k.bind(fd, &Address::loopback(0))?;
    let address = k.getsockname(fd)?;
    k.connect(fd, &address)?;
    Ok(address)
}
