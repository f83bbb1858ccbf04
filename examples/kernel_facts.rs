//! Ask the kernel before you rely on it: facts, run by your own program.
//!
//! `cargo run --example kernel_facts --no-default-features --features facts`
//!
//! Each experiment runs in a process of its own, because it lowers limits, blocks signals and leaves threads behind. That process is
//! this program, started again, so the first thing that `main` does is [`run_one_if_asked`]. `io-models facts` runs all facts, and says
//! more of each.

use io_models::facts::{self, Outcome, Runner, run_one_if_asked};

/// What a server that shares an epoll among processes and threads relies on.
const NEEDED: [&str; 2] = ["ep-fork-shares-interest-list", "multi-oneshot-disables"];

fn main() -> Result<(), Box<dyn std::error::Error>> {
    run_one_if_asked();
    let runner = Runner::default();
    for id in NEEDED {
        let fact = facts::find(id).ok_or(id)?;
        let run = runner.run(fact);
        println!("{id}: {}: {}", run.outcome().name(), fact.claim);
        // What was expected and what was observed, or why it could not be looked at.
        run.not_held().for_each(|step| println!("  {step}"));
        if run.outcome() == Outcome::Differs {
            println!("  it matters: {}", fact.matters);
        }
    }
    Ok(())
}
