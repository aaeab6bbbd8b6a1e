use super::{Kind, tokens};

fn words(text: &str) -> Vec<String> {
    tokens(text)
        .into_iter()
        .filter(|token| token.kind == Kind::Word)
        .map(|token| token.text.to_string())
        .collect()
}

#[test]
fn comments_and_strings_hold_no_code() {
    assert_eq!(words("a // b\n /* c /* d */ e */ f"), ["a", "f"]);
    assert_eq!(words(r##"a "b \" c" d r#"e " f"# g br"h" i b"j" k c"l" m"##), ["a", "d", "g", "i", "k", "m"]);
    assert_eq!(words("a \"unclosed b"), ["a"]);
    assert_eq!(words("a /* unclosed b"), ["a"]);
}

#[test]
fn characters_are_not_lifetimes() {
    assert_eq!(words(r"a '{' b '\'' c '\u{1F600}' d 'é' e b'{' f"), ["a", "b", "c", "d", "e", "b", "f"]);
    let lifetimes: Vec<_> = tokens("fn f<'a>(x: &'static str) -> &'a str")
        .into_iter()
        .filter(|token| token.kind == Kind::Lifetime)
        .map(|token| token.text)
        .collect();
    assert_eq!(lifetimes, ["'a", "'static", "'a"]);
}

#[test]
fn numbers_end_at_a_range() {
    let texts: Vec<_> = tokens("1..2 3.5 0xff_u8 x.0.1").into_iter().map(|token| token.text).collect();
    assert_eq!(texts, ["1", ".", ".", "2", "3.5", "0xff_u8", "x", ".", "0.1"]);
}

#[test]
fn lines_count_from_one_through_everything() {
    let all = tokens("a\n/* \n */ b \"\n\n\" c\n");
    let lines: Vec<_> = all.iter().map(|token| (token.text, token.line)).collect();
    assert_eq!(lines, [("a", 1), ("b", 3), ("\"\n\n\"", 3), ("c", 5)]);
}

#[test]
fn raw_words_lose_their_prefix() {
    assert_eq!(words("r#type r#fn"), ["type", "fn"]);
}
