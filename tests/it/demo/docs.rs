//! docs/demos.md has the table that the program writes.

use io_models::lab::lang::Lang;
use io_models::lab::show::demo::markdown;

#[test]
fn the_guide_has_each_demo_as_the_program_describes_it() {
    let guide = include_str!("../../../docs/demos.md");
    let table = guide.split("<!-- demos").nth(1).and_then(|rest| rest.split_once("-->\n"));
    let table = table.and_then(|(_, rest)| rest.split_once("<!-- end -->")).map(|(table, _)| table);
    let expected = markdown(Lang::En);
    assert_eq!(table, Some(expected.as_str()), "docs/demos.md should have:\n{expected}");
}
