//! A file of workloads, in TOML.
#![no_main]

use io_models::lab::compare::workload::{check_all, describe, points, read};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let Ok(workloads) = read(text, None) else { return };
    assert_eq!(check_all(&workloads), Ok(()));
    for workload in &workloads {
        let points = points(workload);
        assert!(!points.is_empty());
        points.iter().for_each(|(_, load)| drop(describe(load)));
    }
    let sized = read(text, Some(100)).expect("a size makes no plan wrong");
    assert_eq!(sized.len(), workloads.len());
});
