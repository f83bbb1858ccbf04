//! The programs of the demos in Rust: the files in `demos/`, compiled into this one.

use io_models::lab::demo::Which;

/// A program: it listens on this port of 127.0.0.1, and serves until it is killed or fails.
pub(crate) type Serve = fn(u16) -> io_models::Result<()>;

macro_rules! programs {
    ($($id:literal $broken:ident $broken_file:literal $mended:ident $mended_file:literal)*) => {
        $(
            #[path = $broken_file]
            mod $broken;
            #[path = $mended_file]
            mod $mended;
        )*

        /// All of them: the demo, the broken program, the mended one.
        const ALL: &[(&str, Serve, Serve)] = &[$(($id, $broken::serve, $mended::serve),)*];
    };
}

programs! {
    "level-or-edge"
    level_or_edge_broken "../../../demos/level-or-edge/broken.rs"
    level_or_edge_mended "../../../demos/level-or-edge/mended.rs"

    "one-read-per-edge"
    one_read_per_edge_broken "../../../demos/one-read-per-edge/broken.rs"
    one_read_per_edge_mended "../../../demos/one-read-per-edge/mended.rs"

    "one-accept-per-edge"
    one_accept_per_edge_broken "../../../demos/one-accept-per-edge/broken.rs"
    one_accept_per_edge_mended "../../../demos/one-accept-per-edge/mended.rs"

    "epollout-left-on"
    epollout_left_on_broken "../../../demos/epollout-left-on/broken.rs"
    epollout_left_on_mended "../../../demos/epollout-left-on/mended.rs"

    "write-flood"
    write_flood_broken "../../../demos/write-flood/broken.rs"
    write_flood_mended "../../../demos/write-flood/mended.rs"

    "emfile-spin"
    emfile_spin_broken "../../../demos/emfile-spin/broken.rs"
    emfile_spin_mended "../../../demos/emfile-spin/mended.rs"

    "two-threads-one-client"
    two_threads_one_client_broken "../../../demos/two-threads-one-client/broken.rs"
    two_threads_one_client_mended "../../../demos/two-threads-one-client/mended.rs"

    "duplicated-descriptor"
    duplicated_descriptor_broken "../../../demos/duplicated-descriptor/broken.rs"
    duplicated_descriptor_mended "../../../demos/duplicated-descriptor/mended.rs"

    "who-closes-first"
    who_closes_first_broken "../../../demos/who-closes-first/broken.rs"
    who_closes_first_mended "../../../demos/who-closes-first/mended.rs"

    "message-boundaries"
    message_boundaries_broken "../../../demos/message-boundaries/broken.rs"
    message_boundaries_mended "../../../demos/message-boundaries/mended.rs"

    "sigpipe"
    sigpipe_broken "../../../demos/sigpipe/broken.rs"
    sigpipe_mended "../../../demos/sigpipe/mended.rs"

    "fd-set-1024"
    fd_set_1024_broken "../../../demos/fd-set-1024/broken.rs"
    fd_set_1024_mended "../../../demos/fd-set-1024/mended.rs"

    "nagle-delayed-ack"
    nagle_delayed_ack_broken "../../../demos/nagle-delayed-ack/broken.rs"
    nagle_delayed_ack_mended "../../../demos/nagle-delayed-ack/mended.rs"

    "thundering-herd"
    thundering_herd_broken "../../../demos/thundering-herd/broken.rs"
    thundering_herd_mended "../../../demos/thundering-herd/mended.rs"

    "accept-queue"
    accept_queue_broken "../../../demos/accept-queue/broken.rs"
    accept_queue_mended "../../../demos/accept-queue/mended.rs"
}

/// The program of a demo.
///
/// # Panics
///
/// For a demo that is not in the table: a test looks for each.
pub(crate) fn find(id: &str, which: Which) -> Serve {
    let (_, broken, mended) =
        ALL.iter().find(|(name, ..)| *name == id).expect("each demo has its programs here");
    match which {
        Which::Broken => *broken,
        Which::Mended => *mended,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use io_models::lab::demo;

    #[test]
    fn each_demo_has_its_programs_here_in_the_same_order() {
        let here: Vec<_> = ALL.iter().map(|(id, ..)| *id).collect();
        assert_eq!(here, demo::ALL.iter().map(|demo| demo.id).collect::<Vec<_>>());
    }
}
