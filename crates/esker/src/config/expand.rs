//! `${NAME}` and `${NAME:-default}` inside texts. `$${` stands for `${`; any other `$` for itself.

use std::env::VarError;

/// Asks the environment.
pub(crate) type Environment<'a> = &'a dyn Fn(&str) -> Result<String, VarError>;

/// Why a text has no value: what was expected, what was found. Neither holds what a variable holds.
#[derive(Debug, PartialEq)]
pub(super) struct Unfit {
    pub(super) expected: String,
    pub(super) found: String,
}

/// Puts in what the environment says.
pub(super) fn expand(text: &str, environment: Environment<'_>) -> Result<String, Unfit> {
    let mut whole = String::new();
    let mut rest = text;
    while let Some(at) = rest.find("${") {
        let before = &rest[..at];
        rest = &rest[at + 2..];
        if let Some(before) = before.strip_suffix('$') {
            whole.push_str(before);
            whole.push_str("${");
            continue;
        }
        whole.push_str(before);
        let Some((inside, behind)) = rest.split_once('}') else {
            let found = "${ without an end".to_owned();
            return Err(Unfit { expected: "${NAME} or ${NAME:-default}".to_owned(), found });
        };
        whole.push_str(&value(inside, environment)?);
        rest = behind;
    }
    whole.push_str(rest);
    Ok(whole)
}

/// What stands between the braces, as a value.
fn value(inside: &str, environment: Environment<'_>) -> Result<String, Unfit> {
    let (name, default) = match inside.split_once(":-") {
        Some((name, default)) => (name, Some(default)),
        None => (inside, None),
    };
    let first = |character: char| character.is_ascii_alphabetic() || character == '_';
    let later = |character: char| character.is_ascii_alphanumeric() || character == '_';
    if !name.starts_with(first) || !name.chars().all(later) {
        let expected = "the name of a variable in ${…}: letters, digits and _".to_owned();
        return Err(Unfit { expected, found: format!("{inside:?}") });
    }
    // As in a shell, `:-` also stands in for a variable that is empty.
    match (environment(name), default) {
        (Ok(value), Some(default)) if value.is_empty() => Ok(default.to_owned()),
        (Ok(value), _) => Ok(value),
        (Err(VarError::NotPresent), Some(default)) => Ok(default.to_owned()),
        (Err(VarError::NotPresent), None) => Err(Unfit {
            expected: format!("the environment variable {name}, or ${{{name}:-default}}"),
            found: "that it is not set".to_owned(),
        }),
        (Err(VarError::NotUnicode(_)), _) => Err(Unfit {
            expected: format!("text in the environment variable {name}"),
            found: "bytes that are not UTF-8".to_owned(),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(name: &str) -> Result<String, VarError> {
        match name {
            "A" => Ok("one".into()),
            "EMPTY" => Ok(String::new()),
            _ => Err(VarError::NotPresent),
        }
    }

    fn expanded(text: &str) -> Result<String, Unfit> {
        expand(text, &environment)
    }

    #[test]
    fn variables_are_put_in() {
        for (text, value) in [
            ("plain", "plain"),
            ("", ""),
            ("${A}", "one"),
            ("s3://${A}/${GONE:-two}/x", "s3://one/two/x"),
            ("${EMPTY}|${EMPTY:-full}|${A:-two}|${GONE:-}", "|full|one|"),
            ("$A $ $$ }", "$A $ $$ }"),
            ("$${A} $$${A}", "${A} $${A}"),
            // What a variable holds is not looked at again.
            ("${GONE:-$}{A}", "${A}"),
        ] {
            assert_eq!(expanded(text).as_deref(), Ok(value), "{text}");
        }
    }

    #[test]
    fn what_cannot_be_put_in_says_why() {
        for (text, part) in [
            ("${GONE}", "variable GONE"),
            ("${A", "${NAME"),
            ("${}", "the name"),
            ("${1A}", "the name"),
            ("${A B}", "the name"),
            ("${A:=x}", "the name"),
            ("é${", "${NAME"),
        ] {
            let unfit = expanded(text).unwrap_err();
            assert!(unfit.expected.contains(part), "{text}: {unfit:?}");
        }
    }
}
