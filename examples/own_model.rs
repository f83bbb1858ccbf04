//! A model of your own: a loop over what the models of this crate share, given a [`Job`] like theirs.
//!
//! `cargo run --example own_model --no-default-features`
//!
//! One epoll, and `EPOLLONESHOT`: after an event the kernel watches the client no more until it is told to, for what the client needs
//! next. So each turn of a client ends with one epoll_ctl(2), and the loop remembers nothing. `epoll_level` makes that call only when
//! the need changes, which is cheaper.
//!
//! The shared parts are what is easily got wrong: the [`Acceptor`] pauses when descriptors run out, the pump keeps what a slow client
//! did not take, and [`finish`] ends without losing an answer. A file like this under `src/model/` is how a model is added:
//! CONTRIBUTING.md.

use io_models::Result;
use io_models::echo::{Reply, Until, Want};
use io_models::initserver::initserver;
use io_models::serve::{Acceptor, ByFd, Job, Next, Totals, Worker, finish};
use io_models::stop;
use io_models::sys::epoll::{Epoll, EpollFlags, Events};
use io_models::sys::fcntl::set_nonblocking;
use io_models::sys::socket::Mode;
use std::error::Error;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::thread;

/// Tokens: a client's is its descriptor, so these are numbers that no descriptor has.
const STOP: u64 = u64::MAX;
const LISTENER: u64 = u64::MAX - 1;

const READ: EpollFlags = EpollFlags::EPOLLIN.union(EpollFlags::EPOLLONESHOT);
const WRITE: EpollFlags = EpollFlags::EPOLLOUT.union(EpollFlags::EPOLLONESHOT);

/// Serve clients until the stop.
fn serve(job: Job<'_>) -> Result<Totals> {
    let mut pump = job.pump(Worker::ONLY);
    let Job { listener, stop, max_clients, .. } = job;
    set_nonblocking(&listener)?;
    let epoll = Epoll::new()?;
    epoll.add(stop, STOP, EpollFlags::EPOLLIN)?;
    epoll.add(&listener, LISTENER, READ)?;
    let mut acceptor = Acceptor::new(&listener, Mode::Nonblocking).within(max_clients);
    let mut conns = ByFd::new();
    let mut events = Events::with_capacity(64);
    'serving: loop {
        epoll.wait(&mut events, acceptor.timeout(None))?;
        for event in events.iter() {
            match event.token {
                STOP => break 'serving,
                LISTENER => {
                    while let Next::Client(conn, peer) = acceptor.next()? {
                        epoll.add(&conn, conn.as_fd().as_raw_fd() as u64, READ)?;
                        pump.welcome(&conn, peer);
                        conns.insert(conn);
                    }
                    if !acceptor.is_paused() {
                        epoll.modify(&listener, LISTENER, READ)?;
                    }
                }
                fd => {
                    let Some(conn) = conns.get(fd as RawFd) else { continue };
                    match pump.pump(conn, Until::OneRead) {
                        Want::Read | Want::ReadMore => epoll.modify(&*conn, fd, READ)?,
                        Want::Write => epoll.modify(&*conn, fd, WRITE)?,
                        Want::Close => {
                            conns.close(fd as RawFd);
                            acceptor.client_left();
                        }
                    }
                }
            }
        }
        if acceptor.resumes() {
            epoll.modify(&listener, LISTENER, READ)?;
        }
    }
    let totals = acceptor.totals();
    listener.close();
    finish(pump, conns, totals)
}

fn main() -> std::result::Result<(), Box<dyn Error>> {
    let listener = initserver("127.0.0.1:0".parse()?)?;
    let addr = listener.addr();
    let (stopper, stop) = stop::pair()?;
    let server = thread::spawn(move || serve(Job::new(listener, &stop, Reply::Echo)));

    let mut clients = [TcpStream::connect(addr)?, TcpStream::connect(addr)?];
    for (client, said) in clients.iter_mut().zip(["one", "two"]) {
        client.write_all(said.as_bytes())?;
        client.shutdown(Shutdown::Write)?;
    }
    for (client, said) in clients.iter_mut().zip(["one", "two"]) {
        let mut answer = String::new();
        client.read_to_string(&mut answer)?;
        assert_eq!(answer, said);
    }

    stopper.stop()?;
    let totals = server.join().expect("the server did not panic")?;
    assert_eq!((totals.connections, totals.bytes_out), (2, 6));
    println!("{} clients, {} bytes in, {} bytes out", totals.connections, totals.bytes_in, totals.bytes_out);
    Ok(())
}
