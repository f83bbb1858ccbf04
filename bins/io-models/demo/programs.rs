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
    "one-read-per-edge"
    one_read_broken "../../../demos/one-read-per-edge/broken.rs"
    one_read_mended "../../../demos/one-read-per-edge/mended.rs"

    "epollout-left-on"
    epollout_broken "../../../demos/epollout-left-on/broken.rs"
    epollout_mended "../../../demos/epollout-left-on/mended.rs"
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
