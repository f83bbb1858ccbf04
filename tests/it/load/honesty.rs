//! The generator's own proof that it cannot be fooled, as anybody may run it.

use super::program::Program;

/// Asleep, because the tests beside this one want the processors.
#[test]
fn the_self_test_sees_what_each_lying_server_does() {
    let ended = Program::start("load --self-test --json --quiet --wait sleep").end_within(4);
    let result = ended.exits(0).json();
    assert_eq!(result["schema"], "io-models/load-self-test");
    assert_eq!(result["seen"], true, "{result:#}");
    assert_eq!(result["findings"].as_array().map(Vec::len), Some(13), "{result:#}");
}
