//! What a command line has: durations, counts, rates, sizes, ramps, addresses, limits, foreign servers.
//!
//! Names of hosts are not among them, because to read one is to ask the resolver.
#![no_main]

use io_models::lab::load::knee::Limit;
use io_models::lab::results::compare::Server;
use io_models::lab::units::parse::bytes;
use libfuzzer_sys::fuzz_target;
use std::time::Duration;

#[path = "../../bins/io-models/units.rs"]
#[allow(dead_code, reason = "the program uses all of it")]
mod units;

/// Of the program, as far as its parsers need it.
mod load {
    #[derive(Debug, Clone)]
    pub(crate) struct Addresses(pub(crate) Vec<std::net::IpAddr>);
}

const DAY: Duration = Duration::from_secs(24 * 3600);

fuzz_target!(|text: &str| {
    if let Ok(duration) = units::duration_or_none(text) {
        assert!(duration <= DAY);
        assert_eq!(units::duration(text).is_ok(), duration > Duration::ZERO);
    }
    for count in [units::count(text), units::count_or_none(text)] {
        assert!(count.is_err() || count.is_ok_and(|count| count <= u32::MAX as usize));
    }
    if let Ok(rate) = units::rate(text) {
        assert!(rate > 0.0 && rate.is_finite(), "{rate}");
    }
    if let Ok(bytes) = bytes(text) {
        assert!(bytes >= 0.0 && bytes.is_finite(), "{bytes}");
    }
    if let Ok(share) = units::share(text) {
        assert!((0.0..1.0).contains(&share), "{share}");
    }
    if let Ok((rates, time)) = units::ramp(text) {
        assert!(!rates.is_empty() && rates.len() <= 1000 && time > Duration::ZERO);
        assert!(rates.iter().all(|rate| *rate > 0.0 && rate.is_finite()), "{rates:?}");
    }
    if let Ok(sizes) = units::sizes(text) {
        assert!(sizes.largest() >= 1 && sizes.largest() <= 1 << 30);
    }
    if let Ok(load::Addresses(all)) = units::sources(text) {
        assert!(!all.is_empty());
    }
    if let Ok(limit) = Limit::parse(text) {
        assert!(limit.percentile > 0.0 && limit.percentile <= 100.0 && limit.at_most_us > 0.0);
    }
    units::slice(text).ok();
    units::workers(text).ok();
    units::spin(text).ok();
    units::small_count(text).ok();
    units::size(text).ok();
    units::start_at(text).ok();
    Server::parse(text).ok();
});
