//! What a TCP echo server must do, asked of any address.

pub mod basic;
