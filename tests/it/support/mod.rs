//! What the tests share: servers, clients, a look into /proc, and waiting with a deadline.

mod checks;
mod client;
mod held;
mod inherited;
mod models;
mod number;
mod process;
mod sandbox;
mod server;
mod sockets;
mod terminal;
mod user;
mod wait;

pub(crate) use checks::{Which, judged, seed};
pub(crate) use client::{
    ask, connect, connect_with_room, end_writing, pattern, read_to_end, reset, stuff, wait_for_end,
};
pub(crate) use held::{Held, own_memory};
pub(crate) use inherited::{blocked, in_the_foreground, is_full, nonblocking_pipe};
pub(crate) use models::{
    all_models_at_once, each_model, few, forks, has_settled, leaves_it_to_a_ring, models_at_once,
    one_at_a_time, worker_processes,
};
pub(crate) use number::number;
pub(crate) use process::{
    children, cpu_time, descriptors, is_idle, kernel_before, lowest_free_descriptor, peak_memory, process,
    room_for_descriptors, state, time_awake, waits_cheaply, wake_ups,
};
pub(crate) use sandbox::{without, without_threads};
pub(crate) use server::{Report, Server, Starter, WORKERS};
pub(crate) use sockets::{at_the_server, end, listens, queued, state as tcp_state};
pub(crate) use terminal::{Screen, on_a_terminal};
pub(crate) use user::{copy_for_everybody, is_root};
pub(crate) use wait::{DEADLINE, IN_TIME, wait_until, wait_within};
