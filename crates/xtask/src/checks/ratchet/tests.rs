use super::{LIST, check};
use crate::house::House;

const PATH: &str = "crates/io/src/disk.rs";

fn findings(text: &str, list: &str) -> Vec<String> {
    check(&House::of(&[(PATH, text), (LIST, list)])).iter().map(ToString::to_string).collect()
}

fn file(lines: usize) -> String {
    "const A: u8 = 0;\n".repeat(lines)
}

fn function(lines: usize) -> String {
    format!("fn f() {{\n{}}}\n", "g();\n".repeat(lines - 2))
}

#[test]
fn files_have_a_ceiling() {
    assert!(findings(&file(400), "").is_empty());
    assert_eq!(
        findings(&file(401), ""),
        [format!("{PATH}: file {PATH} has 401 lines, at most 400: split it")]
    );
    assert!(findings(&file(401), &format!("# why\nfile {PATH} 401\n")).is_empty());
    assert!(findings(&file(402), &format!("file {PATH} 401"))[0].contains("at most 401"));
}

#[test]
fn tests_inside_a_file_do_not_count() {
    let text = format!("{}#[cfg(test)]\nmod tests {{\n{}}}\n", file(400), file(300));
    assert!(findings(&text, "").is_empty());
}

#[test]
fn functions_have_a_ceiling() {
    assert!(findings(&function(70), "").is_empty());
    assert_eq!(
        findings(&function(71), ""),
        [format!("{PATH}:1: function {PATH}::f has 71 lines, at most 70: split it")]
    );
    assert!(findings(&function(80), &format!("function {PATH}::f 80")).is_empty());
}

#[test]
fn the_list_may_only_shrink() {
    assert!(findings(&file(450), &format!("file {PATH} 460"))[0].contains("lower its ceiling"));
    assert!(findings(&file(300), &format!("file {PATH} 460"))[0].contains("take it off"));
    assert!(findings(&file(601), &format!("file {PATH} 601"))[0].contains("at most 600"));
    assert!(findings("", "file crates/gone.rs 460")[0].contains("there is no file"));
    assert!(findings("", "file 460")[0].contains("expected"));
}
