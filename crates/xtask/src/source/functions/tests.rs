use crate::source::Scan;

fn lengths(text: &str) -> Vec<(String, usize, usize)> {
    let functions = Scan::all(text).functions();
    functions.into_iter().map(|function| (function.name, function.line, function.lines)).collect()
}

#[test]
fn braces_in_strings_and_comments_do_not_count() {
    let text = "fn a() {\n  let x = \"}\"; // }\n  if x { '}' };\n}\nfn b() {}\n";
    assert_eq!(lengths(text), [("a".into(), 1, 4), ("b".into(), 5, 1)]);
}

#[test]
fn declarations_and_pointers_are_not_functions() {
    let text = "trait T { fn a(&self, x: [u8; 4]); fn b(&self) { } }\nstruct S { f: fn(u8) -> u8 }\n";
    assert_eq!(lengths(text), [("b".into(), 1, 1)]);
}

#[test]
fn nested_functions_count_in_both() {
    let text = "fn a()\nwhere\n  u8: Copy,\n{\n  fn b() {\n  }\n}\n";
    assert_eq!(lengths(text), [("a".into(), 1, 7), ("b".into(), 5, 2)]);
}
