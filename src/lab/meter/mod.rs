//! What a server costs, measured from outside: CPU time, memory, system calls; and what else the machine did meanwhile.

pub mod calls;
pub mod cpu;
pub mod machine;
pub mod memory;

pub use calls::CallCounter;
pub use cpu::Tree;
