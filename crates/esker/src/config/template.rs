//! A file in which every setting is explained, and none is set.

use super::keys::{KEYS, Key, Kind, Preset, VOLUME_KEYS};

/// As wide as its comments are.
const COLUMNS: usize = 96;

const HEAD: &str = "The settings of `esker serve`. It reads this file where it lies, as esker.toml in the data directory, or \
                    from anywhere with --config FILE. `esker config check` says what holds and who says so.\n\nThe command \
                    line wins over the environment, the environment over this file, this file over the default. Inside \
                    texts, ${NAME} is what the environment says, ${NAME:-default} works without it, too. Sizes are bytes, \
                    or have a unit of 1024: \"512M\", \"10G\".";

/// The file's text.
pub(crate) fn template() -> String {
    let mut text = String::new();
    for paragraph in HEAD.split("\n\n") {
        comment(&mut text, paragraph);
        text.push_str("#\n");
    }
    text.truncate(text.len() - 2);
    let mut table = None;
    for key in &KEYS {
        text.push('\n');
        let (in_table, name) = match key.name.split_once('.') {
            Some((table, name)) => (Some(table), name),
            None => (None, key.name),
        };
        if in_table != table {
            table = in_table;
            text.extend(in_table.map(|table| format!("[{table}]\n")));
        }
        describe(&mut text, key);
        if key.kind == Kind::Volumes {
            volume(&mut text);
        } else {
            text.push_str(&format!("#{name} = {}\n", literal(key)));
        }
    }
    text
}

fn describe(text: &mut String, key: &Key) {
    comment(text, &format!("{}.", key.help));
    let flag = key.flag.map(|flag| format!("{flag}, ")).unwrap_or_default();
    let variable = key.variable();
    let default = key.preset_text();
    comment(text, &format!("Also {flag}{variable}. Default: {default}."));
}

fn volume(text: &mut String) {
    text.push_str("#[[volume]]\n");
    for (name, example, help) in VOLUME_KEYS {
        comment(text, &format!("{help}."));
        text.push_str(&format!("#{name} = {example}\n"));
    }
}

/// A value as TOML has it.
fn literal(key: &Key) -> String {
    let value = match key.preset {
        Preset::Value(value) => value,
        Preset::Unset { example, .. } => example,
    };
    if matches!(key.kind, Kind::Threads | Kind::Dollars) { value.to_owned() } else { format!("{value:?}") }
}

/// A paragraph behind `# `.
fn comment(text: &mut String, paragraph: &str) {
    let mut line = String::from("#");
    for word in paragraph.split_whitespace() {
        if line.chars().count() + 1 + word.chars().count() > COLUMNS {
            text.push_str(&line);
            text.push('\n');
            line = String::from("#");
        }
        line.push(' ');
        line.push_str(word);
    }
    text.push_str(&line);
    text.push('\n');
}
